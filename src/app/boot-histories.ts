import { type Clock, passed, type Timer } from '../base/clock.js';
import { reasonOf } from '../base/errors.js';
import {
  BOOT_ACROSS_ABSENCE_MS,
  BOOT_HISTORIES_LEFT_BEHIND_MAX,
  BOOT_HISTORY_RETRY_MS,
  BOOT_HISTORY_STOP_MS,
  BOOT_HISTORY_WRITE_LATER_MS,
  BOOT_HISTORY_WRITE_MS,
} from '../base/limits.js';
import type { Log } from '../base/log.js';
import type { BootNews } from '../boards/journal/boot-record.js';
import { decodePast, encodePast, type Moment, sinceMs } from '../boards/journal/history-wire.js';
import type { Journal, Weight } from '../boards/journal/journal.js';
import type { HostTime } from '../os/host-time.js';
import type { HistoryFolder } from './history-folder.js';

/** What there is to be done in the folder, one thing at a time. */
export type HistoryStore = Pick<HistoryFolder, 'open' | 'read' | 'write' | 'settle' | 'putAside' | 'sweep'>;

export interface BootHistoriesOptions {
  readonly journal: Journal;
  readonly folder: HistoryStore;
  readonly hostTime: () => HostTime;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Keeps the journal on disk, and gives it back to the next process. Nothing waits for it and nothing fails by it: of a disk that is
 * full, read-only or damaged there is a line in the log, and boards boot. One file is written at a time for all boards together, so
 * that a rack that boots at once costs a slow disk no more than it can do, and of the threads that serve the boards' disks one.
 */
export class BootHistories {
  readonly #options: BootHistoriesOptions;
  /** Board → when it is to be written. */
  readonly #due = new Map<string, number>();
  #restored = false;
  #timer: Timer | undefined;
  #round: Promise<void> | undefined;
  #notBeforeMs = 0;
  #stopped = false;
  /** The folder may belong to another process any moment. */
  #givenUp = false;
  #trouble: string | undefined;

  constructor(options: BootHistoriesOptions) {
    this.#options = options;
  }

  /** Before anything is recorded. */
  async restore(boards: readonly string[]): Promise<readonly BootNews[]> {
    const { folder } = this.#options;
    await this.#try('.', () => folder.open());
    const news = await this.begin(boards);
    const removed = await this.#try('.', () => folder.sweep(new Set(boards), BOOT_HISTORIES_LEFT_BEHIND_MAX));
    if (removed !== undefined && removed > 0) this.#options.log.info({ files: removed }, 'history.swept');
    this.#restored = true;
    this.#plan();
    return news;
  }

  /** Of boards that are served from now on, perhaps as they were before. Before anything of theirs is recorded. */
  async begin(boards: readonly string[]): Promise<readonly BootNews[]> {
    const news: BootNews[] = [];
    for (const board of boards) {
      const read = await this.#try(board, () => this.#read(board));
      if (read === undefined) await this.#saveUnreadable(board);
      else news.push(...read);
    }
    return news;
  }

