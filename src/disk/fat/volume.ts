import { FAT_PATH_PARTS_MAX } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import { DiskFault, quoted } from '../disk-fault.js';
import { AllocationTable } from './allocation-table.js';
import { BootSectorAt } from './boot-sector.js';
import { type ByteRun, directoryRuns, fileRuns } from './chain.js';
import { type DirectoryItem, visitDirectory } from './directory.js';
import { EntryAt } from './directory-entry.js';
import type { FatGeometry } from './geometry.js';
import { readGeometry } from './look.js';
import { foldName, isFileName } from './names.js';

/** A file or directory of a volume. Two spellings of one path give entries with the same `path`. */
export interface FatEntry extends DirectoryItem {
  /** From the root, in the disk's own case, `/` between names: `overlays/dwc2.dtbo`. */
  readonly path: string;
}

/**
 * A FAT12, FAT16 or FAT32 as it lay on the device since it was opened. It keeps its geometry and pieces of its allocation table
 * (1 MiB at most), so **its owner throws it away at every write to the partition** and opens another; opening costs one sector. A
 * write during a call may make that call answer anything, or throw, within the bounds below: the owner compares the writes before and after.
 *
 * Everything throws DiskFault where the image is not sound, and BlockError where the device fails; nothing else.
 */
export interface FatVolume {
  readonly geometry: FatGeometry;
  /**
   * Case-blind (`foldName`), `/` between names. A file goes by one name: its long name, or where it has none its short one. Any
   * text may be asked for: empty parts (so a leading slash), '.', '..' and what cannot be a name are never found.
   */
  find(path: string): Promise<FatEntry | undefined>;
  /** The entries of a directory, '' for the root; undefined if there is none. Of names that differ in case only, the first. */
  list(path: string): Promise<readonly FatEntry[] | undefined>;
  /**
   * Where a file's bytes lie on the device: runs in file order, neighbours joined, that cover exactly its size. Every one lies
   * in the data region. The chain is followed as far as the size reaches.
   */
  runs(entry: FatEntry): Promise<readonly ByteRun[]>;
}

/** `device` is the partition, as a slice of its disk. Throws DiskFault if it does not hold a sound FAT, BlockError. */
export async function openFat(device: BlockDevice): Promise<FatVolume> {
  return new Volume(device, await readGeometry(device));
}

class Volume implements FatVolume {
  readonly geometry: FatGeometry;
  readonly #device: BlockDevice;
  readonly #table: AllocationTable;

  constructor(device: BlockDevice, geometry: FatGeometry) {
    this.geometry = geometry;
    this.#device = device;
    this.#table = new AllocationTable(device, geometry);
  }

  async find(path: string): Promise<FatEntry | undefined> {
    const trail = await this.#walk(path);
    return trail?.at(-1);
  }

  async list(path: string): Promise<readonly FatEntry[] | undefined> {
    const trail = path === '' ? [] : await this.#walk(path);
    const directory = trail?.at(-1);
    if (trail === undefined || directory?.kind === 'file') return undefined;
    const entries = new Map<string, FatEntry>();
    await this.#visit(trail, (item) => {
      const folded = foldName(item.name);
      if (!entries.has(folded)) entries.set(folded, entryOf(item, directory));
      return 'on';
    });
    return [...entries.values()];
  }

  async runs(entry: FatEntry): Promise<readonly ByteRun[]> {
    return await fileRuns(this.#table, this.geometry, chainOf(entry), entry.sizeBytes);
  }

  /** The entries from below the root down to the one asked for. */
  async #walk(path: string): Promise<readonly FatEntry[] | undefined> {
    const parts = path.split('/', FAT_PATH_PARTS_MAX + 1);
    if (parts.length > FAT_PATH_PARTS_MAX || !parts.every(isFileName)) return undefined;
    const trail: FatEntry[] = [];
    for (const part of parts) {
      const directory = trail.at(-1);
      if (directory?.kind === 'file') return undefined;
      const item = await this.#search(trail, foldName(part));
      if (item === undefined) return undefined;
      trail.push(entryOf(item, directory));
    }
    return trail;
  }

  async #search(trail: readonly FatEntry[], folded: string): Promise<DirectoryItem | undefined> {
    let found: DirectoryItem | undefined;
    await this.#visit(trail, (item) => {
      if (foldName(item.name) !== folded) return 'on';
      found = item;
      return 'stop';
    });
    return found;
  }

  /** Visits the directory that the trail ends in; an empty trail is the root. */
  async #visit(trail: readonly FatEntry[], visit: (item: DirectoryItem) => 'stop' | 'on'): Promise<void> {
    await visitDirectory(this.#device, this.geometry.type, await this.#runsOfDirectory(trail), visit);
  }

  async #runsOfDirectory(trail: readonly FatEntry[]): Promise<readonly ByteRun[]> {
    const directory = trail.at(-1);
    const { root } = this.geometry;
    if (directory !== undefined) {
      this.#refuseCycle(directory, trail.slice(0, -1));
      return await directoryRuns(this.#table, this.geometry, chainOf(directory));
    }
    if (root.kind === 'region') return [root];
    const start = { cluster: root.firstCluster, namedAt: BootSectorAt.Fat32RootCluster, owner: 'the root directory' };
    return await directoryRuns(this.#table, this.geometry, start);
  }

  /** A directory within itself would be searched as often as a path has parts, and its files have paths without end. */
  #refuseCycle(directory: FatEntry, above: readonly FatEntry[]): void {
    const { root } = this.geometry;
    const isRoot = root.kind === 'chain' && directory.firstCluster === root.firstCluster;
    if (!isRoot && !above.some(({ firstCluster }) => firstCluster === directory.firstCluster)) return;
    const { owner, namedAt } = chainOf(directory);
    throw new DiskFault({
      structure: `first cluster of ${owner}`,
      offset: namedAt,
      value: directory.firstCluster,
      sound: 'not that of a directory that it lies in',
    });
  }
}

function entryOf(item: DirectoryItem, directory: FatEntry | undefined): FatEntry {
  return { ...item, path: directory === undefined ? item.name : `${directory.path}/${item.name}` };
}

function chainOf(entry: FatEntry) {
  return {
    cluster: entry.firstCluster,
    namedAt: entry.entryAt + EntryAt.FirstClusterLow,
    owner: `${entry.kind} ${quoted(entry.path)}`,
  };
}
