import { isDeepStrictEqual } from 'node:util';
import type { ImageEntry } from '../../inventory/inventory.js';
import { fileIdentity } from '../../os/file-identity.js';
import type { PinnedImages } from '../images/pinned-images.js';
import { type CommonImage, openCommonImage } from './layered-board.js';
import type { Opening } from './opening.js';

type Complaint = { readonly problem: string; readonly remedy: string };

/**
 * Images that boards' own disks lie over, each open once for all who came to it as it is now. Of one that was replaced, or changed in
 * the inventory, the one before stays open for as long as there are boards on it.
 */
export class CommonImages {
  readonly #opening: Opening;
  readonly #images: PinnedImages;
  /** By name: the one that the next board gets. */
  readonly #current = new Map<string, CommonImage>();
  readonly #userCounts = new Map<CommonImage, number>();

  constructor(opening: Opening, images: PinnedImages) {
    this.#opening = opening;
    this.#images = images;
  }

  /** To be left once for each time that it was taken. */
  async take(entry: ImageEntry): Promise<CommonImage | Complaint> {
    const known = this.#current.get(entry.name);
    if (known !== undefined && (await isStill(known, entry))) return this.#taken(known);
    const opened = await this.#images.open(entry.name, entry.file);
    if (opened.answer === 'refused') return opened;
    const common = await openCommonImage(this.#opening, entry, opened.image);
    if ('problem' in common) {
      await this.#images.release(opened.image);
      return common;
    }
    this.#current.set(entry.name, common);
    return this.#taken(common);
  }

  async leave(common: CommonImage): Promise<void> {
    const count = (this.#userCounts.get(common) ?? 1) - 1;
    if (count > 0) {
      this.#userCounts.set(common, count);
      return;
    }
    this.#userCounts.delete(common);
    if (this.#current.get(common.entry.name) === common) this.#current.delete(common.entry.name);
    common.partition.close();
    await this.#images.release(common.pinned);
  }

  all(): readonly CommonImage[] {
    return [...this.#userCounts.keys()];
  }

  #taken(common: CommonImage): CommonImage {
    this.#userCounts.set(common, (this.#userCounts.get(common) ?? 0) + 1);
    return common;
  }
}

async function isStill({ entry, identity }: CommonImage, wanted: ImageEntry): Promise<boolean> {
  return isDeepStrictEqual(entry, wanted) && identity === (await fileIdentity(wanted.file));
}
