import { bytesText } from '../../base/amounts.js';
import type { Clock } from '../../base/clock.js';
import { LAYER_NEEDS_BYTES, SNAPSHOT_HOLD_MS_MAX, SNAPSHOTS_PER_BOARD_MAX } from '../../base/limits.js';
import { BlockError, blockErrorFrom } from '../../block/block-error.js';
import { SwitchingDevice } from '../../block/switching-device.js';
import { DiskRefused } from './disk-folder.js';
import { closeAll, newLayerId, type OpenLayer } from './layer-files.js';
import { mergeInto } from './layer-merge.js';
import {
  chainOf,
  type Layer,
  type LayerTree,
  layerOf,
  merged,
  rolledBack,
  type Snapshot,
  startedAnew,
  type Tidying,
  tidying,
  withoutLayer,
  withoutRemoved,
  withoutSnapshot,
  withPlanned,
  withSnapshot,
} from './layer-tree.js';
import { SNAPSHOT_NAME } from './layer-tree-wire.js';
import { type BoardDiskOptions, type OpenDisk, openDisk, topOf } from './open-disk.js';

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
  readonly #disk: Pick<OpenDisk, 'folder' | 'files'>;
  #tree: LayerTree;
  #layers: readonly OpenLayer[];
  #lastTurn: Promise<unknown> = Promise.resolve();
  /** Of layers that it does not lie on any more, and that somebody still reads from. */
  #closings: Promise<void> = Promise.resolve();

  private constructor(
    options: BoardDiskOptions,
    clock: Clock,
    { tree, layers, ...disk }: OpenDisk,
    device: SwitchingDevice,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#disk = disk;
    this.#tree = tree;
    this.#layers = layers;
    this.device = device;
  }

  /**
   * Makes it if there is none, and puts it in the place of what is behind `device` now. Throws DiskRefused, BlockError, and what Node
   * says of the disk.
   */
  static async open(options: BoardDiskOptions, clock: Clock, device?: SwitchingDevice): Promise<BoardDisk> {
    const open = await openDisk(options);
    const top = topOf(open.layers);
    if (device !== undefined) await (await device.switchTo(top)).readsOver;
    const disk = new BoardDisk(options, clock, open, device ?? new SwitchingDevice(top));
    await disk.#removeGone().catch((error: unknown) => {
      if (!isOfTheDisk(error)) throw error;
    });
    return disk;
  }

  /** Names of layers' files that nobody knows of. */
  strangers(): Promise<readonly string[]> {
    return this.#disk.folder.strangers(this.#tree);
  }

  /** Versions of images that it lies on, or that a snapshot does. */
  get bases(): ReadonlySet<string> {
    return new Set(this.#tree.layers.map(({ base }) => base));
  }

  /** Those that the disk itself lies on. */
  get basesInUse(): ReadonlySet<string> {
    return new Set(this.#layers.map(({ layer }) => layer.base));
  }

  /** Whether the disk lies on that snapshot. */
  isOn(name: string): boolean {
    const layer = this.#snapshot(name)?.layer;
    return layer !== undefined && this.#layers.some((each) => each.layer.id === layer);
  }

  /** A sentence if there is no snapshot of that name. */
  missing(name: string): string | undefined {
    if (this.#snapshot(name) !== undefined) return undefined;
    const names = this.#tree.snapshots.map((snapshot) => snapshot.name);
    const there = names.length === 0 ? 'there is none' : `there are ${names.join(', ')}`;
    return `it has no snapshot ${JSON.stringify(name)}: ${there}`;
  }

  /** Whether the board has written nothing there, ever: it is as in the image. */
  isUntouched(offset: number, lengthBytes: number): boolean {
    return this.#layers.every(({ device }) => {
      const length = Math.max(0, Math.min(lengthBytes, device.sizeBytes - offset));
      return device.isUntouched(offset, length);
    });
  }

  get snapshotCount(): number {
    return this.#tree.snapshots.length;
  }

  /** Oldest first. */
  snapshots(): Promise<readonly SnapshotFacts[]> {
    return Promise.all(
      this.#tree.snapshots.map(async ({ name, layer, takenAt }) => {
        const ownBytes = await this.#disk.folder.allocatedBytes(layer);
        return { name, takenAt, ownBytes, inUse: this.isOn(name) };
      }),
    );
  }

  /** What the board has written since the last snapshot. */
  currentBytes(): Promise<number> {
    return this.#disk.folder.allocatedBytes(this.#tree.current);
  }

  /** The board may go on meanwhile: its changes are held for as long as what it has written last takes to the disk. */
  snapshot(name: string): Promise<DiskVerdict<Held>> {
    return this.#inTurn<Held>(async () => {
      const because = this.#whyNot(name);
      if (because !== undefined) return { answer: 'refused', because };
      const top = topOf(this.#layers);
      const { base } = layerOf(this.#tree, this.#tree.current);
      const id = await this.#plan();
      const fresh = await this.#disk.files.make({ id, parent: this.#tree.current, base }, top, top.sizeBytes);
      try {
        await this.device.flush(); // most of it while the board goes on
        return { answer: 'done', heldMs: await this.#takeSnapshot(name, fresh) };
      } catch (error) {
        await this.#disk.files.unmake(fresh);
        throw error;
      }
    });
  }

  /** Nobody may write to the disk. */
  rollback(name: string): Promise<DiskVerdict> {
    return this.#inTurn<object>(async () => {
      const snapshot = this.#snapshot(name);
      if (snapshot === undefined) return { answer: 'refused', because: this.missing(name) ?? name };
      const chain = chainOf(this.#tree, snapshot.layer);
      const { base } = layerOf(this.#tree, snapshot.layer);
      await this.#beginOver({ chain, base }, (fresh) => rolledBack(this.#tree, snapshot, fresh));
      return DONE;
    });
  }

  /** Back to the image, in that version; snapshots stay. Nobody may write to the disk. */
  reset(base: string): Promise<DiskVerdict> {
    return this.#inTurn(async () => {
      await this.#beginOver({ chain: [], base }, (fresh) => startedAnew(this.#tree, base, fresh));
      return DONE;
    });
  }

  /** Nobody may write to the disk if it lies on that snapshot. */
  drop(name: string): Promise<DiskVerdict> {
    return this.#inTurn<object>(async () => {
      const because = this.missing(name);
      if (because !== undefined) return { answer: 'refused', because };
      await this.#record(withoutSnapshot(this.#tree, name));
      await this.#cleanUp();
      return DONE;
    });
  }

  /** What was not flushed is not made durable by it. */
  async close(): Promise<void> {
    await this.#lastTurn;
    await closeAll(this.#layers);
    await this.#closings;
  }

  #snapshot(name: string): Snapshot | undefined {
    return this.#tree.snapshots.find((snapshot) => snapshot.name === name);
  }

  #whyNot(name: string): string | undefined {
    if (!SNAPSHOT_NAME.test(name)) {
      return `${JSON.stringify(name)} is no name for a snapshot: up to 63 letters and digits, and behind the first one . _ - too`;
    }
    if (this.#snapshot(name) !== undefined) return `there is a snapshot ${name} already: drop it, or take another name`;
    const isFull = this.#tree.snapshots.length >= SNAPSHOTS_PER_BOARD_MAX;
    return isFull
      ? `there are ${SNAPSHOTS_PER_BOARD_MAX} snapshots, the most that a board can have: drop one`
      : undefined;
  }

  /** Answers for how long changes were held. */
  async #takeSnapshot(name: string, fresh: OpenLayer): Promise<number> {
    const begunMs = this.#clock.nowMs();
    const release = await this.#held();
    try {
      const before = topOf(this.#layers);
      await before.flush();
      await this.#record(withSnapshot(this.#tree, { name, takenAt: this.#clock.today() }, fresh.layer.id));
      this.#layers = [...this.#layers, fresh];
      // Whoever still reads from the layer before reads the same.
      await this.device.switchTo(fresh.device);
      before.returnUnused();
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
    const { files } = this.#disk;
    const below = await files.openChain(chain, 'readOnly');
    const parent = chain.at(-1)?.id;
    const on = below.at(-1)?.device ?? this.#options.baseOf(base);
    try {
      const id = await this.#plan();
      const fresh = await files.make({ id, base, parent }, on, this.device.sizeBytes);
      await this.#makeCurrent(fresh, next).catch(async (error: unknown) => {
        await files.unmake(fresh);
        throw error;
      });
      await this.#replace([...below, fresh]);
    } catch (error) {
      await closeAll(below);
      throw error;
    }
    await this.#cleanUp();
  }

  async #makeCurrent(fresh: OpenLayer, next: (fresh: string) => LayerTree): Promise<void> {
    await this.#options.fit(fresh.device);
    await fresh.device.flush();
    await this.#record(next(fresh.layer.id));
  }

  /** The disk is those layers from now on. */
  async #replace(layers: readonly OpenLayer[]): Promise<void> {
    const before = this.#layers;
    this.#layers = layers;
    const release = await this.device.hold();
    const { readsOver } = await this.device.switchTo(topOf(layers)).finally(release);
    this.#closeAfter(readsOver, before);
  }

  /** Nobody waits for it: a copy of the disk as it was may read from them for an hour. */
  #closeAfter(readsOver: Promise<void>, layers: readonly OpenLayer[]): void {
    const closing = readsOver.then(() => closeAll(layers));
    this.#closings = Promise.all([this.#closings, closing]).then(() => {});
    this.#closings.catch(() => {}); // whoever closes the disk is told
  }

  /** Of a layer that is about to be made: should it come to nothing, its file is removed like that of one that is none any more. */
  async #plan(): Promise<string> {
    const id = newLayerId();
    await this.#record(withPlanned(this.#tree, id));
    return id;
  }

  /** After something that is done, whatever becomes of this: where the disk is full or fails, it is left for the next time. */
  async #cleanUp(): Promise<void> {
    try {
      await this.#removeGone();
      await this.#tidy();
    } catch (error) {
      if (!isOfTheDisk(error)) throw error;
    }
  }

  /** Until there is no layer that could be done without. */
  async #tidy(): Promise<void> {
    for (let next = tidying(this.#tree); next !== undefined; next = tidying(this.#tree)) {
      if (next.kind === 'remove') await this.#record(withoutLayer(this.#tree, next.layer));
      else if (this.#isOpen(next.upper)) await this.#mergeUnderneath(next);
      else await this.#record(await this.#merge(next));
      await this.#removeGone();
    }
  }

  #isOpen({ id }: Layer): boolean {
    return this.#layers.some(({ layer }) => layer.id === id);
  }

  /** Of the disk that is open: it may be read meanwhile, and is the same to read at every moment. */
  async #mergeUnderneath(both: Merging): Promise<void> {
    const release = await this.device.hold();
    const before = this.#layers;
    try {
      await topOf(before).flush();
      const tree = await this.#merge(both);
      // Opened before it is written down that the others are none any more: else the board could go on writing to one of those.
      const layers = await this.#disk.files.openChain(chainOf(tree, tree.current), 'readWrite');
      await this.#record(tree).catch(async (error: unknown) => {
        await closeAll(layers);
        throw error;
      });
      this.#layers = layers;
      this.#closeAfter((await this.device.switchTo(topOf(layers))).readsOver, before);
    } finally {
      release();
    }
  }

  /** Into the file that needs less for it; answers what is true from then on. */
  async #merge(both: Merging): Promise<LayerTree> {
    const { lower, upper } = both;
    const { files } = this.#disk;
    const low = await files.openChain(chainOf(this.#tree, lower.id), 'readWrite');
    try {
      const high = await files.openOn(upper, topOf(low), 'readWrite');
      try {
        const isDown = topOf(low).sizeBytes === high.sizeBytes && high.ownBytes < topOf(low).ownBytes;
        if (isDown) await mergeInto(topOf(low), high, 'allOfSource');
        else await mergeInto(high, topOf(low), 'whatTargetLacks');
        return merged(this.#tree, both, isDown ? lower.id : upper.id);
      } finally {
        await high.close();
      }
    } finally {
      await closeAll(low);
    }
  }

  /** The tree is this one from now on, also for whoever comes after a crash. */
  async #record(tree: LayerTree): Promise<void> {
    await this.#disk.folder.write(tree);
    this.#tree = tree;
  }

  /** A file that can't be removed now is removed at the next start. */
  async #removeGone(): Promise<void> {
    const { removed } = this.#tree;
    if (removed.length === 0) return;
    for (const id of removed) await this.#disk.folder.removeLayer(id);
    await this.#record(withoutRemoved(this.#tree));
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
      const failure = blockErrorFrom(error, { file: this.#disk.folder.path });
      if (failure.code !== 'ENOSPC') return { answer: 'refused', because: failure.message };
      const because = `there is no space under ${this.#disk.folder.path}: it takes ${bytesText(LAYER_NEEDS_BYTES)}, and what the board writes from then on`;
      return { answer: 'refused', because };
    }
  }
}

type Merging = Extract<Tidying, { kind: 'merge' }>;

const DONE = { answer: 'done' } as const;

/** A layer or an image that can't be used, the medium, or what Node says of it. */
function isOfTheDisk(error: unknown): boolean {
  return error instanceof DiskRefused || (error instanceof Error && 'code' in error);
}
