/**
 * What makes another inventory of one: what a reload has to do. Pure, and of plain values.
 */
import { isDeepStrictEqual } from 'node:util';
import type { BoardEntry, ImageEntry, Inventory } from './inventory.js';
import { changedSettings, type Settings } from './settings.js';

/**
 * What a server serves. Each board stands beside the image that its disk was opened on: while a board has its disk that is the one
 * of then, whatever the inventory has under that name by now.
 */
export interface Served {
  readonly settings: Settings;
  /** By name, in the order of the file. */
  readonly images: ReadonlyMap<string, ImageEntry>;
  readonly boards: ReadonlyMap<string, ServedBoard>;
}

export interface ServedBoard {
  readonly entry: BoardEntry;
  readonly image: ImageEntry;
}

export interface InventoryDifference {
  /** Keys of those that are others, as they stand in the file: `tftp.port`. */
  readonly settings: readonly string[];
  readonly images: EntryChanges<ImageEntry>;
  readonly boards: EntryChanges<ServedBoard>;
}

export interface EntryChanges<Entry> {
  readonly added: ReadonlyMap<string, Entry>;
  readonly removed: ReadonlyMap<string, Entry>;
  readonly changed: ReadonlyMap<string, EntryChange<Entry>>;
}

export interface EntryChange<Entry> {
  readonly before: Entry;
  readonly after: Entry;
}

/** The whole of an inventory that parsing has found sound. */
export function servedBy(inventory: Inventory): Served {
  const { images, boards, ...settings } = inventory;
  const served = [...boards.values()].flatMap((entry): [string, ServedBoard][] => {
    const image = images.get(entry.image);
    return image === undefined ? [] : [[entry.name, { entry, image }]];
  });
  return { settings, images, boards: new Map(served) };
}

/** The same as an inventory, for whoever is not concerned with what boards had before. */
export function inventoryOf({ settings, images, boards }: Served): Inventory {
  return { ...settings, images, boards: new Map([...boards].map(([name, { entry }]) => [name, entry])) };
}

export function differenceOf(before: Served, after: Served): InventoryDifference {
  return {
    settings: changedSettings(before.settings, after.settings),
    images: entryChanges(before.images, after.images),
    boards: entryChanges(before.boards, after.boards),
  };
}

/** Whether it is another disk that the board would have: its partitions are found anew then, too. */
export function isOtherDisk({ before, after }: EntryChange<ServedBoard>): boolean {
  const diskOf = ({ entry: { disk, sizeBytes }, image }: ServedBoard) => ({ disk, sizeBytes, image });
  return !isDeepStrictEqual(diskOf(before), diskOf(after));
}

function entryChanges<Entry>(
  before: ReadonlyMap<string, Entry>,
  after: ReadonlyMap<string, Entry>,
): EntryChanges<Entry> {
  const changed = [...after].flatMap(([name, now]): [string, EntryChange<Entry>][] => {
    const then = before.get(name);
    return then === undefined || isDeepStrictEqual(then, now) ? [] : [[name, { before: then, after: now }]];
  });
  return {
    added: new Map([...after].filter(([name]) => !before.has(name))),
    removed: new Map([...before].filter(([name]) => !after.has(name))),
    changed: new Map(changed),
  };
}
