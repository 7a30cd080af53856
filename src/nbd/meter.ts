import type { ErrnoName } from './constants.js';
import type { CommandName } from './transmission.js';

/** Where the server counts; must not throw and must not wait. `board` is always a name of the inventory. */
export interface NbdMeter {
  /** `bytes` is the request's length, also where it failed; `seconds` runs from its last byte read to its reply being ready. */
  requestFinished(
    board: string,
    command: CommandName,
    bytes: number,
    seconds: number,
    errno: ErrnoName | undefined,
  ): void;
  connectionOpened(board: string): void;
  connectionClosed(board: string): void;
}

export const silentMeter: NbdMeter = { requestFinished() {}, connectionOpened() {}, connectionClosed() {} };
