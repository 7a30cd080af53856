import { constants } from 'node:fs';
import { access, opendir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SUGGESTION_CANDIDATES_MAX } from '../base/limits.js';
import type { Complaint, Fault } from './fault.js';
import { byPosition } from './fault.js';
import type { BoardEntry, ImageEntry, Inventory } from './inventory.js';
import { quote, shown } from './quotation.js';
import { type SharingBoard, sharedStorage } from './shared-storage.js';
import { sizeText } from './size-scalar.js';
import type { InventorySource } from './source.js';
import { nearest } from './suggestion.js';
import { explainSystemError } from './system-error.js';

/**
 * What can be said of the image files without opening them: missing, unreadable, a folder, empty, and two boards that
 * would write to one file under two names, or a disk that is smaller than its image. Every image is looked at, used or not.
 */
export async function checkImageFiles(inventory: Inventory, source: InventorySource): Promise<readonly Fault[]> {
  const looked = await Promise.all([...inventory.images.values()].map((image) => lookAt(image, inventory)));
  const faults = looked.flatMap(({ image, complaint }) =>
    complaint === undefined ? [] : [source.faultAt(['images', image.name, 'file'], complaint)],
  );
  const identities = new Map(looked.map(({ image, identity }) => [image.name, identity]));
  const further = [...sharedFiles(inventory, identities, source), ...cutShort(looked, inventory, source)];
  return [...faults, ...further].sort(byPosition);
}

interface Look {
  readonly image: ImageEntry;
  /** The same for every name (link, hard link) of one file or device; undefined if it can't be told. */
  readonly identity: string | undefined;
  /** Of a regular file: what a block device has is known when it is opened. */
  readonly sizeBytes?: number;
  readonly complaint: Complaint | undefined;
}

async function lookAt(image: ImageEntry, inventory: Inventory): Promise<Look> {
  const named = quote(image.file);
  try {
    const stats = await stat(image.file, { bigint: true });
    const identity = stats.isBlockDevice() ? `device ${stats.rdev}` : `file ${stats.dev} ${stats.ino}`;
    if (stats.isDirectory())
      return {
        image,
        identity: undefined,
        complaint: { problem: `${named} is a folder`, remedy: 'name the image file in it' },
      };
    if (!stats.isFile() && !stats.isBlockDevice()) {
      return {
        image,
        identity: undefined,
        complaint: {
          problem: `${named} is neither a file nor a block device`,
          remedy: 'name an image file, or a disk that `lsblk` shows',
        },
      };
    }
    if (stats.isFile() && stats.size === 0n) {
      return { image, identity, complaint: { problem: `${named} is empty`, remedy: 'copy the image there again' } };
    }
    const written = boardsOn(image, inventory).some(({ disk }) => disk === 'direct');
    await access(image.file, written ? constants.R_OK | constants.W_OK : constants.R_OK);
    const sizeBytes = stats.isFile() ? Number(stats.size) : undefined;
    return { image, identity, ...(sizeBytes === undefined ? {} : { sizeBytes }), complaint: undefined };
  } catch (error) {
    const complaint = explainSystemError(error, named, await missingRemedy(image.file, PUT_IMAGE));
    return { image, identity: undefined, complaint };
  }
}

const PUT_IMAGE = 'put the image there, or write its path; a relative one begins at the folder of the inventory';

/** A name in the same folder that is nearly the one that is not there; else `otherwise`. */
export async function missingRemedy(file: string, otherwise: string): Promise<string> {
  const meant = nearest(basename(file), await namesIn(dirname(file)));
  if (meant !== undefined) return `did you mean \`${shown(join(dirname(file), meant))}\`?`;
  return otherwise;
}

/** Some of the names in a folder; none if it can't be read. */
async function namesIn(folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(folder)) {
      names.push(entry.name);
      if (names.length === SUGGESTION_CANDIDATES_MAX) break;
    }
  } catch {
    // What can't be listed has nothing to suggest; the fault itself is told by the caller.
  }
  return names;
}

/** A board's disk may be larger than its image, not smaller. */
function cutShort(looked: readonly Look[], inventory: Inventory, source: InventorySource): readonly Fault[] {
  return looked.flatMap(({ image, sizeBytes: imageBytes = 0 }) =>
    boardsOn(image, inventory).flatMap(({ name, sizeBytes }) => {
      if (sizeBytes === undefined || sizeBytes >= imageBytes) return [];
      const least = sizeText(Math.ceil(imageBytes / 512) * 512);
      const complaint = {
        problem: `${sizeText(sizeBytes)} is less than image ${quote(image.name)} has, and would cut off its end`,
        remedy: `write \`${least}\` or more, or remove the line`,
      };
      return [source.faultAt(['boards', name, 'size'], complaint)];
    }),
  );
}

function boardsOn(image: ImageEntry, { boards }: Inventory): readonly BoardEntry[] {
  return [...boards.values()].filter((board) => board.image === image.name);
}

/** Boards on one image by name have been found when the text was read: here it is about two names of one file. */
function sharedFiles(
  inventory: Inventory,
  identities: ReadonlyMap<string, string | undefined>,
  source: InventorySource,
): readonly Fault[] {
  const boards = [...inventory.boards.values()].flatMap(({ name, image, disk }): SharingBoard[] => {
    const storage = identities.get(image);
    return storage === undefined ? [] : [{ name, image, storage, isDirect: disk === 'direct', shown: quote(name) }];
  });
  return sharedStorage(boards).map(({ path, complaint }) => source.faultAt(path, complaint));
}
