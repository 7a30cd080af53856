import type { Ipv4Address, MacAddress } from '../../base/addresses.js';
import type { Serial } from '../../base/serial.js';
import type { Board } from '../board.js';

/** Finds the board that a packet is about. */
export interface BoardLookup {
  byName(name: string): Board | undefined;
  bySerial(serial: Serial): Board | undefined;
  /** By the inventory's `mac`, or by what DHCP has shown to be this board's. */
  byMac(mac: MacAddress): Board | undefined;
  /** By the inventory's `mac` alone. */
  byListedMac(mac: MacAddress): Board | undefined;
  /** Whose path this is: its first part, or else who asks. */
  byBootPath(path: string, peer: Ipv4Address): BootPathVerdict;
  names(): readonly string[];
}

export type BootPathVerdict =
  | { readonly answer: 'board'; readonly board: Board; readonly path: string }
  /** A serial or MAC that is not in the inventory, or a peer of which nothing is known. `because` is printable as it is. */
  | { readonly answer: 'unknown'; readonly because: string }
  /** No path any board could have: `..`, a NUL, a backslash, too long. */
  | { readonly answer: 'illegal'; readonly because: string };
