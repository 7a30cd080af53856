import { Worker } from 'node:worker_threads';
import { messageOf } from '../../base/errors.js';
import { DigestControl } from './digest-control.js';
import type { DigestResult } from './image-digest.js';
import type { ImageFacts } from './image-facts.js';

/** An image to be read. */
export interface DigestTask {
  /** Open until the result is there. */
  readonly descriptor: number;
  /** What it is: of anything else there is no digest. */
  readonly facts: ImageFacts;
  /** Boards wait for it: before those for which nobody does. */
  readonly isUrgent: boolean;
}

/** One that is being read, or waits for that. */
export interface Digesting {
  readonly doneBytes: number;
  /** Never rejects. */
  readonly result: Promise<DigestResult>;
  /** The result then is `stopped`, unless it was there already. */
  stop(): void;
}

export interface Digester {
  take(task: DigestTask): Digesting;
}

/** What the thread is told. */
export interface DigestWork {
  readonly descriptor: number;
  readonly facts: ImageFacts;
  readonly control: SharedArrayBuffer;
}

/**
 * Reads images one at a time, whoever asks: two at once would make a disk that turns seek between them. Each has a thread while it is
 * read (11 MB), at the lowest priority, that leaves the page cache as it finds it (`os/quiet-reader`) and rests as long as it reads.
 */
export class Digests implements Digester {
  #waiting: Reading[] = [];
  #isBusy = false;

  take(task: DigestTask): Digesting {
    const reading = new Reading(task);
    this.#waiting = this.#waiting.filter(({ isStopped }) => !isStopped);
    const index = task.isUrgent ? this.#waiting.findIndex(({ isUrgent }) => !isUrgent) : -1;
    this.#waiting.splice(index < 0 ? this.#waiting.length : index, 0, reading);
    void this.#goOn();
    return reading;
  }

  async #goOn(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await next.read();
    this.#isBusy = false;
  }
}

class Reading implements Digesting {
  readonly result: Promise<DigestResult>;
  readonly isUrgent: boolean;
  readonly #task: DigestTask;
  readonly #control = new DigestControl();
  #isBegun = false;
  #end: (result: DigestResult) => void = () => {};

  constructor(task: DigestTask) {
    this.#task = task;
    this.isUrgent = task.isUrgent;
    this.result = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get doneBytes(): number {
    return this.#control.doneBytes;
  }

  get isStopped(): boolean {
    return this.#control.isStopped;
  }

  stop(): void {
    this.#control.stop();
    if (!this.#isBegun) this.#end({ answer: 'stopped' });
  }

  async read(): Promise<void> {
    if (this.isStopped) return;
    this.#isBegun = true;
    this.#end(await this.#inThread());
  }

  /** Resolves when the thread is gone, which then uses the descriptor no more. */
  #inThread(): Promise<DigestResult> {
    const { descriptor, facts } = this.#task;
    const workerData: DigestWork = { descriptor, facts, control: this.#control.memory };
    return new Promise((resolve) => {
      let result: DigestResult = { answer: 'failed', because: 'its thread ended' };
      try {
        const thread = new Worker(new URL('./digest-thread.js', import.meta.url), {
          workerData,
          trackUnmanagedFds: false,
          resourceLimits: THREAD_LIMITS,
        });
        thread.once('message', (told: DigestResult) => {
          result = told;
        });
        thread.once('error', (error) => {
          result = { answer: 'failed', because: error.message };
        });
        thread.once('exit', () => resolve(result));
      } catch (error) {
        // A process without descriptors or memory left starts no thread.
        resolve({ answer: 'failed', because: messageOf(error) });
      }
    });
  }
}

/** Of JavaScript; the piece that is read lies outside. */
const THREAD_LIMITS = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 };
