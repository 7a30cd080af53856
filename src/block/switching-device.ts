import type { BlockDevice, Extent, ZeroOptions } from './block-device.js';
import type { BlockError } from './block-error.js';
import type { Medium } from './flush-queue.js';
import type { SharedFile } from './shared-file.js';

/** A disk as it is for whoever reads from it, whatever takes its place. */
export interface PinnedDisk {
  readonly device: BlockDevice;
  /** It may be closed. Called once. */
  release(): void;
}

/** A disk behind which another one can be put while it is in use. */
export class SwitchingDevice implements BlockDevice, Medium {
  #device: BlockDevice & Medium;
  readonly #listeners: ((failure: BlockError | undefined) => void)[] = [];
  readonly #changes = new UnderWay();
  /** Of the device that is behind it now. */
  #reads = new UnderWay();
  /** As long as it is held. */
  #gate: Promise<void> | undefined;

  constructor(device: BlockDevice & Medium) {
    this.#device = device;
    this.#listenTo(device);
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  get rotational(): boolean {
    return this.#device.rotational;
  }

  get shared(): SharedFile | undefined {
    return this.#device.shared;
  }

  get failure(): BlockError | undefined {
    return this.#device.failure;
  }

  /** The one behind it now. */
  get current(): BlockDevice & Medium {
    return this.#device;
  }

  /** From now on changes and flushes wait. Resolves when none is under way any more; they go on when what it answers is called. */
  async hold(): Promise<() => void> {
    while (this.#gate !== undefined) await this.#gate;
    const { shared } = this;
    const othersDone = shared?.hold();
    let open = () => {};
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    const release = () => {
      shared?.letGo();
      this.#gate = undefined;
      open();
    };
    await Promise.all([this.#changes.none(), othersDone]);
    return release;
  }

  /** Of who holds it. Once it is done, the one before is the caller's to close as soon as nobody reads from it any more (`readsOver`). */
  async switchTo(device: BlockDevice & Medium): Promise<{ readonly readsOver: Promise<void> }> {
    const [readsBefore, sharedBefore] = [this.#reads, this.shared];
    // For good: what is flushed from now on is what takes its place.
    await sharedBefore?.takeSync();
    this.#reads = new UnderWay();
    this.#device = device;
    this.#listenTo(device);
    if (device.shared !== undefined) sharedBefore?.replaceBy(device.shared);
    return { readsOver: readsBefore.none() };
  }

  /** The one behind it now, to be read from for as long as it takes. */
  pin(): PinnedDisk {
    return { device: this.#device, release: this.#reads.begin() };
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#reads.while(() => this.#device.read(offset, target));
  }

  readNow(offset: number, target: Uint8Array): boolean {
    return this.#device.readNow(offset, target);
  }

  prefetch(offset: number, lengthBytes: number): Promise<void> {
    return this.#reads.while(() => this.#device.prefetch(offset, lengthBytes));
  }

  extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    return this.#reads.while(() => this.#device.extents(offset, lengthBytes));
  }

  write(offset: number, source: Uint8Array, options: { readonly durable: boolean }): Promise<void> {
    return this.#change(() => this.#device.write(offset, source, options));
  }

  flush(): Promise<void> {
    return this.#change(() => this.#device.flush());
  }

  discard(offset: number, lengthBytes: number): Promise<void> {
    return this.#change(() => this.#device.discard(offset, lengthBytes));
  }

  zero(offset: number, lengthBytes: number, options: ZeroOptions): Promise<void> {
    return this.#change(() => this.#device.zero(offset, lengthBytes, options));
  }

  close(): Promise<void> {
    return this.#device.close();
  }

  listen(listener: (failure: BlockError | undefined) => void): void {
    this.#listeners.push(listener);
  }

  /** Nothing is changed meanwhile: what it knows of itself is looked up anew. */
  async reopen(): Promise<void> {
    const release = await this.hold();
    await this.#device.reopen().finally(release);
  }

  #change(change: () => Promise<void>): Promise<void> {
    return this.#gate === undefined ? this.#changes.while(change) : this.#pastGate(change);
  }

  async #pastGate(change: () => Promise<void>): Promise<void> {
    while (this.#gate !== undefined) await this.#gate;
    await this.#changes.while(change);
  }

  #listenTo(device: BlockDevice & Medium): void {
    device.listen((failure) => {
      if (device === this.#device) for (const listener of this.#listeners) listener(failure);
    });
  }
}

/** Counts what has begun and is not over. */
class UnderWay {
  #count = 0;
  #waiting: (() => void)[] = [];

  async while<T>(action: () => Promise<T>): Promise<T> {
    const end = this.begin();
    try {
      return await action();
    } finally {
      end();
    }
  }

  /** Answers what to call when it is over. */
  begin(): () => void {
    this.#count += 1;
    return () => {
      this.#count -= 1;
      if (this.#count === 0) for (const resolve of this.#waiting.splice(0)) resolve();
    };
  }

  async none(): Promise<void> {
    if (this.#count > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
