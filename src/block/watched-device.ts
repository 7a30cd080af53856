import type { BlockDevice, Extent, ZeroOptions } from './block-device.js';
import type { SharedFile, WatchedRange } from './shared-file.js';
import { type PinnedDisk, SwitchingDevice } from './switching-device.js';

/** Somebody who must know before bytes change. Must not throw. */
export interface ChangeWatcher {
  /** A change of these bytes is about to happen. Undefined if that is of no interest. */
  changing(offset: number, lengthBytes: number): WatchedChange | undefined;
  /** Another disk is about to be put in this one's place. Without it that is a change of all of it. */
  replacing?(): void;
}

/** A change that somebody watches. */
export interface WatchedChange {
  /** The change waits for this; never rejects. Undefined if there is nothing to wait for. */
  readonly ready: Promise<void> | undefined;
  /** The change is over, done or failed. Called once. */
  over(): void;
}

/** Being a watcher. */
export interface ChangeWatch {
  /**
   * Changes elsewhere need not be reported, and may be made by other threads that report none. Resolves when no change of these
   * ranges is under way that was not reported. Calls take effect in their order.
   */
  only(ranges: readonly WatchedRange[] | 'all'): Promise<void>;
  stop(): void;
}

/** A device whose changes can be watched, range by range: how TFTP keeps a file still that a board is overwriting. */
export interface WatchedDevice extends BlockDevice {
  /** Reports every change from now on: to the whole disk, until told that some ranges are enough. */
  watch(watcher: ChangeWatcher): ChangeWatch;
  /** Another disk is put in this one's place, of the same size: for who watches, all of it changes. */
  replaced<T>(replace: () => Promise<T>): Promise<T>;
  /** What it is now, to be read from for as long as it takes, also when it is replaced. What changes it is to be watched for. */
  pin(): PinnedDisk;
}

export function watched(device: BlockDevice): WatchedDevice {
  return new Watched(device);
}

class Watched implements WatchedDevice {
  readonly #device: BlockDevice;
  /** The one beneath that is told of ranges. */
  #followed: SharedFile | undefined;
  readonly #watchers = new Map<ChangeWatcher, readonly WatchedRange[] | 'all'>();
  #told: Promise<void> = Promise.resolve();

  constructor(device: BlockDevice) {
    this.#device = device;
    this.#follow(device.shared);
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

  watch(watcher: ChangeWatcher): ChangeWatch {
    this.#watchers.set(watcher, 'all');
    void this.#tellRanges();
    return {
      only: (ranges) => {
        this.#watchers.set(watcher, ranges);
        return this.#tellRanges();
      },
      stop: () => {
        this.#watchers.delete(watcher);
        void this.#tellRanges();
      },
    };
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#device.read(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    return this.#device.readNow(offset, target);
  }

  prefetch(offset: number, lengthBytes: number): Promise<void> {
    return this.#device.prefetch(offset, lengthBytes);
  }

  write(offset: number, source: Uint8Array, options: { readonly durable: boolean }): Promise<void> {
    return this.#change(offset, source.length, () => this.#device.write(offset, source, options));
  }

  flush(): Promise<void> {
    return this.#device.flush();
  }

  discard(offset: number, lengthBytes: number): Promise<void> {
    return this.#change(offset, lengthBytes, () => this.#device.discard(offset, lengthBytes));
  }

  zero(offset: number, lengthBytes: number, options: ZeroOptions): Promise<void> {
    return this.#change(offset, lengthBytes, () => this.#device.zero(offset, lengthBytes, options));
  }

  extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    return this.#device.extents(offset, lengthBytes);
  }

  pin(): PinnedDisk {
    const device = this.#device;
    return device instanceof SwitchingDevice ? device.pin() : { device, release: () => {} };
  }

  close(): Promise<void> {
    return this.#device.close();
  }

  async replaced<T>(replace: () => Promise<T>): Promise<T> {
    let answer: { readonly value: T } | undefined;
    const concerned = [...this.#watchers.keys()].flatMap((watcher) => {
      if (watcher.replacing === undefined) return watcher.changing(0, this.sizeBytes) ?? [];
      watcher.replacing();
      return [];
    });
    await whileWatched(concerned, async () => {
      answer = { value: await replace() };
    });
    // Where nothing was there before, nothing has told what is there now.
    this.#follow(this.#device.shared);
    if (answer === undefined) throw new Error('it was replaced, and there is no answer');
    return answer.value;
  }

  /** Whoever takes its place knows of no ranges yet. */
  #follow(shared: SharedFile | undefined): void {
    if (shared === undefined || shared === this.#followed) return;
    this.#followed = shared;
    shared.whenReplaced((next) => this.#follow(next));
    void this.#tellRanges();
  }

  #tellRanges(): Promise<void> {
    const all = [...this.#watchers.values()];
    const ranges = all.includes('all') ? 'all' : all.flatMap((some) => (some === 'all' ? [] : some));
    // What becomes watched is so at once; what no longer is has time.
    const { shared } = this.#device;
    const watch = shared?.watchAll();
    this.#told = this.#told.then(() => shared?.watch(ranges, watch));
    return this.#told;
  }

  /** The watchers are asked in the same turn, so that none of them can begin to read between question and change. */
  #change(offset: number, lengthBytes: number, change: () => Promise<void>): Promise<void> {
    const watched = [...this.#watchers.keys()]
      .map((watcher) => watcher.changing(offset, lengthBytes))
      .filter((concerned) => concerned !== undefined);
    return watched.length === 0 ? change() : whileWatched(watched, change);
  }
}

async function whileWatched(watched: readonly WatchedChange[], change: () => Promise<void>): Promise<void> {
  const waits = watched.map(({ ready }) => ready).filter((ready) => ready !== undefined);
  try {
    if (waits.length > 0) await Promise.all(waits);
    await change();
  } finally {
    for (const concerned of watched) concerned.over();
  }
}
