import { ByteWriter } from '../../base/byte-writer.js';
import type { BlockDevice } from '../../block/block-device.js';
import { type BootSector, encodeBootSector } from './boot-sector.js';
import { type ClusterOrder, ClusterPool } from './cluster-pool.js';
import { Attribute, encodeLongEntries, encodeShortEntry } from './directory-entry.js';
import { buildTree, type DirectoryNode, type FatFile, type FileNode } from './file-tree.js';
import { DIRECTORY_ENTRY_BYTES, type FatGeometry, type FatType, geometryOf } from './geometry.js';
import { shortNameChecksum } from './names.js';
import { BACKUP_BOOT_SECTOR, FS_INFO_SECTOR, planVolume } from './plan.js';
import { type StoredName, storeNames } from './short-alias.js';

export interface FormatOptions {
  readonly type: FatType;
  readonly files: readonly FatFile[];
  /** Up to eleven characters of ASCII; upper case, as fsck wants it. */
  readonly label?: string;
  readonly volumeId?: number;
  readonly bytesPerSector?: number;
  readonly sectorsPerCluster?: number;
  /** Where the partition begins on its disk. */
  readonly hiddenSectorCount?: number;
  /** Which cluster comes next; from front to back if not given. */
  readonly clusterOrder?: ClusterOrder;
  /** The time of every file, in UTC; the start of 1980 if not given. */
  readonly modified?: Date;
}

/**
 * Makes a fresh volume that fills the device, with these files in it. Nothing but the device is touched: no clock, no random
 * number, so the same call makes the same bytes. Throws RangeError for what cannot be made (names that differ in case only,
 * files that do not fit): the files are the caller's own; BlockError if the device fails.
 */
export async function formatFat(device: BlockDevice, options: FormatOptions): Promise<void> {
  const { label = '', bytesPerSector = 512, volumeId = 0, hiddenSectorCount = 0, sectorsPerCluster } = options;
  const plan = { type: options.type, label, bytesPerSector, volumeId, hiddenSectorCount, sectorsPerCluster };
  const boot = planVolume(device.sizeBytes, plan);
  const geometry = geometryOf(boot, device.sizeBytes);
  await device.zero(0, geometry.dataOffset, { keepAllocated: false, durable: false });
  const formatter = new Formatter(device, geometry, options);
  const pool = await formatter.writeTree(buildTree(options.files), label);
  await writeTables(device, boot, pool);
  await writeBootSectors(device, withRoot(boot, formatter.rootCluster), pool);
}

class Formatter {
  readonly #device: BlockDevice;
  readonly #geometry: FatGeometry;
  readonly #modified: number;
  readonly #pool: ClusterPool;
  rootCluster = 0;

  constructor(device: BlockDevice, geometry: FatGeometry, options: FormatOptions) {
    this.#device = device;
    this.#geometry = geometry;
    this.#modified = dosTime(options.modified ?? new Date(Date.UTC(1980, 0, 1)));
    this.#pool = new ClusterPool(geometry, options.clusterOrder);
  }

  async writeTree(root: DirectoryNode, label: string): Promise<ClusterPool> {
    const labelEntry = label === '' ? [] : [this.#labelEntry(label)];
    const { root: place } = this.#geometry;
    const slotCount = labelEntry.length + slotCountOf(root);
    const clusters = place.kind === 'chain' ? this.#takeForSlots(slotCount) : [];
    this.rootCluster = clusters[0] ?? 0;
    const entries = [...labelEntry, ...(await this.#writeChildren(root, 0))];
    if (place.kind === 'chain') await this.#writeClusters(clusters, concatenate(entries), true);
    else await this.#writeRegion(place, concatenate(entries));
    return this.#pool;
  }

  /** The directory entries of everything in a directory, whose own contents are on the device by then. */
  async #writeChildren(directory: DirectoryNode, ownCluster: number): Promise<Uint8Array[]> {
    const stored = storeNames([...directory.children.values()].map(({ name }) => name));
    const entries: Uint8Array[] = [];
    for (const child of directory.children.values()) {
      const name = stored.get(child.name);
      if (name === undefined) throw new Error(`no stored name for ${child.name}`);
      const firstCluster =
        child.kind === 'file' ? await this.#writeFile(child) : await this.#writeDirectory(child, ownCluster);
      entries.push(...this.#entriesFor(child, name, firstCluster));
    }
    return entries;
  }

  async #writeFile(file: FileNode): Promise<number> {
    const clusters = this.#pool.take(Math.ceil(file.bytes.length / this.#geometry.clusterBytes));
    await this.#writeClusters(clusters, file.bytes, false);
    return clusters[0] ?? 0;
  }

  /** '..' names cluster 0 where the parent is the root, whatever cluster a FAT32's root begins in. */
  async #writeDirectory(directory: DirectoryNode, parentCluster: number): Promise<number> {
    const clusters = this.#takeForSlots(2 + slotCountOf(directory));
    const [own = 0] = clusters;
    const links = [this.#dotEntry('.', own), this.#dotEntry('..', parentCluster)];
    const entries = [...links, ...(await this.#writeChildren(directory, own))];
    await this.#writeClusters(clusters, concatenate(entries), true);
    return own;
  }

  #takeForSlots(slotCount: number): readonly number[] {
    const clusters = Math.ceil((slotCount * DIRECTORY_ENTRY_BYTES) / this.#geometry.clusterBytes);
    return this.#pool.take(Math.max(clusters, 1));
  }

  /** The rest of a directory's last cluster must be zeroes; the rest of a file's means nothing. */
  async #writeClusters(clusters: readonly number[], bytes: Uint8Array, filledUp: boolean): Promise<void> {
    let done = 0;
    for (const run of this.#pool.runsOf(clusters)) {
      const part = bytes.subarray(done, done + run.lengthBytes);
      await this.#device.write(run.offset, part, { durable: false });
      const rest = run.lengthBytes - part.length;
      if (filledUp && rest > 0) {
        await this.#device.zero(run.offset + part.length, rest, { keepAllocated: false, durable: false });
      }
      done += part.length;
    }
  }

  async #writeRegion(
    place: { readonly offset: number; readonly lengthBytes: number },
    bytes: Uint8Array,
  ): Promise<void> {
    if (bytes.length > place.lengthBytes) throw new RangeError('too many files for the root directory');
    await this.#device.write(place.offset, bytes, { durable: false });
  }

  #entriesFor(child: DirectoryNode | FileNode, stored: StoredName, firstCluster: number): Uint8Array[] {
    const long = stored.needsLongName ? encodeLongEntries(child.name, shortNameChecksum(stored.bytes)) : [];
    const isFile = child.kind === 'file';
    const attributes = isFile ? Attribute.Archive : Attribute.Directory;
    const sizeBytes = isFile ? child.bytes.length : 0;
    return [...long, this.#entry(stored.bytes, attributes, stored.caseBits, firstCluster, sizeBytes)];
  }

  #dotEntry(name: string, cluster: number): Uint8Array {
    return this.#entry(ascii(name.padEnd(11)), Attribute.Directory, 0, cluster, 0);
  }

  #labelEntry(label: string): Uint8Array {
    return this.#entry(ascii(label.padEnd(11)), Attribute.VolumeLabel, 0, 0, 0);
  }

