import { FAT_DIRECTORY_PIECE_BYTES } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import { readBytes } from '../read-bytes.js';
import { Turn } from '../turn.js';
import type { ByteRun } from './chain.js';
import { Attribute, decodeShortEntry, EntryMark, isLongEntry } from './directory-entry.js';
import { DIRECTORY_ENTRY_BYTES, type FatType } from './geometry.js';
import { LongName } from './long-name.js';
import { isFileName, shortName } from './names.js';

/** A file or directory as one entry has it, its place in the tree not included. */
export interface DirectoryItem {
  /** As on the disk, in its own case. */
  readonly name: string;
  readonly kind: 'file' | 'directory';
  /** 0 for a directory. */
  readonly sizeBytes: number;
  readonly firstCluster: number;
  /** Of the short entry: bytes from the start of the volume's device. */
  readonly entryAt: number;
}

/**
 * Shows `visit` each item of a directory, in the order of the disk, until it answers `stop` or the end marker comes. Labels,
 * deleted entries, '.' and '..', and short names that no path can spell are not shown.
 */
export async function visitDirectory(
  device: BlockDevice,
  type: FatType,
  runs: readonly ByteRun[],
  visit: (item: DirectoryItem) => 'stop' | 'on',
): Promise<void> {
  const longName = new LongName();
  const turn = new Turn();
  for (const piece of piecesOf(runs)) {
    const bytes = await readBytes(device, piece.offset, piece.lengthBytes);
    for (let at = 0; at < bytes.length; at += DIRECTORY_ENTRY_BYTES) {
      const entry = bytes.subarray(at, at + DIRECTORY_ENTRY_BYTES);
      if (entry[0] === EntryMark.End) return;
      const item = itemOf(entry, piece.offset + at, type, longName);
      if (item !== undefined && visit(item) === 'stop') return;
    }
    // An entry costs some hundred times a step along a chain, and a read of its own even more.
    const work = 1024 + 2 * piece.lengthBytes;
    if (turn.spend(work)) await turn.letOthersRun();
  }
}

function* piecesOf(runs: readonly ByteRun[]): Generator<ByteRun> {
  for (const run of runs) {
    for (let done = 0; done < run.lengthBytes; done += FAT_DIRECTORY_PIECE_BYTES) {
      yield { offset: run.offset + done, lengthBytes: Math.min(FAT_DIRECTORY_PIECE_BYTES, run.lengthBytes - done) };
    }
  }
}

function itemOf(bytes: Uint8Array, entryAt: number, type: FatType, longName: LongName): DirectoryItem | undefined {
  if (bytes[0] === EntryMark.Deleted) {
    longName.forget();
    return undefined;
  }
  if (isLongEntry(bytes)) {
    longName.take(bytes);
    return undefined;
  }
  const entry = decodeShortEntry(bytes);
  const name = longName.nameOf(entry.name) ?? shortName(entry.name, entry.caseBits);
  // '.' and '..' go by here as well: their names are those.
  if ((entry.attributes & Attribute.VolumeLabel) !== 0 || !isFileName(name)) return undefined;
  const isDirectory = (entry.attributes & Attribute.Directory) !== 0;
  return {
    name,
    kind: isDirectory ? 'directory' : 'file',
    sizeBytes: isDirectory ? 0 : entry.sizeBytes,
    // On FAT12/16 the upper half is OS/2's index of extended attributes.
    firstCluster: type === 32 ? entry.firstClusterHigh * 0x1_0000 + entry.firstClusterLow : entry.firstClusterLow,
    entryAt,
  };
}
