import type { OverlayDevice } from '../../block/overlay/overlay-device.js';
import type { SwitchingDevice } from '../../block/switching-device.js';
import { type DiskFolder, DiskRefused } from './disk-folder.js';
import { closeAll, type LayerFiles, newLayerId, type OpenLayer } from './layer-files.js';
import { mergeInto } from './layer-merge.js';
import {
  chainOf,
  type Layer,
  type LayerTree,
  merged,
  type Tidying,
  tidying,
  withoutLayer,
  withoutRemoved,
  withPlanned,
} from './layer-tree.js';
import { type OpenDisk, topOf } from './open-disk.js';

/**
 * The layers that there are of a board's disk, those of them that are open, and the device behind which the uppermost is. What there is
 * changes in one step, with `disk.json`; what nobody needs any more goes, and two of which nobody needs one alone become one.
 */
export class DiskLayers {
  readonly device: SwitchingDevice;
  readonly folder: DiskFolder;
  readonly files: LayerFiles;
  #tree: LayerTree;
  #open: readonly OpenLayer[];
  /** Of layers that the disk does not lie on any more, and that somebody still reads from. */
  #closings: Promise<void> = Promise.resolve();

  constructor({ tree, layers, folder, files }: OpenDisk, device: SwitchingDevice) {
    this.#tree = tree;
    this.#open = layers;
    this.folder = folder;
    this.files = files;
    this.device = device;
  }

  /** As it is written down. */
  get tree(): LayerTree {
    return this.#tree;
  }

  /** Those that the disk lies on, the lowest first. */
  get open(): readonly OpenLayer[] {
    return this.#open;
  }

  get top(): OverlayDevice {
    return topOf(this.#open);
  }

  /** The one before takes nothing any more. Of who holds the device. */
  async putOnTop(fresh: OpenLayer): Promise<void> {
    const before = this.top;
    this.#open = [...this.#open, fresh];
    // Whoever still reads from the layer before reads the same.
    await this.device.switchTo(fresh.device);
    before.returnUnused();
  }

  /** What was not flushed is not made durable by it. */
  async close(): Promise<void> {
    await closeAll(this.#open);
    await this.#closings;
  }

  /** The disk is those from now on: nobody may write to it. */
  async replace(layers: readonly OpenLayer[]): Promise<void> {
    const before = this.#open;
    this.#open = layers;
    const release = await this.device.hold();
    const { readsOver } = await this.device.switchTo(topOf(layers)).finally(release);
    this.#closeAfter(readsOver, before);
  }

  /** Nobody waits for it: a copy of the disk as it was may read from them for an hour. */
  #closeAfter(readsOver: Promise<void>, layers: readonly OpenLayer[]): void {
    for (const { device } of layers) device.returnUnused();
    const closing = readsOver.then(() => closeAll(layers));
    this.#closings = Promise.all([this.#closings, closing]).then(() => {});
    this.#closings.catch(() => {}); // whoever closes the disk is told
  }

  /** Of a layer that is about to be made: should it come to nothing, its file is removed like that of one that is none any more. */
  async plan(): Promise<string> {
    const id = newLayerId();
    await this.record(withPlanned(this.#tree, id));
    return id;
  }

  /** After something that is done, whatever becomes of this: where the disk is full or fails, it is left for the next time. */
  async cleanUp(): Promise<void> {
    try {
      await this.removeGone();
      await this.#tidy();
    } catch (error) {
      if (!isOfTheDisk(error)) throw error;
    }
  }

  /** Until there is no layer that could be done without. */
  async #tidy(): Promise<void> {
    for (let next = tidying(this.#tree); next !== undefined; next = tidying(this.#tree)) {
      if (next.kind === 'remove') await this.record(withoutLayer(this.#tree, next.layer));
      else if (this.#isOpen(next.upper)) await this.#mergeUnderneath(next);
      else await this.record(await this.#merge(next));
      await this.removeGone();
    }
  }

  #isOpen({ id }: Layer): boolean {
    return this.#open.some(({ layer }) => layer.id === id);
  }

  /** Of the disk that is open: it may be read meanwhile, and is the same to read at every moment. */
  async #mergeUnderneath(both: Merging): Promise<void> {
    const release = await this.device.hold();
    const before = this.#open;
    try {
      await topOf(before).flush();
      const tree = await this.#merge(both);
      // Opened before it is written down that the others are none any more: else the board could go on writing to one of those.
      const layers = await this.files.openChain(chainOf(tree, tree.current), 'readWrite');
      await this.record(tree).catch(async (error: unknown) => {
        await closeAll(layers);
        throw error;
      });
      this.#open = layers;
      this.#closeAfter((await this.device.switchTo(topOf(layers))).readsOver, before);
    } finally {
      release();
    }
  }

  /** Into the file that needs less for it; answers what is true from then on. */
  async #merge(both: Merging): Promise<LayerTree> {
    const { lower, upper } = both;
    const { files } = this;
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
  async record(tree: LayerTree): Promise<void> {
    await this.folder.write(tree);
    this.#tree = tree;
  }

  /** Files of layers that are none any more. One that can't be removed now is removed at the next start. */
  async removeGone(): Promise<void> {
    const { removed } = this.#tree;
    if (removed.length === 0) return;
    for (const id of removed) await this.folder.removeLayer(id);
    await this.record(withoutRemoved(this.#tree));
  }
}

type Merging = Extract<Tidying, { kind: 'merge' }>;

/** A layer or an image that can't be used, the medium, or what Node says of it. */
export function isOfTheDisk(error: unknown): boolean {
  return error instanceof DiskRefused || (error instanceof Error && 'code' in error);
}
