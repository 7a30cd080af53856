import { assertInside, type BlockDevice, type Extent, type ZeroOptions } from '../../src/block/block-device.js';

/**
 * Counts what is read from a device, and refuses a read outside it with an error that no code under test may let through.
 * With `cold`, nothing is in memory: `readNow` answers false and the bytes come a turn later.
 */
export class CountingDevice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly #cold: boolean;
  reads = 0;
  bytesRead = 0;

  constructor(device: BlockDevice, options: { readonly cold: boolean } = { cold: false }) {
    this.#device = device;
    this.#cold = options.cold;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  get rotational(): boolean {
    return this.#device.rotational;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    this.#count(offset, target);
    await this.#device.read(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    if (this.#cold) return false;
    this.#count(offset, target);
    return this.#device.readNow(offset, target);
  }

  async prefetch(offset: number, lengthBytes: number): Promise<void> {
    await this.#device.prefetch(offset, lengthBytes);
  }

  async write(offset: number, source: Uint8Array, options: { readonly durable: boolean }): Promise<void> {
    await this.#device.write(offset, source, options);
  }

  async flush(): Promise<void> {
    await this.#device.flush();
  }

  async discard(offset: number, lengthBytes: number): Promise<void> {
    await this.#device.discard(offset, lengthBytes);
  }

  async zero(offset: number, lengthBytes: number, options: ZeroOptions): Promise<void> {
    await this.#device.zero(offset, lengthBytes, options);
  }

  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    return await this.#device.extents(offset, lengthBytes);
  }

  async close(): Promise<void> {
    await this.#device.close();
  }

  #count(offset: number, target: Uint8Array): void {
    assertInside(this, offset, target.length);
    this.reads += 1;
    this.bytesRead += target.length;
  }
}
