import { bytesText } from '../../base/amounts.js';
import type { Clock } from '../../base/clock.js';
import { LAYER_NEEDS_BYTES, SNAPSHOT_HOLD_MS_MAX, SNAPSHOTS_PER_BOARD_MAX } from '../../base/limits.js';
import { BlockError, blockErrorFrom } from '../../block/block-error.js';
import { SwitchingDevice } from '../../block/switching-device.js';
import { DiskRefused } from './disk-folder.js';
import { DiskLayers, isOfTheDisk } from './disk-layers.js';
import { closeAll, type OpenLayer } from './layer-files.js';
import {
  chainOf,
  type Layer,
  type LayerTree,
  layerOf,
  rolledBack,
  type Snapshot,
  startedAnew,
  withoutSnapshot,
  withSnapshot,
} from './layer-tree.js';
import { SNAPSHOT_NAME } from './layer-tree-wire.js';
import { type BoardDiskOptions, openDisk, topOf } from './open-disk.js';

/** `refused`: nothing has happened. */
export type DiskVerdict<Done = object> =
  | ({ readonly answer: 'done' } & Done)
  | { readonly answer: 'refused'; readonly because: string };

/** For how long changes were held. */
export interface Held {
  readonly heldMs: number;
}

export interface SnapshotFacts {
  readonly name: string;
  readonly takenAt: Date;
  /** What was written since the snapshot before it, and is kept for it. */
  readonly ownBytes: number;
  /** The disk lies on it. */
  readonly inUse: boolean;
}

/**
 * A board's own disk: layers over an image. What is done to the layers is done one after the other; each is either done or has not
 * happened, whenever the process or the host dies, because `disk.json` says in one step which layers there are.
 */
export class BoardDisk {
  readonly device: SwitchingDevice;
  readonly #options: BoardDiskOptions;
  readonly #clock: Clock;
  readonly #layers: DiskLayers;
  #lastTurn: Promise<unknown> = Promise.resolve();

  private constructor(options: BoardDiskOptions, clock: Clock, layers: DiskLayers) {
    this.#options = options;
    this.#clock = clock;
    this.#layers = layers;
    this.device = layers.device;
  }

  /**
   * Makes it if there is none, and puts it in the place of what is behind `device` now. Throws DiskRefused, BlockError, and what Node
   * says of the disk.
   */
  static async open(options: BoardDiskOptions, clock: Clock, device?: SwitchingDevice): Promise<BoardDisk> {
    const open = await openDisk(options);
    const top = topOf(open.layers);
    if (device !== undefined) await (await device.switchTo(top)).readsOver;
    const layers = new DiskLayers(open, device ?? new SwitchingDevice(top));
    await layers.removeGone().catch((error: unknown) => {
      if (!isOfTheDisk(error)) throw error;
    });
    return new BoardDisk(options, clock, layers);
  }

  /** Names of layers' files that nobody knows of. */
  strangers(): Promise<readonly string[]> {
    return this.#layers.folder.strangers(this.#layers.tree);
  }

