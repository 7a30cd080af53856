import type { BlockDevice, Extent, ZeroOptions } from './block-device.js';
import { GivenUp, isFull, type SpaceQueue } from './space-queue.js';

/** Told when a change begins to wait, with the memory that it keeps; what it answers is called when it waits no more. */
export type HeldListener = (keptBytes: number) => () => void;

/**
 * A disk as one of its users has it, whose changes wait where the filesystem beneath is full instead of failing. Reads go on,
 * and so does what needs no space. It stands above a watched device: each attempt is a change of its own there, and nobody
 * waits for a change that waits.
 *
 * - A flush covers what was answered, and what waits was not: it passes. Where it is the flush that meets a full disk (thin
 *   volumes), the kernel has dropped the data, so there is nothing that could be tried again and the failure is passed on.
 * - A discard is a hint: it never waits, and where there is no space to note the hole in, it counts as done.
 * - A change of bytes that another one waits to change waits behind it. Of two that were under way together before either of
 *   them waited, either may come last, as on any disk with a queue.
 */
export class WaitingDevice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly #queue: SpaceQueue;
  readonly #held: HeldListener;
  #isGivenUp = false;

  constructor(device: BlockDevice, queue: SpaceQueue, held: HeldListener = () => () => {}) {
    this.#device = device;
    this.#queue = queue;
    this.#held = held;
  }

  get sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  get rotational(): boolean {
    return this.#device.rotational;
  }

  /** From here on nothing waits: it rejects with GivenUp. Its user is gone, and nobody is to be surprised by it later. */
  giveUp(): void {
    this.#isGivenUp = true;
    this.#queue.giveUp(this);
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

  async write(offset: number, source: Uint8Array, { durable }: { readonly durable: boolean }): Promise<void> {
    const attempt = () => this.#device.write(offset, source, { durable: false });
    await this.#change(offset, source.length, source.length, attempt);
    if (durable) await this.#device.flush();
  }

  flush(): Promise<void> {
    return this.#device.flush();
  }

  async discard(offset: number, lengthBytes: number): Promise<void> {
    try {
      await this.#device.discard(offset, lengthBytes);
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }

  async zero(offset: number, lengthBytes: number, { durable, ...how }: ZeroOptions): Promise<void> {
    const attempt = () => this.#device.zero(offset, lengthBytes, { ...how, durable: false });
    await this.#change(offset, lengthBytes, 0, attempt);
    if (durable) await this.#device.flush();
  }

  extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    return this.#device.extents(offset, lengthBytes);
  }

  /** Leaves the device beneath open: it is only a view. */
  async close(): Promise<void> {
    this.giveUp();
  }

  async #change(offset: number, lengthBytes: number, keptBytes: number, attempt: () => Promise<void>): Promise<void> {
    if (!this.#queue.concerns(offset, lengthBytes)) {
      try {
        await attempt();
        return;
      } catch (error) {
        if (!isFull(error)) throw error;
      }
    }
    if (this.#isGivenUp) throw new GivenUp();
    const waiting = this.#queue.wait({ offset, lengthBytes, attempt }, this);
    const over = this.#held(keptBytes);
    // What other threads would write may have to wait behind it.
    this.#device.shared?.ownChangesWait(1);
    try {
      await waiting;
    } finally {
      this.#device.shared?.ownChangesWait(-1);
      over();
    }
  }
}
