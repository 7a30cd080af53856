import type { Board } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { PiSighting } from '../boards/identity/pi-identity.js';

/** The board of the inventory that this is. The serial comes first: it is what the board will ask its files by. */
export function recogniseBoard({ serial, mac }: PiSighting, lookup: BoardLookup): Board | undefined {
  return (serial === undefined ? undefined : lookup.bySerial(serial)) ?? lookup.byMac(mac);
}
