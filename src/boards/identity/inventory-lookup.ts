import { type Ipv4Address, type MacAddress, parseMac } from '../../base/addresses.js';
import { BOOT_PATH_LENGTH_MAX } from '../../base/limits.js';
import { parseSerial, type Serial } from '../../base/serial.js';
import type { Board } from '../board.js';
import type { AddressBook } from './address-book.js';
import type { BoardLookup, BootPathVerdict } from './lookup.js';
import { macOfPi1To3 } from './pi-identity.js';

/** The boards of the inventory, found by whatever a packet says of them. */
export function lookupAmong(boards: readonly Board[], addresses: AddressBook): ChangingLookup {
  return new InventoryLookup(boards, addresses);
}

export interface ChangingLookup extends BoardLookup {
  /** These, and no others, from now on. */
  replace(boards: readonly Board[]): void;
}

class InventoryLookup implements ChangingLookup {
  #byName: ReadonlyMap<string, Board> = new Map();
  #bySerial: ReadonlyMap<Serial, Board> = new Map();
  #byMac: ReadonlyMap<MacAddress, Board> = new Map();
  readonly #addresses: AddressBook;

  constructor(boards: readonly Board[], addresses: AddressBook) {
    this.#addresses = addresses;
    this.replace(boards);
  }

  replace(boards: readonly Board[]): void {
    this.#byName = new Map(boards.map((board) => [board.name, board]));
    this.#bySerial = new Map(boards.map((board) => [board.serial, board]));
    this.#byMac = new Map(boards.flatMap((board) => (board.mac === undefined ? [] : [[board.mac, board]])));
  }

  byName(name: string): Board | undefined {
    return this.#byName.get(name);
  }

  bySerial(serial: Serial): Board | undefined {
    return this.#bySerial.get(serial);
  }

  byMac(mac: MacAddress): Board | undefined {
    return this.#byMac.get(mac) ?? this.#learned(mac) ?? this.#bySerialOfPi3(mac);
  }

  byListedMac(mac: MacAddress): Board | undefined {
    return this.#byMac.get(mac);
  }

  byBootPath(path: string, peer: Ipv4Address): BootPathVerdict {
    const parts = path.split('/').filter((part) => part !== '');
    const fault = pathFault(path, parts);
    if (fault !== undefined) return { answer: 'illegal', because: fault };
    const [first = '', ...rest] = parts;
    if (isSerial(first))
      return verdict(this.#bySerial.get(parseSerial(first)), rest, `has the serial ${first.toLowerCase()}`);
    if (isMacFolder(first)) return verdict(this.byMac(parseMac(first)), rest, `has the MAC ${parseMac(first)}`);
    return verdict(this.#byAddress(peer), parts, `is known to have the address ${peer}`);
  }

  names(): readonly string[] {
    return [...this.#byName.keys()];
  }

  #byAddress(peer: Ipv4Address): Board | undefined {
    const mac = this.#addresses.macOf(peer);
    return mac === undefined ? undefined : this.byMac(mac);
  }

  #learned(mac: MacAddress): Board | undefined {
    const serial = this.#addresses.serialOf(mac);
    return serial === undefined ? undefined : this.#bySerial.get(serial);
  }

  // The boot ROM of a Pi 3 tells nothing but its MAC. Two serials that would have the same one say nothing.
  #bySerialOfPi3(mac: MacAddress): Board | undefined {
    const fitting = [...this.#bySerial.values()].filter(
      (board) => board.mac === undefined && macOfPi1To3(board.serial) === mac,
    );
    return fitting.length === 1 ? fitting[0] : undefined;
  }
}

/** `lack`: what it would take to be the one asked for. */
function verdict(board: Board | undefined, parts: readonly string[], lack: string): BootPathVerdict {
  if (board === undefined) return { answer: 'unknown', because: `no board of the inventory ${lack}` };
  return { answer: 'board', board, path: parts.join('/') };
}

/** Names that FAT can't have, or that would mean something else to it, lead nowhere: refused here once, for all protocols. */
function pathFault(path: string, parts: readonly string[]): string | undefined {
  if (path.length > BOOT_PATH_LENGTH_MAX) return `longer than ${BOOT_PATH_LENGTH_MAX} characters`;
  if (parts.length === 0) return 'no file name';
  if (parts.some((part) => part === '.' || part === '..')) return 'a path upwards';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  if (/[\u0000-\u001f\u007f\\]/.test(path)) return 'a backslash or control character';
  return undefined;
}

/** As bootloaders write it: eight hex digits, whatever their case. */
function isSerial(part: string): boolean {
  return /^[0-9a-f]{8}$/i.test(part);
}

/** TFTP_PREFIX=2: `dc-a6-32-01-02-03`. */
function isMacFolder(part: string): boolean {
  return /^[0-9a-f]{2}(-[0-9a-f]{2}){5}$/i.test(part);
}
