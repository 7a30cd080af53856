/**
 * What the main thread and the one that reads an image tell each other meanwhile, in shared memory: whether it shall go on (Int32 at 0),
 * and how many bytes are done (64 bits at 8).
 */
export class DigestControl {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #done: BigInt64Array;

  constructor(memory = new SharedArrayBuffer(16)) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, 1);
    this.#done = new BigInt64Array(memory, 8, 1);
  }

  get isStopped(): boolean {
    return Atomics.load(this.#words, 0) !== 0;
  }

  /** Ends a rest too. */
  stop(): void {
    Atomics.store(this.#words, 0, 1);
    Atomics.notify(this.#words, 0);
  }

  rest(ms: number): void {
    Atomics.wait(this.#words, 0, 0, ms);
  }

  get doneBytes(): number {
    return Number(Atomics.load(this.#done, 0));
  }

  set doneBytes(bytes: number) {
    Atomics.store(this.#done, 0, BigInt(bytes));
  }
}
