import { addressBytes, contains } from '../base/subnets.js';
import type { Board } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { Export } from './export-info.js';
import { isUnixPeer } from './unix-peers.js';

/** What is served to one client. The inventory may change while it haggles: nothing is remembered between two options. */
export interface Exports {
  find(name: string): ExportVerdict;
  /** Those that it may have; of the others nothing is said in a list. */
  names(): readonly string[];
}

export type ExportVerdict =
  | { readonly answer: 'export'; readonly found: Export }
  | { readonly answer: 'unknown' }
  | { readonly answer: 'refused'; readonly board: string; readonly because: Refused };

/** Why a board's disk is not for this client. */
export type Refused = { readonly kind: 'address'; readonly peer: string };

export function exportsFor(peer: string, lookup: BoardLookup): Exports {
  const find = (name: string): ExportVerdict => {
    const board = lookup.byName(name);
    if (board === undefined) return { answer: 'unknown' };
    const because = whyRefused(board, peer);
    return because === undefined
      ? { answer: 'export', found: exportOf(board) }
      : { answer: 'refused', board: board.name, because };
  };
  return { find, names: () => lookup.names().filter((name) => find(name).answer === 'export') };
}

function whyRefused({ access }: Board, peer: string): Refused | undefined {
  // Who may open a Unix socket was for the permissions of its file to say.
  if (access.allow === undefined || isUnixPeer(peer)) return undefined;
  const address = addressBytes(peer);
  const isAllowed = address !== undefined && access.allow.some((subnet) => contains(subnet, address));
  return isAllowed ? undefined : { kind: 'address', peer };
}

function exportOf({ name, description, disk }: Board): Export {
  return { name, sizeBytes: disk.sizeBytes, description, rotational: disk.rotational };
}
