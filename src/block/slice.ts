import { assertInside, type BlockDevice, type Extent, type ZeroOptions } from './block-device.js';

/** A run of another device, such as a partition of a disk. Closing it leaves the device beneath open: it is only a view. */
export function slice(device: BlockDevice, start: number, sizeBytes: number): BlockDevice {
  assertInside(device, start, sizeBytes);
  return new Slice(device, start, sizeBytes);
}

class Slice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly #start: number;
  readonly sizeBytes: number;

  constructor(device: BlockDevice, start: number, sizeBytes: number) {
    this.#device = device;
    this.#start = start;
    this.sizeBytes = sizeBytes;
  }

  get rotational(): boolean {
    return this.#device.rotational;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    assertInside(this, offset, target.length);
    await this.#device.read(this.#start + offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    assertInside(this, offset, target.length);
    return this.#device.readNow(this.#start + offset, target);
  }

  async prefetch(offset: number, lengthBytes: number): Promise<void> {
    assertInside(this, offset, lengthBytes);
    await this.#device.prefetch(this.#start + offset, lengthBytes);
  }

  async write(offset: number, source: Uint8Array, options: { readonly durable: boolean }): Promise<void> {
    assertInside(this, offset, source.length);
    await this.#device.write(this.#start + offset, source, options);
  }

  async flush(): Promise<void> {
    await this.#device.flush();
  }

  async discard(offset: number, lengthBytes: number): Promise<void> {
    assertInside(this, offset, lengthBytes);
    await this.#device.discard(this.#start + offset, lengthBytes);
  }

  async zero(offset: number, lengthBytes: number, options: ZeroOptions): Promise<void> {
    assertInside(this, offset, lengthBytes);
    await this.#device.zero(this.#start + offset, lengthBytes, options);
  }

  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    assertInside(this, offset, lengthBytes);
    const beneath = await this.#device.extents(this.#start + offset, lengthBytes);
    return beneath.map((extent) => ({ ...extent, offset: extent.offset - this.#start }));
  }

  async close(): Promise<void> {}
}
