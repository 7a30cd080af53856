import type { Clock } from './clock.js';

export interface NewsOptions {
  /** What was said is worth saying again after as long. */
  readonly againMs: number;
  /** So many are said in that time: whoever can make up new ones must not fill a disk with log. */
  readonly max: number;
}

/** What is worth a line in the log, of what may come again and again. */
export class News {
  readonly #clock: Clock;
  readonly #options: NewsOptions;
  readonly #said = new Set<string>();
  #sinceMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, options: NewsOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Counts as said from here on. */
  isNews(saying: string): boolean {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#sinceMs >= this.#options.againMs) {
      this.#sinceMs = nowMs;
      this.#said.clear();
    }
    if (this.#said.has(saying) || this.#said.size >= this.#options.max) return false;
    this.#said.add(saying);
    return true;
  }
}
