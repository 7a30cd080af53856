/**
 * Builds a message front to back in memory that grows as needed. Big-endian unless the name says otherwise (`…Le`).
 * Values must fit their width: what comes from outside was checked before it gets here, so a misfit is a RangeError, a bug of ours.
 */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(expectedLength = 64) {
    this.#bytes = new Uint8Array(Math.max(expectedLength, 8));
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    checkFits(value, 0xff);
    const start = this.#grow(1);
    this.#view.setUint8(start, value);
    return this;
  }

  u16(value: number): this {
    checkFits(value, 0xffff);
    const start = this.#grow(2);
    this.#view.setUint16(start, value);
    return this;
  }

  u32(value: number): this {
    checkFits(value, 0xffff_ffff);
    const start = this.#grow(4);
    this.#view.setUint32(start, value);
    return this;
  }

  u64(value: bigint): this {
    checkFits64(value);
    const start = this.#grow(8);
    this.#view.setBigUint64(start, value);
    return this;
  }

  u16Le(value: number): this {
    checkFits(value, 0xffff);
    const start = this.#grow(2);
    this.#view.setUint16(start, value, true);
    return this;
  }

  u32Le(value: number): this {
    checkFits(value, 0xffff_ffff);
    const start = this.#grow(4);
    this.#view.setUint32(start, value, true);
    return this;
  }

  u64Le(value: bigint): this {
    checkFits64(value);
    const start = this.#grow(8);
    this.#view.setBigUint64(start, value, true);
    return this;
  }

  bytes(source: Uint8Array): this {
    const start = this.#grow(source.length);
    this.#bytes.set(source, start);
    return this;
  }

  zeroes(length: number): this {
    const start = this.#grow(length);
    this.#bytes.fill(0, start, start + length);
    return this;
  }

  /** One byte a character: for the ASCII of protocols. A character above 0xff is a bug. */
  latin1(text: string): this {
    for (const character of text) this.u8(character.charCodeAt(0));
    return this;
  }

  utf8(text: string): this {
    return this.bytes(new TextEncoder().encode(text));
  }

  /** What was written, as a view: write nothing more afterwards. */
  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Where the new bytes start. Call it before `#bytes` or `#view` is looked at: it may replace both. */
  #grow(length: number): number {
    const start = this.#length;
    const needed = start + length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = needed;
    return start;
  }
}

function checkFits(value: number, largest: number): void {
  if (!Number.isInteger(value) || value < 0 || value > largest) throw new RangeError(`${value} is not in 0…${largest}`);
}

function checkFits64(value: bigint): void {
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw new RangeError(`${value} is not in 0…2⁶⁴−1`);
}
