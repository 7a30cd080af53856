import { Worker } from 'node:worker_threads';
import { EventPoll, WakeUp } from './event-poll.js';

export interface Watcher {
  /** There is something to receive, an error perhaps. Not told again before `Watched.again`. */
  ready(): void;
  /** Nothing will be told any more. */
  lost(because: string): void;
}

export interface Watched {
  again(): void;
  /** To be called before the descriptor is closed. Resolves when nothing of ours waits for it. */
  end(): Promise<void>;
}

/**
 * Waits for descriptors that Node can't poll (it knows only its own kinds of socket), all of them in one thread of ours. Not in
 * one of libuv's, of which there are four, for the disks. The thread lives while something is watched, and costs some 11 MB.
 */
export class DescriptorWatch {
  #thread: WatchThread | undefined;

  /** Throws SystemCallError (EMFILE, …). */
  watch(descriptor: number, watcher: Watcher): Watched {
    if (this.#thread === undefined || this.#thread.isDead) this.#thread = new WatchThread();
    const thread = this.#thread;
    try {
      const watched = thread.watch(descriptor, watcher);
      return {
        again: watched.again,
        end: () => {
          watched.end();
          return this.#endIfIdle(thread);
        },
      };
    } catch (error) {
      void this.#endIfIdle(thread);
      throw error;
    }
  }

  async #endIfIdle(thread: WatchThread): Promise<void> {
    if (!thread.isIdle) return;
    if (this.#thread === thread) this.#thread = undefined;
    await thread.end();
  }
}

/** The name of no descriptor: tells the thread to end. */
export const END_TOKEN = 0;
/** Of JavaScript: it has next to none. */
const THREAD_LIMITS = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 };

class WatchThread {
  readonly #poll = new EventPoll();
  readonly #worker: Worker;
  readonly #watchers = new Map<number, Watcher>();
  readonly #ended: Promise<void>;
  #lastToken = END_TOKEN;
  #dead = false;

  constructor() {
    this.#worker = new Worker(new URL('./descriptor-watch-worker.js', import.meta.url), {
      workerData: this.#poll.descriptor,
      resourceLimits: THREAD_LIMITS,
    });
    this.#worker.on('message', (token: number) => this.#watchers.get(token)?.ready());
    this.#worker.on('error', (error) => this.#died(error.message));
    this.#ended = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#died('it ended');
        this.#poll.close();
        resolve();
      });
    });
  }

  get isDead(): boolean {
    return this.#dead;
  }

  get isIdle(): boolean {
    return this.#watchers.size === 0;
  }

  watch(descriptor: number, watcher: Watcher): { again(): void; end(): void } {
    this.#lastToken += 1;
    // Not the descriptor's number: what is told of one that was closed meanwhile must not reach the next of that number.
    const token = this.#lastToken;
    this.#poll.addOnce(descriptor, token);
    this.#watchers.set(token, watcher);
    return {
      again: () => {
        if (this.#watchers.has(token)) this.#poll.again(descriptor, token);
      },
      end: () => {
        if (this.#watchers.delete(token)) this.#poll.remove(descriptor);
      },
    };
  }

  async end(): Promise<void> {
    if (this.#dead) return this.#ended;
    const signal = new WakeUp();
    try {
      this.#poll.addOnce(signal.descriptor, END_TOKEN);
      signal.ring();
      await this.#ended;
    } finally {
      signal.close();
    }
  }

  #died(because: string): void {
    this.#dead = true;
    const watchers = [...this.#watchers.values()];
    this.#watchers.clear();
    for (const watcher of watchers) watcher.lost(`the thread that waits for packets ended: ${because}`);
  }
}
