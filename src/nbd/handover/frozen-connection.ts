import type { ToldTerms } from '../handshake/agreement.js';
import type { Unanswered } from '../session/disk-session.js';
import type { BegunPayload } from '../wire/framing.js';
import type { KeptSocket } from './keeper.js';

/** A connection that uses a disk, between two processes: all that the next one needs to go on with it where this one stopped. */
export interface FrozenConnection {
  readonly board: string;
  /** Its address, as the writer lock knows it. */
  readonly peer: string;
  readonly terms: ToldTerms;
  readonly socket: KeptSocket;
  /** What came and was not looked at. Where it begins in the middle of a payload, `begun` says of what. */
  readonly input: Uint8Array;
  readonly begun: BegunPayload | undefined;
  /** To be done, or done once more. */
  readonly unanswered: readonly Unanswered[];
  /** Replies that did not go out. */
  readonly unsent: Uint8Array;
}

/** A connection that could not be kept. */
export interface LostConnection {
  readonly board: string;
  readonly peer: string;
  readonly because: string;
}
