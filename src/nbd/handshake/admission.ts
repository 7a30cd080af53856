import { isUnixPeer } from '../../base/addresses.js';
import { addressBytes, contains } from '../../base/subnets.js';
import type { Board, TlsMode } from '../../boards/board.js';
import type { BoardLookup } from '../../boards/identity/lookup.js';
import type { Export } from './export-info.js';
import { type Channel, isBoard, peerWords } from './tls-peer.js';

/** What is served to one client. The inventory may change while it haggles: nothing is remembered between two options. */
export interface Exports {
  /**
   * Whether a client may go on over TLS, or must before anything else (proto.md, "Server-side requirements": NOTLS, SELECTIVETLS,
   * FORCEDTLS). The same for as long as it is connected.
   */
  readonly tls: TlsMode;
  find(name: string, channel: Channel): ExportVerdict;
  /** Those that it may have; of the others nothing is said in a list. */
  names(channel: Channel): readonly string[];
}

export type ExportVerdict =
  | { readonly answer: 'export'; readonly found: Export }
  | { readonly answer: 'unknown' }
  | { readonly answer: 'refused'; readonly board: string; readonly because: Refused };

/** Why a board's disk is not for this client. */
export type Refused =
  | { readonly kind: 'address'; readonly peer: string }
  /** It is had over TLS only. */
  | { readonly kind: 'tlsNeeded' }
  /** It is had in the clear only. */
  | { readonly kind: 'tlsUnwanted' }
  /** Certificate or key are another board's, or nobody's: `shown` says whose. */
  | { readonly kind: 'identity'; readonly shown: string }
  /** Nobody can have it now. */
  | { readonly kind: 'unusable'; readonly because: string };

/** `serverTls`: what holds for boards that are not there; undefined: there is neither certificate nor key. */
export function exportsFor(peer: string, lookup: BoardLookup, serverTls: TlsMode | undefined): Exports {
  const find = (name: string, channel: Channel): ExportVerdict => {
    const board = lookup.byName(name);
    if (board === undefined) return { answer: 'unknown' };
    const because = whyRefused(board, peer, channel) ?? whyUnusable(board);
    return because === undefined
      ? { answer: 'export', found: exportOf(board) }
      : { answer: 'refused', board: board.name, because };
  };
  return {
    tls: tlsFor(peer, lookup, serverTls),
    find,
    names: (channel) => lookup.names().filter((name) => find(name, channel).answer === 'export'),
  };
}

/** Refused or forced only where that is so for every board: who wants one of another kind is answered as always. */
function tlsFor(peer: string, lookup: BoardLookup, serverTls: TlsMode | undefined): TlsMode {
  if (serverTls === undefined) return 'off';
  const modes = lookup.names().map((name) => lookup.byName(name)?.access.tls);
  if (modes.some((mode) => mode !== undefined && mode !== serverTls)) return 'allowed';
  return serverTls === 'required' && isUnixPeer(peer) ? 'allowed' : serverTls;
}

function whyRefused(board: Board, peer: string, channel: Channel): Refused | undefined {
  const { allow, tls } = board.access;
  if (channel.kind === 'tls') {
    if (tls === 'off') return { kind: 'tlsUnwanted' };
    if (!isBoard(channel.peer, board.name)) return { kind: 'identity', shown: peerWords(channel.peer) };
  }
  // Who may open a Unix socket was for the permissions of its file to say, and what goes through it never leaves this host.
  if (isUnixPeer(peer)) return undefined;
  if (channel.kind === 'clear' && tls === 'required') return { kind: 'tlsNeeded' };
  const address = addressBytes(peer);
  const isAllowed = allow === undefined || (address !== undefined && allow.some((subnet) => contains(subnet, address)));
  return isAllowed ? undefined : { kind: 'address', peer };
}

function whyUnusable({ own }: Board): Refused | undefined {
  const because = own?.unusable;
  return because === undefined ? undefined : { kind: 'unusable', because };
}

function exportOf({ name, description, disk }: Board): Export {
  return { name, sizeBytes: disk.sizeBytes, description, rotational: disk.rotational };
}
