import { BlockError, type BlockErrorCode } from '../../src/block/block-error.js';
import { FlushQueue, type Medium } from '../../src/block/flush-queue.js';
import { MemoryDevice } from '../../src/block/memory-device.js';

export type Operation = 'read' | 'write' | 'zero' | 'discard' | 'flush';

/** Which error an operation meets; undefined: none. */
export type FaultOf = (operation: Operation, offset: number, lengthBytes: number) => BlockErrorCode | undefined;

interface Change {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * A disk that fails, stalls, is full or loses power when a test wants it to. It keeps what was written apart from what was
 * flushed, and flushes as a file does: one at a time, and none that succeeds after one that failed.
 */
export class FaultDevice extends MemoryDevice implements Medium {
  faultOf: FaultOf = () => undefined;
  /** Passed by each operation on its way: for delays. */
  pause: () => Promise<void> | undefined = () => undefined;
  /** Changes that reached the medium, done or not: `write 0+4096`. */
  readonly attempts: string[] = [];
  /** Flushes that reached the medium. */
  flushes = 0;
  readonly #flushing = new FlushQueue(() => this.#sync());
  readonly #held = new Set<Operation>();
  readonly #stable: Uint8Array;
  readonly #waiters: (() => void)[] = [];
  /** What a loss of power may take, oldest first. */
  #unflushed: Change[] = [];

  constructor(content: Uint8Array | number) {
    super(content);
    this.#stable = this.bytes.slice();
  }

  /** Operations of these kinds stand still from now on. */
  hold(...operations: readonly Operation[]): void {
    for (const operation of operations) this.#held.add(operation);
  }

  /** Nothing stands still any more. */
  release(): void {
    this.#held.clear();
    for (const resume of this.#waiters.splice(0)) resume();
  }

  /** How many stand still. */
  get waiting(): number {
    return this.#waiters.length;
  }

  /** What would be there after a loss of power now: all that was flushed, and of the rest whatever `survives` says, change by change. */
  afterPowerLoss(survives: () => boolean): Uint8Array {
    const content = this.#stable.slice();
    for (const { offset, bytes } of this.#unflushed) if (survives()) content.set(bytes, offset);
    return content;
  }

  override async read(offset: number, target: Uint8Array): Promise<void> {
    const failure = await this.#reach('read', offset, target.length);
    if (failure !== undefined) throw failure;
    super.readNow(offset, target);
  }

  override readNow(offset: number, target: Uint8Array): boolean {
    const isSound = !this.#held.has('read') && this.faultOf('read', offset, target.length) === undefined;
    return isSound && super.readNow(offset, target);
  }

  /** One that fails is done by half, as the kernel does it where the space ends. */
  override async write(offset: number, source: Uint8Array, { durable } = { durable: false }): Promise<void> {
    const failure = await this.#change('write', offset, source.length);
    this.#apply(offset, failure === undefined ? source : source.subarray(0, source.length / 2));
    if (failure !== undefined) throw failure;
    if (durable) await this.flush();
  }

  override async zero(offset: number, lengthBytes: number, { durable } = { durable: false }): Promise<void> {
    const failure = await this.#change('zero', offset, lengthBytes);
    if (failure !== undefined) throw failure;
    this.#apply(offset, new Uint8Array(lengthBytes));
    if (durable) await this.flush();
  }

  override async discard(offset: number, lengthBytes: number): Promise<void> {
    const failure = await this.#change('discard', offset, lengthBytes);
    if (failure !== undefined) throw failure;
    this.#apply(offset, new Uint8Array(lengthBytes));
  }

  override flush(): Promise<void> {
    return this.#flushing.flush();
  }

  get failure(): BlockError | undefined {
    return this.#flushing.failure;
  }

  listen(listener: (failure: BlockError | undefined) => void): void {
    this.#flushing.listen(listener);
  }

  reopen(): Promise<void> {
    return this.#flushing.recover(async () => {});
  }

  async #sync(): Promise<void> {
    this.flushes += 1;
    const concerned = this.#unflushed.length;
    const failure = await this.#reach('flush', 0, 0);
    const flushed = this.#unflushed.splice(0, concerned);
    // What a failed flush should have written is lost, and nobody will write it again; yet until the power goes it is read.
    if (failure !== undefined) throw failure;
    for (const { offset, bytes } of flushed) this.#stable.set(bytes, offset);
  }

  #apply(offset: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, offset);
    this.#unflushed.push({ offset, bytes: Uint8Array.from(bytes) }); // a Buffer's slice is the same memory, which the server uses again
  }

  #change(operation: Operation, offset: number, lengthBytes: number): Promise<BlockError | undefined> {
    this.attempts.push(`${operation} ${offset}+${lengthBytes}`);
    return this.#reach(operation, offset, lengthBytes);
  }

  async #reach(operation: Operation, offset: number, lengthBytes: number): Promise<BlockError | undefined> {
    await this.pause();
    if (this.#held.has(operation)) {
      await new Promise<void>((resume) => this.#waiters.push(resume));
    }
    const code = this.faultOf(operation, offset, lengthBytes);
    return code === undefined ? undefined : new BlockError(code, { offset, lengthBytes });
  }
}
