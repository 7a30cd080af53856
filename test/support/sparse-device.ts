import { assertInside, type Extent } from '../../src/block/block-device.js';
import { MemoryDevice } from '../../src/block/memory-device.js';

/** A disk in memory whose allocation a test decides. What was not declared is data. */
export class SparseDevice extends MemoryDevice {
  readonly #declared: Extent[] = [];
  /** Calls of `extents`. */
  asked = 0;

  /** Reads as zeroes from then on, and is told so. Declare in order and without overlap. */
  declare(kind: 'zero' | 'hole', offset: number, lengthBytes: number): void {
    this.bytes.fill(0, offset, offset + lengthBytes);
    this.#declared.push({ kind, offset, lengthBytes });
  }

  override async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    assertInside(this, offset, lengthBytes);
    this.asked += 1;
    const end = offset + lengthBytes;
    const found: Extent[] = [];
    let at = offset;
    for (const extent of this.#declared) {
      const from = Math.max(extent.offset, at);
      const to = Math.min(extent.offset + extent.lengthBytes, end);
      if (from >= to) continue;
      if (from > at) found.push({ kind: 'data', offset: at, lengthBytes: from - at });
      found.push({ kind: extent.kind, offset: from, lengthBytes: to - from });
      at = to;
    }
    if (at < end) found.push({ kind: 'data', offset: at, lengthBytes: end - at });
    return found;
  }
}