  /** Of a board that is served no longer: what is not written yet is, and nothing more. */
  async end(board: string): Promise<void> {
    await this.#round;
    if (this.#due.has(board)) await this.#write([board]);
    this.#due.delete(board);
    this.#options.journal.forget(board);
  }

  changed(board: string, weight: Weight): void {
    const nowMs = this.#options.clock.nowMs();
    const dueMs = nowMs + (weight === 'heavy' ? BOOT_HISTORY_WRITE_MS : BOOT_HISTORY_WRITE_LATER_MS);
    const known = this.#due.get(board);
    if (known !== undefined && known <= dueMs) return;
    this.#due.set(board, dueMs);
    this.#plan();
  }

  /** Writes what is not written yet, as far as there is time. */
  async stop(): Promise<void> {
    const { clock, log } = this.#options;
    this.#stopped = true;
    this.#timer?.cancel();
    // What could not even be read is left as it is.
    if (!this.#restored) return;
    const late = passed(clock, BOOT_HISTORY_STOP_MS).then(() => 'late' as const);
    const last = (async () => {
      await this.#round;
      await this.#write([...this.#due.keys()]);
    })();
    if ((await Promise.race([last, late])) !== 'late') return;
    this.#givenUp = true;
    log.warn({ boards: this.#due.size, because: 'the disk is too slow' }, 'history.write.failed');
  }

  async #read(board: string): Promise<readonly BootNews[]> {
    const { folder, journal } = this.#options;
    const file = await folder.read(board);
    if (file.answer === 'none') return [];
    const verdict = file.answer === 'content' ? decodePast(board, file.content) : file;
    if (verdict.answer === 'foreign') {
      await this.#putAside(board, verdict.because);
      return [];
    }
    const { past, lost, why } = verdict;
    const news = journal.remember(board, past, sinceMs(past.written, this.#now(), BOOT_ACROSS_ABSENCE_MS));
    if (lost > 0) await this.#putAside(board, why ?? '', { kept: past.boots.length, lost });
    return news;
  }

  /** Else the board's next boot would be written over what somebody could still save. */
  async #saveUnreadable(board: string): Promise<void> {
    const { folder, log } = this.#options;
    const aside = await folder.putAside(board).catch(() => undefined);
    if (aside !== undefined) log.warn({ board, because: 'it could not be read', putAside: aside }, 'history.faulty');
  }

  async #putAside(board: string, because: string, facts: object = {}): Promise<void> {
    const { folder, log } = this.#options;
    const aside = await this.#try(board, () => folder.putAside(board));
    log.warn({ board, because, ...facts, ...(aside === undefined ? {} : { putAside: aside }) }, 'history.faulty');
    this.changed(board, 'heavy');
  }

  /** The next round, at the time of the first that is due; while one is under way, after it. */
  #plan(): void {
    if (this.#stopped || !this.#restored || this.#round !== undefined || this.#due.size === 0) return;
    this.#timer?.cancel();
    const { clock } = this.#options;
    const atMs = Math.max(Math.min(...this.#due.values()), this.#notBeforeMs);
    this.#timer = clock.after(Math.max(atMs - clock.nowMs(), 0), () => {
      this.#round = this.#write(this.#boardsDue()).finally(() => {
        this.#round = undefined;
        this.#plan();
      });
    });
  }

  #boardsDue(): readonly string[] {
    const nowMs = this.#options.clock.nowMs();
    return [...this.#due].filter(([, dueMs]) => dueMs <= nowMs).map(([board]) => board);
  }

  /** One after the other; never rejects. What could not be written stays due. */
  async #write(boards: readonly string[]): Promise<void> {
    const { folder, journal, clock } = this.#options;
    if (boards.length === 0) return;
    let trouble: string | undefined;
    for (const board of boards) {
      if (this.#givenUp) return;
      this.#due.delete(board);
      try {
        await folder.write(board, encodePast(board, journal.past(board), this.#now()));
      } catch (error) {
        trouble ??= reasonOf(error);
        if (!this.#due.has(board)) this.#due.set(board, clock.nowMs());
      }
    }
    try {
      await folder.settle();
    } catch (error) {
      trouble ??= reasonOf(error);
    }
    this.#notBeforeMs = clock.nowMs() + (trouble === undefined ? 0 : BOOT_HISTORY_RETRY_MS);
    this.#tell(trouble);
  }

  /** Once when it begins, and once when it is over. */
  #tell(trouble: string | undefined): void {
    const { log } = this.#options;
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    if (trouble === undefined) log.info({}, 'history.write.works');
    else log.warn({ boards: this.#due.size, because: trouble }, 'history.write.failed');
  }

  async #try<T>(place: string, action: () => Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      this.#options.log.warn({ place, because: reasonOf(error) }, 'history.read.failed');
      return undefined;
    }
  }

  #now(): Moment {
    return { ...this.#options.hostTime(), at: this.#options.clock.today() };
  }
}
