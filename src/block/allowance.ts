import type { Clock } from '../base/clock.js';
import { ALLOWANCE_BYTES_AT_ONCE, ALLOWANCE_LOOK_MS } from '../base/limits.js';

/**
 * How much files of ours may take together (`server.state_limit`). Who needs space asks for some in advance, a piece at a time, and is
 * told no when there is none left. What is given back shows when it is measured, which is done before anybody is told no.
 */
export class Allowance {
  readonly #limitBytes: number;
  readonly #measure: () => Promise<number>;
  readonly #clock: Clock;
  /** Measured, and granted since. */
  #usedBytes = Number.POSITIVE_INFINITY;
  #measuredMs = Number.NEGATIVE_INFINITY;
  #measuring: Promise<void> | undefined;

  /** `measure` says what is taken now. */
  constructor(limitBytes: number, measure: () => Promise<number>, clock: Clock) {
    this.#limitBytes = limitBytes;
    this.#measure = measure;
    this.#clock = clock;
  }

  get limitBytes(): number {
    return this.#limitBytes;
  }

  /** Answers how much was granted: as much as is needed, mostly more; 0: there is not so much left. */
  async grant(neededBytes: number): Promise<number> {
    const wantedBytes = Math.max(neededBytes, ALLOWANCE_BYTES_AT_ONCE);
    if (this.#take(wantedBytes)) return wantedBytes;
    await this.#look();
    if (this.#take(wantedBytes)) return wantedBytes;
    return this.#take(neededBytes) ? neededBytes : 0;
  }

  #take(bytes: number): boolean {
    if (this.#usedBytes + bytes > this.#limitBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  /** Not more often than every ALLOWANCE_LOOK_MS: a disk that is full is asked for again and again. */
  async #look(): Promise<void> {
    if (this.#clock.nowMs() - this.#measuredMs < ALLOWANCE_LOOK_MS) return;
    this.#measuring ??= this.#measure()
      .then((bytes) => {
        this.#usedBytes = bytes;
        this.#measuredMs = this.#clock.nowMs();
      })
      .finally(() => {
        this.#measuring = undefined;
      });
    await this.#measuring;
  }
}
