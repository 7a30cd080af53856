import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import { BlockError } from '../block/block-error.js';
import type { Medium } from '../block/flush-queue.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import type { DiskFailure, ReopenVerdict } from '../boards/journal/status.js';

export interface WatchedMedium {
  readonly board: string;
  readonly file: string;
  readonly medium: Medium;
}

export interface Watching {
  readonly tell: TellBoardEvent;
  readonly clock: Clock;
  readonly log: Log;
}

/** The disk of a board that may fail: says so when it does, remembers since when, and takes it up again by an operator's word. */
export class FailedDisk {
  readonly #disk: WatchedMedium;
  readonly #watching: Watching;
  #failure: DiskFailure | undefined;

  constructor(disk: WatchedMedium, watching: Watching) {
    this.#disk = disk;
    this.#watching = watching;
    disk.medium.listen((failure) => (failure === undefined ? this.#tookUp() : this.#failed(failure)));
  }

  /** Undefined as long as all is well. */
  get failure(): DiskFailure | undefined {
    return this.#failure;
  }

  async reopen(): Promise<ReopenVerdict> {
    const { board, file, medium } = this.#disk;
    const failure = this.#failure;
    if (failure === undefined) return { answer: 'sound' };
    try {
      await medium.reopen();
      return { answer: 'reopened', failure };
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      this.#watching.log.warn({ board, file, because: error.message }, 'disk.reopen.failed');
      return { answer: 'failed', because: error.message };
    }
  }

  #failed(error: BlockError): void {
    const { board, file } = this.#disk;
    const { tell, clock, log } = this.#watching;
    this.#failure = { since: clock.today(), because: error.message };
    tell({ kind: 'diskFailed', board });
    const remedy = `what the board wrote since its last flush may be lost, and each flush fails from now on. See dmesg on this host, mend the disk, then \`brambleboot reopen ${board}\` and restart the board`;
    log.error({ board, file, code: error.code, because: error.message, remedy }, 'disk.failed');
  }

  #tookUp(): void {
    const { board, file } = this.#disk;
    const { tell, log } = this.#watching;
    const since = this.#failure?.since;
    this.#failure = undefined;
    tell({ kind: 'diskReopened', board });
    log.warn({ board, file, since, remedy: 'restart the board, so that it checks its filesystems' }, 'disk.reopened');
  }
}
