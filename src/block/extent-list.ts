import type { Extent } from './block-device.js';

/** Extents of a range as they are found, from its beginning on: without gaps, cut to the range, neighbours of one kind as one. */
export class ExtentList {
  readonly #end: number;
  #position: number;
  #extents: Extent[] = [];

  constructor(offset: number, end: number) {
    this.#position = offset;
    this.#end = end;
  }

  /** Up to where the range is known. */
  get position(): number {
    return this.#position;
  }

  get extents(): readonly Extent[] {
    return this.#extents;
  }

  /** All from `position` to `end` is of this kind. What is known already stays as it is. */
  upTo(end: number, kind: Extent['kind']): void {
    const lengthBytes = Math.min(end, this.#end) - this.#position;
    if (lengthBytes <= 0) return;
    const last = this.#extents.at(-1);
    if (last?.kind === kind) {
      this.#extents[this.#extents.length - 1] = { ...last, lengthBytes: last.lengthBytes + lengthBytes };
    } else {
      this.#extents.push({ offset: this.#position, lengthBytes, kind });
    }
    this.#position += lengthBytes;
  }
}
