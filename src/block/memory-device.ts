import { assertInside, type BlockDevice, type Extent, type ZeroOptions } from './block-device.js';

/** A disk that is an array: for tests, and for images that are made before they are written out. */
export class MemoryDevice implements BlockDevice {
  readonly bytes: Uint8Array;
  readonly rotational: boolean = false;

  constructor(content: Uint8Array | number) {
    this.bytes = typeof content === 'number' ? new Uint8Array(content) : content;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    this.readNow(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    assertInside(this, offset, target.length);
    target.set(this.bytes.subarray(offset, offset + target.length));
    return true;
  }

  async prefetch(): Promise<void> {}

  async write(offset: number, source: Uint8Array): Promise<void> {
    assertInside(this, offset, source.length);
    this.bytes.set(source, offset);
  }

  async flush(): Promise<void> {}

  async discard(offset: number, lengthBytes: number): Promise<void> {
    this.#clear(offset, lengthBytes);
  }

  async zero(offset: number, lengthBytes: number, _options: ZeroOptions): Promise<void> {
    this.#clear(offset, lengthBytes);
  }

  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    assertInside(this, offset, lengthBytes);
    return lengthBytes === 0 ? [] : [{ offset, lengthBytes, kind: 'data' }];
  }

  async close(): Promise<void> {}

  #clear(offset: number, lengthBytes: number): void {
    assertInside(this, offset, lengthBytes);
    this.bytes.fill(0, offset, offset + lengthBytes);
  }
}
