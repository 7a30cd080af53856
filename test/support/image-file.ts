import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { assertInside, type BlockDevice } from '../../src/block/block-device.js';

/** An image that a foreign program made, read-only and without the locks and system calls of the real file device. */
export function openImageFile(path: string): BlockDevice {
  const file = openSync(path, 'r');
  const { size } = fstatSync(file);
  const refuse = async (): Promise<never> => {
    throw new Error('read-only');
  };
  const device: BlockDevice = {
    sizeBytes: size,
    rotational: false,
    read: async (offset, target) => {
      device.readNow(offset, target);
    },
    readNow: (offset, target) => {
      assertInside(device, offset, target.length);
      return readSync(file, target, 0, target.length, offset) === target.length;
    },
    prefetch: async () => {},
    write: refuse,
    flush: refuse,
    discard: refuse,
    zero: refuse,
    extents: refuse,
    close: async () => closeSync(file),
  };
  return device;
}
