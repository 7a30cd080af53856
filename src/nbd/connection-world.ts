import type { Budget } from '../base/budget.js';
import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import type { TlsMode } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { NbdConnection } from './connection.js';
import type { RefusedDisk } from './handshake/negotiation.js';
import type { TlsDoor } from './handshake/tls-door.js';
import type { Channel } from './handshake/tls-peer.js';
import type { Lanes } from './lanes/lanes.js';
import type { NbdMeter } from './meter.js';
import type { BufferPool } from './session/buffer-pool.js';
import type { TurnBudget } from './session/turn-budget.js';

/** What the server gives a connection and wants to hear of it. */
export interface ConnectionWorld {
  readonly lookup: BoardLookup;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: NbdMeter;
  readonly turn: TurnBudget;
  readonly pool: BufferPool;
  /** For payloads that wait for space. */
  readonly heldMemory: Budget;
  readonly lanes: Pick<Lanes, 'ready' | 'carry'>;
  readonly tls: NbdTls | undefined;
  /** Whether who is at the other end of a socket still answers. */
  probe(socket: object): Promise<'alive' | 'gone'>;
  attached(connection: NbdConnection, board: string, how: Attachment): void;
  /** The disk is no longer touched by this connection; told before its lock is released. */
  detached(connection: NbdConnection, board: string, because: string): void;
  /** Its TLS came to nothing, and so does the connection. */
  tlsFailed(connection: NbdConnection, because: string): void;
  refused(connection: NbdConnection, refused: RefusedDisk): void;
  /** Nothing is left of it. */
  closed(connection: NbdConnection): void;
}

/** `isKept`: it is still attached, from before we were started. */
export interface Attachment {
  readonly channel: Channel;
  readonly isKept: boolean;
}

/** How clients may come by TLS, where they may. */
export interface NbdTls {
  /** `nbd.tls.mode`. */
  readonly mode: TlsMode;
  readonly door: TlsDoor;
}
