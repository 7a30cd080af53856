import type { Board } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { PiSighting } from '../boards/identity/pi-identity.js';

/**
 * The board of the inventory that this is. The serial comes first: it is what the board will ask its files by. One that says a
 * serial nobody lists is no other board for having a MAC that was once seen at one: only if the inventory itself says so.
 */
export function recogniseBoard({ serial, mac }: PiSighting, lookup: BoardLookup): Board | undefined {
  return serial === undefined ? lookup.byMac(mac) : (lookup.bySerial(serial) ?? lookup.byListedMac(mac));
}
