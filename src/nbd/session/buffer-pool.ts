import { NBD_PIECE_BYTES, NBD_POOLED_BYTES_MAX } from '../../base/limits.js';
import { DATA_OFFSET_BYTES, EXTENDED_HEAD_BYTES } from '../wire/chunk-wire.js';

const SMALLEST_BYTES = 4096;
/** The longest header that lies in front of data. */
const HEAD_BYTES = EXTENDED_HEAD_BYTES + DATA_OFFSET_BYTES;

/**
 * Buffers of payloads and replies, used again: to get and fill 128 KiB of fresh memory takes eight times as long as to fill
 * used ones. They come in powers of two, each with room for a reply's header. What is given back is not cleared: who takes
 * one fills it to its last byte before anybody else sees it.
 */
export class BufferPool {
  readonly #free = new Map<number, Uint8Array[]>();
  #pooledBytes = 0;

  /** At most a piece and a header. */
  take(lengthBytes: number): Uint8Array {
    const wholeBytes = wholeBytesFor(lengthBytes);
    if (lengthBytes > wholeBytes) throw new RangeError(`a buffer of ${lengthBytes} bytes`);
    const known = this.#free.get(wholeBytes)?.pop();
    if (known === undefined) return Buffer.allocUnsafeSlow(wholeBytes).subarray(0, lengthBytes);
    this.#pooledBytes -= wholeBytes;
    return known.subarray(0, lengthBytes);
  }

  /**
   * What `take` gave, from its first byte on. Only what nobody can touch any more: not after a failed read or write, part of
   * which might still be under way.
   */
  give(taken: Uint8Array): void {
    const whole = Buffer.from(taken.buffer);
    const isOurs = taken.byteOffset === 0 && whole.length === wholeBytesFor(whole.length);
    if (!isOurs || this.#pooledBytes + whole.length > NBD_POOLED_BYTES_MAX) return;
    const free = this.#free.get(whole.length) ?? [];
    free.push(whole);
    this.#free.set(whole.length, free);
    this.#pooledBytes += whole.length;
  }
}

function wholeBytesFor(lengthBytes: number): number {
  let bytes = SMALLEST_BYTES;
  while (bytes + HEAD_BYTES < lengthBytes && bytes < NBD_PIECE_BYTES) bytes *= 2;
  return bytes + HEAD_BYTES;
}
