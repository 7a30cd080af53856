import { TFTP_ROW_BYTES_MAX, TFTP_ROW_PACKETS_MAX } from '../base/limits.js';
import { DATA_HEADER_BYTES } from './constants.js';
import type { Agreement } from './options.js';
import { wireBlockOf, writeDataHeader } from './wire.js';

/**
 * DATA packets that go out together, one behind the other in memory. All have `packetBytes` but the last, which is shorter
 * where it is the file's last block; nothing comes behind that.
 *
 *     ┌──────┬─────────────┬──────┬─────────────┬──────┬───────┐
 *     │ 3, n │  blksize    │3, n+1│  blksize    │3, n+2│ rest  │
 *     └──────┴─────────────┴──────┴─────────────┴──────┴───────┘
 */
export class PacketRow {
  readonly bytes: Uint8Array;
  readonly packetBytes: number;
  readonly #packets: readonly { readonly whole: Uint8Array; readonly payload: Uint8Array }[];
  #count = 0;
  #lengthBytes = 0;

  constructor({ blockBytes, windowBlocks }: Pick<Agreement, 'blockBytes' | 'windowBlocks'>) {
    this.packetBytes = DATA_HEADER_BYTES + blockBytes;
    const fitting = Math.max(1, Math.floor(TFTP_ROW_BYTES_MAX / this.packetBytes));
    const count = Math.min(windowBlocks, TFTP_ROW_PACKETS_MAX, fitting);
    this.bytes = new Uint8Array(count * this.packetBytes);
    this.#packets = Array.from({ length: count }, (_, index) => {
      const whole = this.bytes.subarray(index * this.packetBytes, (index + 1) * this.packetBytes);
      return { whole, payload: whole.subarray(DATA_HEADER_BYTES) };
    });
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  get isOne(): boolean {
    return this.#count === 1;
  }

  get isFull(): boolean {
    return this.#count === this.#packets.length;
  }

  /** Room for the payload of the packet that `add` adds; not when it is full. */
  get nextPayload(): Uint8Array {
    return this.#next().payload;
  }

  /** The block whose first `length` bytes are in `nextPayload`. */
  add(block: number, length: number): void {
    writeDataHeader(this.#next().whole, wireBlockOf(block));
    this.#count += 1;
    this.#lengthBytes += DATA_HEADER_BYTES + length;
  }

  clear(): void {
    this.#count = 0;
    this.#lengthBytes = 0;
  }

  #next(): { readonly whole: Uint8Array; readonly payload: Uint8Array } {
    const next = this.#packets[this.#count];
    if (next === undefined) throw new RangeError('the row is full');
    return next;
  }
}
