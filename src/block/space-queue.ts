import type { Clock, Timer } from '../base/clock.js';
import { FULL_DISK_RETRY_MS } from '../base/limits.js';
import { BlockError } from './block-error.js';

/** What waited for space was given up unanswered, because whoever asked for it is gone. */
export class GivenUp extends Error {
  override readonly name = 'GivenUp';
}

/** What waits for space now. */
export interface SpaceWait {
  readonly since: Date;
  readonly requests: number;
  /** Of the disk that they would change. */
  readonly bytes: number;
}

export type SpaceNews =
  | { readonly kind: 'awaited' }
  /** Nothing waits any more: all of it is done (or failed for another reason), or the last of it was given up. */
  | { readonly kind: 'over'; readonly because: 'done' | 'givenUp'; readonly waitedMs: number };

/** A change of the disk that met a full filesystem, or that has to come after one that did. */
export interface HeldChange {
  readonly offset: number;
  readonly lengthBytes: number;
  /** All of it from the beginning; of an attempt that failed half-way a part may be on the disk. */
  readonly attempt: () => Promise<void>;
}

interface Held extends HeldChange {
  readonly owner: object;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  state: 'waits' | 'isTried' | 'isTriedAndGivenUp';
}

/** ENOSPC, and EDQUOT with it. Not EFBIG: no space that is made there helps against the largest size that a file may have. */
export function isFull(error: unknown): boolean {
  return error instanceof BlockError && error.code === 'ENOSPC';
}

/**
 * Where the changes of one disk wait until its filesystem has space: one queue for all who write to that disk, so that a
 * change never overtakes one of the same bytes that waits. It is tried from the front, one at a time, so that a full disk
 * costs one system call a second and no more than one thread; behind the first that fails again nothing is tried.
 */
export class SpaceQueue {
  readonly #clock: Clock;
  readonly #listeners: ((news: SpaceNews) => void)[] = [];
  #held: Held[] = [];
  #since: { readonly ms: number; readonly date: Date } | undefined;
  #timer: Timer | undefined;
  #isTrying = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  listen(listener: (news: SpaceNews) => void): void {
    this.#listeners.push(listener);
  }

  /** Undefined if nothing waits. */
  get waiting(): SpaceWait | undefined {
    if (this.#since === undefined) return undefined;
    const bytes = this.#held.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    return { since: this.#since.date, requests: this.#held.length, bytes };
  }

  /** Whether something that waits concerns one of these bytes. */
  concerns(offset: number, lengthBytes: number): boolean {
    return this.#held.some((held) => held.offset < offset + lengthBytes && offset < held.offset + held.lengthBytes);
  }

  /** Resolves when the change is done; rejects with what else it met, or with GivenUp. */
  wait(change: HeldChange, owner: object): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#held.push({ ...change, owner, resolve, reject, state: 'waits' });
      if (this.#since === undefined) {
        this.#since = { ms: this.#clock.nowMs(), date: this.#clock.today() };
        this.#tell({ kind: 'awaited' });
      }
      this.#tryLater();
    });
  }

  /** Rejects with GivenUp what waits for this owner; what is being tried at this moment ends first. */
  giveUp(owner: object): void {
    const [theirs, others] = split(this.#held, (held) => held.owner === owner && held.state === 'waits');
    this.#held = others;
    for (const held of others) if (held.owner === owner) held.state = 'isTriedAndGivenUp';
    for (const held of theirs) held.reject(new GivenUp());
    if (theirs.length > 0) this.#endIfEmpty('givenUp');
  }

  #tryLater(): void {
    if (this.#timer !== undefined || this.#isTrying || this.#held.length === 0) return;
    this.#timer = this.#clock.after(FULL_DISK_RETRY_MS, () => {
      this.#timer = undefined;
      void this.#tryAll();
    });
  }

  async #tryAll(): Promise<void> {
    this.#isTrying = true;
    let goesOn = true;
    while (goesOn) {
      const [first] = this.#held;
      goesOn = first !== undefined && (await this.#try(first));
    }
    this.#isTrying = false;
    this.#tryLater();
  }

  /** Whether the next one may be tried. */
  async #try(held: Held): Promise<boolean> {
    held.state = 'isTried';
    try {
      await held.attempt();
      this.#remove(held, 'done');
      held.resolve();
      return true;
    } catch (error) {
      const full = isFull(error);
      if (full && !isGivenUp(held)) {
        held.state = 'waits';
        return false;
      }
      this.#remove(held, full ? 'givenUp' : 'done');
      held.reject(full ? new GivenUp() : error);
      return !full;
    }
  }

  #remove(held: Held, because: 'done' | 'givenUp'): void {
    this.#held = this.#held.filter((other) => other !== held);
    this.#endIfEmpty(because);
  }

  #endIfEmpty(because: 'done' | 'givenUp'): void {
    if (this.#held.length > 0 || this.#since === undefined) return;
    const waitedMs = this.#clock.nowMs() - this.#since.ms;
    this.#since = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#tell({ kind: 'over', because, waitedMs });
  }

  #tell(news: SpaceNews): void {
    for (const listener of this.#listeners) listener(news);
  }
}

function isGivenUp({ state }: Held): boolean {
  return state === 'isTriedAndGivenUp';
}

function split<T>(all: readonly T[], isOne: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isOne), all.filter((one) => !isOne(one))];
}
