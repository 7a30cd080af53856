import type { ToldFile } from '../../block/shared-file.js';
import type { Arrival } from '../wire/framing.js';
import type { ToldTable } from './lane-table.js';

/** What a lane begins with. */
export interface LaneBeginning {
  readonly table: ToldTable;
  readonly pollDescriptor: number;
  /** What it has counted, for the other thread to read. */
  readonly counts: SharedArrayBuffer;
  /** What it has in its hands, for the other thread to take. */
  readonly desk: SharedArrayBuffer;
}

/** To every lane, before a connection to that disk is. It has no time to listen: it looks when it meets a disk that it does not know. */
export interface ToLane {
  readonly disk: number;
  readonly file: ToldFile;
}

/** Of a connection, by its record and the generation that it had. */
interface Of {
  readonly record: number;
  readonly generation: number;
}

/** Why there is nothing more to come from a connection. */
export type ConnectionOver =
  | { readonly kind: 'disconnect' }
  | { readonly kind: 'ended' }
  | { readonly kind: 'lost'; readonly because: string }
  | { readonly kind: 'notNbd'; readonly because: string };

export type FromLane =
  /** A request that is not for a lane to do. */
  | ({ readonly kind: 'handed'; readonly order: number; readonly arrival: Arrival } & Of)
  /** A reply that could not be written, because somebody else was writing. */
  | ({ readonly kind: 'reply'; readonly bytes: Uint8Array } & Of)
  /** Who waits to write may try. */
  | ({ readonly kind: 'mayWrite' } & Of)
  /** Nothing more comes from it; replies may still go out. */
  | ({ readonly kind: 'over'; readonly end: ConnectionOver } & Of)
  /** A connection that is being closed has no lane in it any more. */
  | ({ readonly kind: 'left' } & Of)
  /** Of ours: it was in the middle of something, and what comes next from there can't be told. */
  | ({ readonly kind: 'bug'; readonly error: unknown } & Of)
  /** It waits for connections from now on. */
  | { readonly kind: 'ready' }
  /** The sync that its owner waits for is over. */
  | { readonly kind: 'synced'; readonly disk: number };
