import { isDeepStrictEqual } from 'node:util';
import type { EntryChange, InventoryDifference, ServedBoard } from './difference.js';
import type { BoardEntry, ImageEntry } from './inventory.js';

/** Each change in a few words, for log, API and terminal: `board node2: added`, `board node1: cmdline, allow`, `tftp.window_size_max`. */
export function changeWords({ settings, images, boards }: InventoryDifference): readonly string[] {
  return [
    ...settings,
    ...[...images.added.keys()].map((name) => `image ${name}: added`),
    ...[...images.removed.keys()].map((name) => `image ${name}: removed`),
    ...[...images.changed].map(([name, change]) => `image ${name}: ${imageKeys(change).join(', ')}`),
    ...[...boards.added.keys(), ...boards.removed.keys(), ...boards.changed.keys()].map(
      (name) => `board ${name}: ${boardWords(boards, name)}`,
    ),
  ];
}

/** `added`, `removed`, or the keys; undefined of a board that is as it was. */
export function boardWords(
  { added, removed, changed }: InventoryDifference['boards'],
  name: string,
): string | undefined {
  if (added.has(name)) return 'added';
  if (removed.has(name)) return 'removed';
  const change = changed.get(name);
  return change && boardKeys(change).join(', ');
}

/** Of a board whose entry is the same it is the image that changed. */
function boardKeys({ before, after }: EntryChange<ServedBoard>): readonly string[] {
  const image = imageKeys({ before: before.image, after: after.image });
  const isOther = before.entry.image !== after.entry.image;
  const ofImage = isOther ? [] : image.map((key) => `${key} of its image`);
  return [...keysOf(BOARD_KEYS, before.entry, after.entry), ...ofImage];
}

function imageKeys({ before, after }: EntryChange<ImageEntry>): readonly string[] {
  return keysOf(IMAGE_KEYS, before, after);
}

/** As they stand in the file. */
const IMAGE_KEYS: readonly (readonly [keyof ImageEntry, string])[] = [
  ['file', 'file'],
  ['bootPartition', 'boot_partition'],
  ['rootPartition', 'root_partition'],
];

const BOARD_KEYS: readonly (readonly [keyof BoardEntry, string])[] = [
  ['serial', 'serial'],
  ['mac', 'mac'],
  ['image', 'image'],
  ['disk', 'disk'],
  ['sizeBytes', 'size'],
  ['allow', 'allow'],
  ['tls', 'tls'],
  ['cmdline', 'cmdline'],
];

function keysOf<Entry>(
  keys: readonly (readonly [keyof Entry, string])[],
  before: Entry,
  after: Entry,
): readonly string[] {
  return keys.filter(([field]) => !isDeepStrictEqual(before[field], after[field])).map(([, key]) => key);
}
