import { setImmediate } from 'node:timers/promises';
import { DISK_WORK_PER_TURN } from '../base/limits.js';

/**
 * Keeps a long walk from holding up everybody else: with the image in the page cache nothing in it waits, and a hostile
 * one has chains of millions of clusters. Count the work with `spend`; where it answers true, `await letOthersRun()`.
 */
export class Turn {
  #left = DISK_WORK_PER_TURN;

  /** One unit is one step along a chain, some nanoseconds. */
  spend(units: number): boolean {
    this.#left -= units;
    return this.#left <= 0;
  }

  async letOthersRun(): Promise<void> {
    await setImmediate();
    this.#left = DISK_WORK_PER_TURN;
  }
}
