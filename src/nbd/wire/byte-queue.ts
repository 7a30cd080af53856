/**
 * Bytes that came in chunks of any size, taken out in the pieces of a protocol. It bounds nothing by itself: who pushes
 * stops reading the socket when enough is in here.
 */
export class ByteQueue {
  #chunks: Uint8Array[] = [];
  /** Bytes of the first chunk that were taken already. */
  #taken = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** Exactly `length` bytes, or undefined as long as there are fewer. A view where they lie in one chunk, else a copy. */
  take(length: number): Uint8Array | undefined {
    if (length > this.#length) return undefined;
    const first = this.#chunks[0];
    if (first !== undefined && first.length - this.#taken >= length) {
      const view = first.subarray(this.#taken, this.#taken + length);
      this.drop(length);
      return view;
    }
    const whole = new Uint8Array(length);
    this.moveInto(whole);
    return whole;
  }

  /** Fills `target` from its front with as much as is here; answers how much that was. */
  moveInto(target: Uint8Array): number {
    let moved = 0;
    for (let chunk = this.#chunks[0]; chunk !== undefined && moved < target.length; chunk = this.#chunks[0]) {
      const length = Math.min(chunk.length - this.#taken, target.length - moved);
      target.set(chunk.subarray(this.#taken, this.#taken + length), moved);
      moved += length;
      this.#advance(chunk, length);
    }
    return moved;
  }

  /** Forgets up to `lengthMax` bytes; answers how many. */
  drop(lengthMax: number): number {
    let dropped = 0;
    for (let chunk = this.#chunks[0]; chunk !== undefined && dropped < lengthMax; chunk = this.#chunks[0]) {
      const length = Math.min(chunk.length - this.#taken, lengthMax - dropped);
      dropped += length;
      this.#advance(chunk, length);
    }
    return dropped;
  }

  clear(): void {
    this.drop(this.#length);
  }

  #advance(first: Uint8Array, length: number): void {
    this.#taken += length;
    this.#length -= length;
    if (this.#taken < first.length) return;
    this.#chunks.shift();
    this.#taken = 0;
  }
}
