import { type BlockError, blockErrorFrom } from './block-error.js';

/** What a disk lies on, as an operator sees it: it may fail for good, and be taken up again by his word. */
export interface Medium {
  /** Why nothing is flushed any more; undefined as long as all is well. */
  readonly failure: BlockError | undefined;
  /** Told when it fails, and with undefined when it was taken up again. */
  listen(listener: (failure: BlockError | undefined) => void): void;
  /**
   * Opens it anew, and flushes it. Resolves when it takes flushes again; what was answered before it failed and had not been
   * flushed may be lost all the same. Rejects with BlockError where it is not there, not the same any more, or fails again.
   */
  reopen(): Promise<void>;
}

/**
 * The flushes of one device. One that arrives while another runs can't share it (its writes may have come too late for it), so
 * it waits for the next, and all who wait share that. After a failure every later one fails too, until an operator has it
 * recovered: the kernel reports lost pages once and then takes them for clean, and a board that tries again would be told that
 * all is well.
 */
export class FlushQueue {
  readonly #sync: () => Promise<void>;
  readonly #listeners: ((failure: BlockError | undefined) => void)[] = [];
  #underWay: { readonly running: Promise<void>; next: Promise<void> | undefined } | undefined;
  #recovery: Promise<void> | undefined;
  #failure: BlockError | undefined;

  /** `sync` brings to stable storage what was written before it was called. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  get failure(): BlockError | undefined {
    return this.#failure;
  }

  listen(listener: (failure: BlockError | undefined) => void): void {
    this.#listeners.push(listener);
  }

  async flush(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const underWay = this.#underWay;
    if (underWay === undefined) return this.#start();
    underWay.next ??= underWay.running.then(
      () => this.flush(),
      () => this.flush(),
    );
    return underWay.next;
  }

  /** Flushes work again when `repair` has succeeded, and a flush after it. Who comes while that is under way shares it. */
  recover(repair: () => Promise<void>): Promise<void> {
    this.#recovery ??= this.#recover(repair).finally(() => {
      this.#recovery = undefined;
    });
    return this.#recovery;
  }

  #start(): Promise<void> {
    const running = this.#run();
    this.#underWay = { running, next: undefined };
    return running;
  }

  async #run(): Promise<void> {
    try {
      await this.#sync();
    } catch (error) {
      this.#failure = blockErrorFrom(error, {});
      this.#tell();
      throw this.#failure;
    } finally {
      this.#underWay = undefined;
    }
  }

  async #recover(repair: () => Promise<void>): Promise<void> {
    await repair();
    await this.#sync();
    if (this.#failure === undefined) return;
    this.#failure = undefined;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.#failure);
  }
}
