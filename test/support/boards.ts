import { type Clock, systemClock } from '../../src/base/clock.js';
import { parseSerial } from '../../src/base/serial.js';
import type { BlockDevice } from '../../src/block/block-device.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { type WatchedDevice, watched } from '../../src/block/watched-device.js';
import type { Board } from '../../src/boards/board.js';
import { AddressBook } from '../../src/boards/identity/address-book.js';
import { lookupAmong } from '../../src/boards/identity/inventory-lookup.js';
import type { BoardLookup } from '../../src/boards/identity/lookup.js';
import { addressLock } from '../../src/boards/writer-lock/address-lock.js';

/** A board of which only the identity matters: no files, a disk of one sector, a lock that everybody gets. */
export function boardOf(name: string, serial: string, mac?: string): Board {
  return {
    name,
    serial: parseSerial(serial),
    mac,
    description: `Disk of ${name}`,
    disk: watched(new MemoryDevice(512)),
    space: undefined,
    medium: undefined,
    own: undefined,
    bootFiles: { open: async () => ({ answer: 'notFound' }) },
    writerLock: {
      acquire: async () => ({ answer: 'granted' }),
      async seize() {},
      release() {},
      suspect() {},
      isAbandoned: async () => true,
      holder: () => undefined,
    },
    access: { allow: undefined, tls: 'allowed' },
  };
}

/** A board that is a disk, or one of so many bytes, under a real lock: for tests of what serves disks. */
export function diskBoard(name: string, disk: BlockDevice | number, clock: Clock = systemClock): Board {
  return {
    ...boardOf(name, '0000abcd'),
    disk: watchedOnce(typeof disk === 'number' ? new MemoryDevice(disk) : disk),
    writerLock: addressLock(clock),
  };
}

/** Of two that watch one file, the second would forget what the first one watches. */
function watchedOnce(disk: BlockDevice | WatchedDevice): WatchedDevice {
  return 'watch' in disk ? disk : watched(disk);
}

/** The real lookup among these, on a LAN where nobody has an address yet. */
export function lookupOf(...boards: readonly Board[]): BoardLookup {
  return lookupAmong(boards, new AddressBook(() => undefined));
}
