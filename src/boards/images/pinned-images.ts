import { resolve } from 'node:path';
import type { Timer } from '../../base/clock.js';
import { IMAGE_LOOK_MS } from '../../base/limits.js';
import { BlockError } from '../../block/block-error.js';
import type { Disks } from '../../block/disks.js';
import { ImageFile } from './image-file.js';
import { cantBeOpened, type Refusal } from './image-sentences.js';
import type { ImageStatus } from './image-verdicts.js';
import { type ImageTies, PinnedImage } from './pinned-image.js';
import { type PinFault, type PinStore, Pins } from './pins.js';

export interface PinnedImagesOptions extends Omit<ImageTies, 'pins'> {
  readonly folder: PinStore;
  readonly disks: Disks;
}

/**
 * The images that overlays lie on. They are read and never written by us, and each *version* of one has a name of its own, its pin,
 * which an overlay keeps in its header: an overlay over other content than its own is a destroyed disk.
 *
 * Which version a file is, is told by its size, time and inode. Only where the size is the same and those are not, all of it is read
 * and its digest compared; so it is read whole once when it is pinned, in the background.
 */
export class PinnedImages {
  readonly #options: PinnedImagesOptions;
  readonly #pins: Pins;
  readonly #open = new Set<PinnedImage>();
  #timer: Timer | undefined;
  #rounds: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: PinnedImagesOptions) {
    this.#options = options;
    this.#pins = new Pins(options.folder);
  }

  /** Reads which versions there are, before the first image is opened. Answers what of that can't be used; nothing else fails by it. */
  load(): Promise<readonly PinFault[]> {
    return this.#pins.load();
  }

  /** Opens an image for all boards on it, under a shared lock. `file` may be relative to the working folder, or a link. */
  async open(
    name: string,
    file: string,
  ): Promise<{ readonly answer: 'image'; readonly image: PinnedImage } | ({ readonly answer: 'refused' } & Refusal)> {
    let opened: ImageFile | undefined;
    try {
      // Not by its real path: who turns a link to another file has replaced the image, under the name that boards know.
      opened = await ImageFile.open(resolve(file), this.#options.disks);
      const image = await PinnedImage.begin(name, opened, { ...this.#options, pins: this.#pins });
      this.#open.add(image);
      this.#plan();
      return { answer: 'image', image };
    } catch (error) {
      await opened?.close();
      if (error instanceof BlockError) return { answer: 'refused', ...cantBeOpened(error) };
      throw error;
    }
  }

  status(): readonly ImageStatus[] {
    return [...this.#open].map((image) => image.status());
  }

  /**
   * Removes versions that no overlay names and no open image is. `inUse` has to name those of all overlays that there are, also of
   * boards that are not in the inventory now. Answers how many it removed; rejects with what Node says of the disk.
   */
  forget(inUse: Iterable<string>): Promise<number> {
    const open = [...this.#open].flatMap((image) => image.versions);
    return this.#pins.removeBut(new Set([...inUse, ...open]));
  }

  /** Looks at all images now; by itself every IMAGE_LOOK_MS. What is found is told. Never rejects. */
  look(): Promise<void> {
    this.#rounds = this.#rounds.then(async () => {
      await Promise.all([...this.#open].map((image) => image.look()));
      await this.#pins.writeAll();
    });
    return this.#rounds;
  }

  /** Nobody may use its device any more. */
  async release(image: PinnedImage): Promise<void> {
    this.#open.delete(image);
    await this.#rounds;
    await image.close();
  }

  /** Nobody may use any of their devices any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#rounds;
    const all = [...this.#open];
    this.#open.clear();
    await Promise.all(all.map((image) => image.close()));
  }

  /** One round after the other: of a disk that hangs, all its images wait for one. */
  #plan(): void {
    if (this.#timer !== undefined || this.#isClosed) return;
    this.#timer = this.#options.clock.after(IMAGE_LOOK_MS, () => {
      void this.look().then(() => {
        this.#timer = undefined;
        this.#plan();
      });
    });
  }
}
