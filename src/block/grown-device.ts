import { assertInside, type BlockDevice, type Extent } from './block-device.js';
import { BlockError } from './block-error.js';
import { ExtentList } from './extent-list.js';
import type { DiskPart } from './overlay/shared-layers.js';

/** A disk that is only read, made larger: zeroes follow it. Closing it leaves the device beneath open: it is only a view. */
export function grown(device: BlockDevice, sizeBytes: number): BlockDevice {
  if (sizeBytes < device.sizeBytes) throw new RangeError(`${sizeBytes} bytes are fewer than ${device.sizeBytes}`);
  return sizeBytes === device.sizeBytes ? device : new Grown(device, sizeBytes);
}

class Grown implements BlockDevice {
  readonly #device: BlockDevice;
  readonly sizeBytes: number;

  constructor(device: BlockDevice, sizeBytes: number) {
    this.#device = device;
    this.sizeBytes = sizeBytes;
  }

  get rotational(): boolean {
    return this.#device.rotational;
  }

  get parts(): readonly DiskPart[] | undefined {
    return this.#device.parts;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    assertInside(this, offset, target.length);
    const there = this.#beneath(offset, target.length);
    target.fill(0, there);
    if (there > 0) await this.#device.read(offset, target.subarray(0, there));
  }

  readNow(offset: number, target: Uint8Array): boolean {
    assertInside(this, offset, target.length);
    const there = this.#beneath(offset, target.length);
    target.fill(0, there);
    return there === 0 || this.#device.readNow(offset, target.subarray(0, there));
  }

  async prefetch(offset: number, lengthBytes: number): Promise<void> {
    assertInside(this, offset, lengthBytes);
    const there = this.#beneath(offset, lengthBytes);
    if (there > 0) await this.#device.prefetch(offset, there);
  }

  async write(): Promise<void> {
    throw readOnly();
  }

  async flush(): Promise<void> {}

  async discard(): Promise<void> {
    throw readOnly();
  }

  async zero(): Promise<void> {
    throw readOnly();
  }

  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    assertInside(this, offset, lengthBytes);
    const list = new ExtentList(offset, offset + lengthBytes);
    const there = this.#beneath(offset, lengthBytes);
    const beneath = there > 0 ? await this.#device.extents(offset, there) : [];
    for (const extent of beneath) list.upTo(extent.offset + extent.lengthBytes, extent.kind);
    list.upTo(offset + lengthBytes, 'hole');
    return list.extents;
  }

  async close(): Promise<void> {}

  /** How much of that range the device beneath has. */
  #beneath(offset: number, lengthBytes: number): number {
    return Math.max(0, Math.min(lengthBytes, this.#device.sizeBytes - offset));
  }
}

function readOnly(): BlockError {
  return new BlockError('EROFS', { detail: 'an image that is only read' });
}
