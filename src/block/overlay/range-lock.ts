/** Ranges that one at a time may have, in the order in which they asked. */
export class RangeLock {
  readonly #taken: Taken[] = [];

  /** Begins when nobody who asked before has any of it. */
  async while<T>(start: number, end: number, action: () => Promise<T>): Promise<T> {
    const before = this.#taken.filter((other) => other.start < end && start < other.end);
    let free = () => {};
    const taken = { start, end, over: new Promise<void>((resolve) => (free = resolve)) };
    this.#taken.push(taken);
    try {
      if (before.length > 0) await Promise.all(before.map(({ over }) => over));
      return await action();
    } finally {
      this.#taken.splice(this.#taken.indexOf(taken), 1);
      free();
    }
  }
}

interface Taken {
  readonly start: number;
  readonly end: number;
  readonly over: Promise<void>;
}
