import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { Disks } from '../../src/block/disks.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import type { Board } from '../../src/boards/board.js';
import { DiskRefused } from '../../src/boards/disks/disk-folder.js';
import { OwnDisk } from '../../src/boards/disks/own-disk.js';
import { addressLock } from '../../src/boards/writer-lock/address-lock.js';
import { boardOf } from './boards.js';
import { noise } from './random.js';

export const OWN_DISK_BYTES = 64 * 4096;
const VERSION = 'ba5e'.repeat(8);

export interface OwnerOptions {
  readonly isVolatile?: boolean;
  /** Of the image, as it is asked for. */
  readonly version?: () => string;
}

/** A board with a real disk of its own, over an image in memory, below `folder/disks`. */
export async function ownerBoard(
  context: TestContext,
  folder: string,
  name: string,
  { isVolatile = false, version = () => VERSION }: OwnerOptions = {},
): Promise<Board & { readonly own: OwnDisk }> {
  const own = new OwnDisk({
    ...{ board: name, disksPath: join(folder, 'disks'), sizeBytes: OWN_DISK_BYTES, disks: new Disks(), isVolatile },
    clock: systemClock,
    fit: async () => {},
    image: {
      device: new MemoryDevice(noise(OWN_DISK_BYTES)),
      version: async () => version(),
      mustBe: (asked) => {
        if (asked !== version()) throw new DiskRefused('the image was changed', 'put it back');
      },
    },
  });
  context.after(() => own.close());
  await own.open();
  return { ...boardOf(name, '1'), disk: own.device, medium: own.medium, own, writerLock: addressLock(systemClock) };
}
