import type { MacAddress } from '../base/addresses.js';
import type { Board } from '../boards/board.js';
import { macOfPi1To3 } from '../boards/discovery.js';
import type { BoardLookup } from '../boards/lookup.js';
import { OUI_OF_PI_1_TO_3, type PiSighting } from '../boards/pi-identity.js';

/** The board of the inventory that this is. The serial comes first: it is what the board will ask its files by. */
export function recogniseBoard(sighting: PiSighting, lookup: BoardLookup): Board | undefined {
  const { serial, mac } = sighting;
  if (serial === undefined) return recogniseMac(mac, lookup);
  return lookup.bySerial(serial) ?? lookup.byMac(mac);
}

/**
 * For those who do not tell their serial. The MAC of a Pi 1 to 3 ends in its serial's low three bytes; if the serials of
 * two boards do, that says nothing.
 */
export function recogniseMac(mac: MacAddress, lookup: BoardLookup): Board | undefined {
  const listed = lookup.byMac(mac);
  if (listed || !mac.startsWith(OUI_OF_PI_1_TO_3)) return listed;
  const fitting = lookup
    .names()
    .map((name) => lookup.byName(name))
    .filter((board) => board !== undefined && board.mac === undefined && macOfPi1To3(board.serial) === mac);
  return fitting.length === 1 ? fitting[0] : undefined;
}
