import { type BlockError, blockErrorFrom } from './block-error.js';

/**
 * The flushes of one device. One that arrives while another runs can't share it (its writes may have come too late for it), so
 * it waits for the next, and all who wait share that. After a failure every later one fails too: the kernel reports lost pages
 * once and then takes them for clean, and a board that tries again would be told that all is well.
 */
export class FlushQueue {
  readonly #sync: () => Promise<void>;
  #under: { readonly running: Promise<void>; next: Promise<void> | undefined } | undefined;
  #failure: BlockError | undefined;

  /** `sync` brings to stable storage what was written before it was called; it rejects with BlockError. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  async flush(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const under = this.#under;
    if (under === undefined) return this.#start();
    under.next ??= under.running.then(
      () => this.flush(),
      () => this.flush(),
    );
    return under.next;
  }

  #start(): Promise<void> {
    const running = this.#run();
    this.#under = { running, next: undefined };
    return running;
  }

  async #run(): Promise<void> {
    try {
      await this.#sync();
    } catch (error) {
      this.#failure = blockErrorFrom(error, {});
      throw this.#failure;
    } finally {
      this.#under = undefined;
    }
  }
}
