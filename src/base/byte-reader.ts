import { Malformed } from './malformed.js';

/**
 * Reads numbers and runs of bytes from the front of an array. Big-endian unless the name says otherwise (`…Le`).
 * Past the end it throws `Malformed`; it never copies: `bytes()` is a view of the array given.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }

  u16Le(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32Le(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64Le(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  skip(length: number): void {
    this.#take(length);
  }

  #take(length: number): number {
    const start = this.#position;
    if (length < 0 || length > this.remaining) {
      throw new Malformed(`${length} bytes wanted at ${start}, ${this.remaining} left`);
    }
    this.#position = start + length;
    return start;
  }
}