  #entry(name: Uint8Array, attributes: number, caseBits: number, cluster: number, sizeBytes: number): Uint8Array {
    const firstClusterHigh = Math.floor(cluster / 0x1_0000);
    const firstClusterLow = cluster % 0x1_0000;
    return encodeShortEntry({
      name,
      attributes,
      caseBits,
      modified: this.#modified,
      firstClusterHigh,
      firstClusterLow,
      sizeBytes,
    });
  }
}

function slotCountOf(directory: DirectoryNode): number {
  const stored = storeNames([...directory.children.values()].map(({ name }) => name));
  let count = 0;
  for (const [name, { needsLongName }] of stored) count += 1 + (needsLongName ? encodeLongEntries(name, 0).length : 0);
  return count;
}

async function writeTables(device: BlockDevice, boot: BootSector, pool: ClusterPool): Promise<void> {
  const tableBytes = (boot.fat32?.fatSectors ?? boot.fatSectors16) * boot.bytesPerSector;
  const table = pool.encodeTable(boot.media);
  for (let index = 0; index < boot.fatCount; index += 1) {
    const offset = boot.reservedSectorCount * boot.bytesPerSector + index * tableBytes;
    await device.write(offset, table, { durable: false });
  }
}

async function writeBootSectors(device: BlockDevice, boot: BootSector, pool: ClusterPool): Promise<void> {
  const sector = encodeBootSector(boot);
  await device.write(0, sector, { durable: false });
  if (boot.fat32 === undefined) return;
  const info = encodeFsInfo(pool.freeCount, pool.nextFree);
  for (const first of [0, BACKUP_BOOT_SECTOR]) {
    await device.write(first * boot.bytesPerSector, sector, { durable: false });
    await device.write((first + FS_INFO_SECTOR) * boot.bytesPerSector, info, { durable: false });
  }
}

/** FAT32's FSInfo sector: three signatures, and between them how many clusters are free and where to look for one. */
function encodeFsInfo(freeCount: number, nextFree: number): Uint8Array {
  const writer = new ByteWriter(512);
  writer.latin1('RRaA').zeroes(480).latin1('rrAa').u32Le(freeCount).u32Le(nextFree);
  return writer.zeroes(12).u32Le(0xaa55_0000).done();
}

function withRoot(boot: BootSector, rootCluster: number): BootSector {
  return boot.fat32 === undefined ? boot : { ...boot, fat32: { ...boot.fat32, rootCluster } };
}

/** MS-DOS packs a date and a time into 16 bits each, in steps of two seconds from 1980 on. */
function dosTime(time: Date): number {
  const years = Math.max(time.getUTCFullYear() - 1980, 0);
  const date = (years << 9) | ((time.getUTCMonth() + 1) << 5) | time.getUTCDate();
  const clock = (time.getUTCHours() << 11) | (time.getUTCMinutes() << 5) | (time.getUTCSeconds() >> 1);
  return date * 0x1_0000 + clock;
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter(parts.length * DIRECTORY_ENTRY_BYTES);
  for (const part of parts) writer.bytes(part);
  return writer.done();
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
