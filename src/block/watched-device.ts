import type { BlockDevice, Extent, ZeroOptions } from './block-device.js';

/** Somebody who must know before bytes change. */
export interface ChangeWatcher {
  /** A change of these bytes is about to happen; it waits for what is returned. Must not throw or reject. */
  changing(offset: number, lengthBytes: number): Promise<void> | undefined;
  /** That change is over, done or failed. Called once for each `changing`. */
  changed(): void;
}

/** A device whose changes can be watched, range by range: how TFTP keeps a file still that a board is overwriting. */
export interface WatchedDevice extends BlockDevice {
  /** Reports every change that touches the range from now on, until the function returned is called. */
  watch(offset: number, lengthBytes: number, watcher: ChangeWatcher): () => void;
}

export function watched(device: BlockDevice): WatchedDevice {
  return new Watched(device);
}

interface Watch {
  readonly start: number;
  readonly end: number;
  readonly watcher: ChangeWatcher;
}

class Watched implements WatchedDevice {
  readonly #device: BlockDevice;
  readonly #watches = new Set<Watch>();

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  watch(offset: number, lengthBytes: number, watcher: ChangeWatcher): () => void {
    const watch: Watch = { start: offset, end: offset + lengthBytes, watcher };
    this.#watches.add(watch);
    return () => this.#watches.delete(watch);
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#device.read(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    return this.#device.readNow(offset, target);
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

  close(): Promise<void> {
    return this.#device.close();
  }

  /** The watchers concerned are asked in the same turn, so that none of them can begin to read between question and change. */
  #change(offset: number, lengthBytes: number, change: () => Promise<void>): Promise<void> {
    const end = offset + lengthBytes;
    const concerned = [...this.#watches].filter((watch) => watch.start < end && offset < watch.end);
    if (concerned.length === 0) return change();
    return this.#announced(concerned, offset, lengthBytes, change);
  }

  async #announced(
    concerned: readonly Watch[],
    offset: number,
    lengthBytes: number,
    change: () => Promise<void>,
  ): Promise<void> {
    const waits = concerned
      .map(({ watcher }) => watcher.changing(offset, lengthBytes))
      .filter((wait) => wait !== undefined);
    try {
      if (waits.length > 0) await Promise.all(waits);
      await change();
    } finally {
      for (const { watcher } of concerned) watcher.changed();
    }
  }
}
