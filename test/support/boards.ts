import { parseSerial } from '../../src/base/serial.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { AddressBook } from '../../src/boards/address-book.js';
import type { Board } from '../../src/boards/board.js';
import { lookupAmong } from '../../src/boards/inventory-lookup.js';
import type { BoardLookup } from '../../src/boards/lookup.js';

/** A board of which only the identity matters. */
export function boardOf(name: string, serial: string, mac?: string): Board {
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

/** The real lookup among these, on a LAN where nobody has an address yet. */
export function lookupOf(...boards: readonly Board[]): BoardLookup {
  return lookupAmong(boards, new AddressBook(() => undefined));
}
