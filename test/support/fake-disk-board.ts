import { type Clock, systemClock } from '../../src/base/clock.js';
import type { BlockDevice } from '../../src/block/block-device.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { addressLock } from '../../src/boards/address-lock.js';
import type { Board } from '../../src/boards/board.js';
import type { BoardLookup } from '../../src/boards/lookup.js';

/** A board that is a disk and nothing else, for tests of what serves disks. */
export function fakeDiskBoard(name: string, disk: BlockDevice | number, clock: Clock = systemClock): Board {
  return {
    name,
    serial: '0000abcd',
    mac: undefined,
    disk: typeof disk === 'number' ? new MemoryDevice(disk) : disk,
    bootFiles: { open: async () => ({ answer: 'notFound' }) },
    writerLock: addressLock(clock),
  };
}

export function fakeLookup(...boards: readonly Board[]): BoardLookup {
  const byName = new Map(boards.map((board) => [board.name, board]));
  return {
    byName: (name) => byName.get(name),
    bySerial: () => undefined,
    byMac: () => undefined,
    byBootPath: (path) => ({ answer: 'unknown', asked: path }),
    names: () => [...byName.keys()],
  };
}
