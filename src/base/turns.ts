/** Lets each action begin when the one before is over, however that ended. */
export class Turns {
  #last: Promise<unknown>;

  /** The first begins when `opening` is over. */
  constructor(opening: Promise<unknown> = Promise.resolve()) {
    this.#last = opening;
  }

  take<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(action);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Resolves when all that were taken by now are over. */
  async over(): Promise<void> {
    await this.#last;
  }
}