  /** Versions of images that it lies on, or that a snapshot does. */
  get bases(): ReadonlySet<string> {
    return new Set(this.#layers.tree.layers.map(({ base }) => base));
  }

  /** Those that the disk itself lies on. */
  get basesInUse(): ReadonlySet<string> {
    return new Set(this.#layers.open.map(({ layer }) => layer.base));
  }

  /** Whether the disk lies on that snapshot. */
  isOn(name: string): boolean {
    const layer = this.#snapshot(name)?.layer;
    return layer !== undefined && this.#layers.open.some((each) => each.layer.id === layer);
  }

  /** A sentence if there is no snapshot of that name. */
  missing(name: string): string | undefined {
    if (this.#snapshot(name) !== undefined) return undefined;
    const names = this.#layers.tree.snapshots.map((snapshot) => snapshot.name);
    const there = names.length === 0 ? 'there is none' : `there are ${names.join(', ')}`;
    return `it has no snapshot ${JSON.stringify(name)}: ${there}`;
  }

  /** Whether the board has written nothing there, ever: it is as in the image. */
  isUntouched(offset: number, lengthBytes: number): boolean {
    return this.#layers.open.every(({ device }) => {
      const length = Math.max(0, Math.min(lengthBytes, device.sizeBytes - offset));
      return device.isUntouched(offset, length);
    });
  }

  get snapshotCount(): number {
    return this.#layers.tree.snapshots.length;
  }

  /** Oldest first. */
  snapshots(): Promise<readonly SnapshotFacts[]> {
    return Promise.all(
      this.#layers.tree.snapshots.map(async ({ name, layer, takenAt }) => {
        const ownBytes = await this.#layers.folder.allocatedBytes(layer);
        return { name, takenAt, ownBytes, inUse: this.isOn(name) };
      }),
    );
  }

  /** What the board has written since the last snapshot. */
  currentBytes(): Promise<number> {
    return this.#layers.folder.allocatedBytes(this.#layers.tree.current);
  }

  /** The board may go on meanwhile: its changes are held for as long as what it has written last takes to the disk. */
  snapshot(name: string): Promise<DiskVerdict<Held>> {
    return this.#inTurn<Held>(async () => {
      const because = this.#whyNot(name);
      if (because !== undefined) return { answer: 'refused', because };
      const top = this.#layers.top;
      const { base } = layerOf(this.#layers.tree, this.#layers.tree.current);
      const id = await this.#layers.plan();
      const fresh = await this.#layers.files.make({ id, parent: this.#layers.tree.current, base }, top, top.sizeBytes);
      try {
        await this.device.flush(); // most of it while the board goes on
        return { answer: 'done', heldMs: await this.#takeSnapshot(name, fresh) };
      } catch (error) {
        await this.#layers.files.unmake(fresh);
        throw error;
      }
    });
  }

  /** Nobody may write to the disk. */
  rollback(name: string): Promise<DiskVerdict> {
    return this.#inTurn<object>(async () => {
      const snapshot = this.#snapshot(name);
      if (snapshot === undefined) return { answer: 'refused', because: this.missing(name) ?? name };
      const chain = chainOf(this.#layers.tree, snapshot.layer);
      const { base } = layerOf(this.#layers.tree, snapshot.layer);
      await this.#beginOver({ chain, base }, (fresh) => rolledBack(this.#layers.tree, snapshot, fresh));
      return DONE;
    });
  }

  /** Back to the image, in that version; snapshots stay. Nobody may write to the disk. */
  reset(base: string): Promise<DiskVerdict> {
    return this.#inTurn(async () => {
      await this.#beginOver({ chain: [], base }, (fresh) => startedAnew(this.#layers.tree, base, fresh));
      return DONE;
    });
  }

  /** Nobody may write to the disk if it lies on that snapshot. */
  drop(name: string): Promise<DiskVerdict> {
    return this.#inTurn<object>(async () => {
      const because = this.missing(name);
      if (because !== undefined) return { answer: 'refused', because };
      await this.#layers.record(withoutSnapshot(this.#layers.tree, name));
      await this.#layers.cleanUp();
      return DONE;
    });
  }

  /** What was not flushed is not made durable by it. */
  async close(): Promise<void> {
    await this.#lastTurn;
    await this.#layers.close();
  }

  #snapshot(name: string): Snapshot | undefined {
    return this.#layers.tree.snapshots.find((snapshot) => snapshot.name === name);
  }

  #whyNot(name: string): string | undefined {
    if (!SNAPSHOT_NAME.test(name)) {
      return `${JSON.stringify(name)} is no name for a snapshot: up to 63 letters and digits, and behind the first one . _ - too`;
    }
    if (this.#snapshot(name) !== undefined) return `there is a snapshot ${name} already: drop it, or take another name`;
    const isFull = this.#layers.tree.snapshots.length >= SNAPSHOTS_PER_BOARD_MAX;
    return isFull
      ? `there are ${SNAPSHOTS_PER_BOARD_MAX} snapshots, the most that a board can have: drop one`
      : undefined;
  }

  /** Answers for how long changes were held. */
  async #takeSnapshot(name: string, fresh: OpenLayer): Promise<number> {
    const begunMs = this.#clock.nowMs();
    const release = await this.#held();
    try {
      const { top, tree } = this.#layers;
      await top.flush();
      await this.#layers.record(withSnapshot(tree, { name, takenAt: this.#clock.today() }, fresh.layer.id));
      await this.#layers.putOnTop(fresh);
    } finally {
      release();
    }
    return this.#clock.nowMs() - begunMs;
  }

  async #held(): Promise<() => void> {
    const holding = this.device.hold();
    const isLate = new Promise<undefined>((resolve) => {
      const timer = this.#clock.after(SNAPSHOT_HOLD_MS_MAX, () => resolve(undefined));
      void holding.then(() => timer.cancel());
    });
    const release = await Promise.race([holding, isLate]);
    if (release !== undefined) return release;
    void holding.then((late) => late());
    const because = `what it has under way took longer than ${SNAPSHOT_HOLD_MS_MAX / 1000} s`;
    throw new BlockError('EBUSY', { file: this.#options.board, detail: because });
  }

  /** A fresh layer over that chain, or over the image, takes the current one's place. */
  async #beginOver(
    { chain, base }: { readonly chain: readonly Layer[]; readonly base: string },
    next: (fresh: string) => LayerTree,
  ): Promise<void> {
    const { files } = this.#layers;
    const below = await files.openChain(chain, 'readOnly');
    const parent = chain.at(-1)?.id;
    const on = below.at(-1)?.device ?? this.#options.baseOf(base);
    try {
      const id = await this.#layers.plan();
      const fresh = await files.make({ id, base, parent }, on, this.device.sizeBytes);
      await this.#makeCurrent(fresh, next).catch(async (error: unknown) => {
        await files.unmake(fresh);
        throw error;
      });
      await this.#layers.replace([...below, fresh]);
    } catch (error) {
      await closeAll(below);
      throw error;
    }
    await this.#layers.cleanUp();
  }

  async #makeCurrent(fresh: OpenLayer, next: (fresh: string) => LayerTree): Promise<void> {
    await this.#options.fit(fresh.device);
    await fresh.device.flush();
    await this.#layers.record(next(fresh.layer.id));
  }

  #inTurn<Done>(action: () => Promise<DiskVerdict<Done>>): Promise<DiskVerdict<Done>> {
    const turn = this.#lastTurn.then(() => this.#told(action));
    this.#lastTurn = turn.catch(() => {});
    return turn;
  }

  async #told<Done>(action: () => Promise<DiskVerdict<Done>>): Promise<DiskVerdict<Done>> {
    try {
      return await action();
    } catch (error) {
      if (error instanceof DiskRefused) return { answer: 'refused', because: `${error.message}; ${error.remedy}` };
      if (!isOfTheDisk(error)) throw error; // a bug of ours
      const failure = blockErrorFrom(error, { file: this.#layers.folder.path });
      if (failure.code !== 'ENOSPC') return { answer: 'refused', because: failure.message };
      const because = `there is no space under ${this.#layers.folder.path}: it takes ${bytesText(LAYER_NEEDS_BYTES)}, and what the board writes from then on`;
      return { answer: 'refused', because };
    }
  }
}

const DONE = { answer: 'done' } as const;
