import { parseSerial } from '../../src/base/serial.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import type { Board } from '../../src/boards/board.js';
import type { BoardLookup } from '../../src/boards/lookup.js';

/** A board of which only the identity matters. */
export function fakeBoard(name: string, serial: string, mac?: string): Board {
  return {
    name,
    serial: parseSerial(serial),
    mac,
    disk: new MemoryDevice(512),
    bootFiles: { open: async () => ({ answer: 'notFound' }) },
    writerLock: {
      acquire: async () => ({ answer: 'granted' }),
      release() {},
      suspect() {},
      holder: () => undefined,
    },
  };
}

/** Finds by name, serial and the mac given; no paths. */
export function fakeLookup(...boards: readonly Board[]): BoardLookup {
  return {
    byName: (name) => boards.find((board) => board.name === name),
    bySerial: (serial) => boards.find((board) => board.serial === serial),
    byMac: (mac) => boards.find((board) => board.mac === mac),
    byBootPath: (path) => ({ answer: 'unknown', asked: path }),
    names: () => boards.map((board) => board.name),
  };
}
