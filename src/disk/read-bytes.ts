import type { BlockDevice } from '../block/block-device.js';
import { DiskFault } from './disk-fault.js';

/** A run of a device in memory: without waiting if the page cache has it. The range must lie in the device: who calls has checked that. */
export async function readBytes(device: BlockDevice, offset: number, lengthBytes: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes);
  if (!device.readNow(offset, bytes)) await device.read(offset, bytes);
  return bytes;
}

/** The first bytes of a device, where a boot sector or an MBR lies. */
export async function readFront(device: BlockDevice, lengthBytes: number): Promise<Uint8Array> {
  if (device.sizeBytes < lengthBytes) {
    throw new DiskFault({
      structure: 'size of the device',
      offset: 0,
      value: device.sizeBytes,
      sound: `at least ${lengthBytes} bytes`,
    });
  }
  return await readBytes(device, 0, lengthBytes);
}
