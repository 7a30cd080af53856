import type { CommandName } from './session/transmission.js';
import type { ErrnoName } from './wire/constants.js';

/** Requests of one board and command. */
export interface RequestTally {
  readonly board: string;
  readonly command: CommandName;
  readonly count: number;
  readonly bytes: number;
  readonly seconds: number;
  /** How many took no longer than each of NBD_DURATION_BOUNDS_S, and longer than the one before; last, those that took longer than all. */
  readonly perBound: readonly number[];
}

/** Where the server counts; must not throw and must not wait. `board` is always a name of the inventory. */
export interface NbdMeter {
  /** `bytes` is the request's length, also where it failed; `seconds` runs from its last byte read (in a lane from its header, so that a payload that comes slowly counts) to its reply being ready. */
  requestFinished(
    board: string,
    command: CommandName,
    bytes: number,
    seconds: number,
    errno: ErrnoName | undefined,
  ): void;
  /** Many of one kind, that were done elsewhere and well. */
  requestsFinished(tally: RequestTally): void;
  /** A client that wanted TLS did not get through its handshake. */
  tlsFailed(): void;
  connectionOpened(board: string): void;
  connectionClosed(board: string): void;
}

export const silentMeter: NbdMeter = {
  requestFinished() {},
  requestsFinished() {},
  tlsFailed() {},
  connectionOpened() {},
  connectionClosed() {},
};
