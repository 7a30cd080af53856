import { DiskFault } from '../disk-fault.js';
import { BOOT_SIGNATURE, type BootSector, BootSectorAt } from './boot-sector.js';

export type FatType = 12 | 16 | 32;

/** A sound volume in bytes and clusters: whatever is reckoned from these numbers lies within the device. */
export interface FatGeometry {
  readonly type: FatType;
  readonly clusterBytes: number;
  /** Of the data region. Clusters are numbered from 2, so the last is `clusterCount + 1`. */
  readonly clusterCount: number;
  /** Where the allocation table that counts begins: the first, unless a FAT32 says that another one is kept up to date. */
  readonly tableOffset: number;
  readonly root: RootDirectory;
  /** Where cluster 2 begins. */
  readonly dataOffset: number;
}

export type RootDirectory =
  | { readonly kind: 'region'; readonly offset: number; readonly lengthBytes: number }
  | { readonly kind: 'chain'; readonly firstCluster: number };

/** FAT12 has fewer clusters than this, FAT16 as many or more (specification, "FAT Type Determination"). */
export const FAT16_CLUSTERS_MIN = 4085;
/** FAT16 has fewer clusters than this. */
export const FAT32_CLUSTERS_MIN = 65525;
/** Cluster numbers end before 0x0ffffff7, which marks a bad one. */
export const FAT32_CLUSTERS_MAX = 0x0fff_fff5;

export const DIRECTORY_ENTRY_BYTES = 32;
export const FIRST_CLUSTER = 2;

/**
 * The one place where a boot sector is judged. Throws DiskFault for the first thing that is not sound.
 *
 * The type follows from the cluster count and nothing else, with one exception: a volume without a 16-bit FAT size has the
 * fields of FAT32 and is one, however small (`mkfs.vfat -F 32` on 32 MB). So says Linux, which is what runs on the board.
 */
export function geometryOf(boot: BootSector, deviceBytes: number): FatGeometry {
  checkFields(boot);
  const { bytesPerSector, sectorsPerCluster } = boot;
  const tableSectors = boot.fat32?.fatSectors ?? boot.fatSectors16;
  const rootBytes = boot.rootEntryCount * DIRECTORY_ENTRY_BYTES;
  const rootSector = boot.reservedSectorCount + boot.fatCount * tableSectors;
  const dataSector = rootSector + Math.ceil(rootBytes / bytesPerSector);
  const totalSectors = boot.totalSectors16 === 0 ? boot.totalSectors32 : boot.totalSectors16;
  checkTotal(boot, totalSectors, dataSector + sectorsPerCluster, deviceBytes);
  const clusterCount = Math.floor((totalSectors - dataSector) / sectorsPerCluster);
  const type = typeOf(boot, clusterCount);
  checkTableSize(boot, type, clusterCount, tableSectors * bytesPerSector);
  return {
    type,
    clusterBytes: bytesPerSector * sectorsPerCluster,
    clusterCount,
    tableOffset: (boot.reservedSectorCount + activeTable(boot) * tableSectors) * bytesPerSector,
    root: rootOf(boot, { offset: rootSector * bytesPerSector, lengthBytes: rootBytes }, clusterCount),
    dataOffset: dataSector * bytesPerSector,
  };
}

/** Where a cluster's bytes begin; only for clusters of the volume. */
export function clusterOffset(geometry: FatGeometry, cluster: number): number {
  return geometry.dataOffset + (cluster - FIRST_CLUSTER) * geometry.clusterBytes;
}

export function isDataCluster(geometry: FatGeometry, cluster: number): boolean {
  return cluster >= FIRST_CLUSTER && cluster < FIRST_CLUSTER + geometry.clusterCount;
}

function checkFields(boot: BootSector): void {
  const at = BootSectorAt;
  if (boot.signature !== BOOT_SIGNATURE) {
    throw fault('signature', at.Signature, boot.signature, `${BOOT_SIGNATURE} (55 aa)`);
  }
  if (![512, 1024, 2048, 4096].includes(boot.bytesPerSector)) {
    throw fault('bytes per sector', at.BytesPerSector, boot.bytesPerSector, '512, 1024, 2048 or 4096');
  }
  if (!isPowerOfTwo(boot.sectorsPerCluster)) {
    throw fault('sectors per cluster', at.SectorsPerCluster, boot.sectorsPerCluster, 'a power of two from 1 to 128');
  }
  if (boot.reservedSectorCount === 0) throw fault('number of reserved sectors', at.ReservedSectors, 0, 'at least 1');
  if (boot.fatCount === 0) throw fault('number of FATs', at.FatCount, 0, 'at least 1');
  if (boot.media < 0xf8 && boot.media !== 0xf0) {
    throw fault('media byte', at.Media, boot.media, '240 (0xf0), or 248 (0xf8) and above');
  }
  if (boot.fat32 !== undefined) checkFat32Fields(boot, boot.fat32);
  else if (boot.rootEntryCount === 0)
    throw fault('number of root entries', at.RootEntries, 0, 'at least 1 on FAT12/16');
}

function checkFat32Fields(boot: BootSector, fields: NonNullable<BootSector['fat32']>): void {
  const at = BootSectorAt;
  if (fields.fatSectors === 0) throw fault('sectors per FAT', at.Fat32Sectors, 0, 'at least 1');
  if (boot.rootEntryCount !== 0) {
    throw fault('number of root entries', at.RootEntries, boot.rootEntryCount, '0 on FAT32');
  }
  if (fields.version !== 0) throw fault('version', at.Fat32Version, fields.version, '0');
  if (activeTable(boot) >= boot.fatCount) {
    throw fault(
      'number of the active FAT',
      at.Fat32Flags,
      activeTable(boot),
      `below ${boot.fatCount}, the number of FATs`,
    );
  }
}

function checkTotal(boot: BootSector, totalSectors: number, sectorsMin: number, deviceBytes: number): void {
  const sectorsMax = Math.floor(deviceBytes / boot.bytesPerSector);
  if (totalSectors >= sectorsMin && totalSectors <= sectorsMax) return;
  const at = boot.totalSectors16 === 0 ? BootSectorAt.TotalSectors32 : BootSectorAt.TotalSectors16;
  // Two different things to mend: regions that leave no room for data, and a volume that was cut off.
  const sound =
    totalSectors < sectorsMin
      ? `at least ${sectorsMin}: reserved sectors, FATs, root directory and one cluster`
      : `at most ${sectorsMax}, which the device has`;
  throw fault('total number of sectors', at, totalSectors, sound);
}

function typeOf(boot: BootSector, clusterCount: number): FatType {
  if (boot.fat32 !== undefined) {
    if (clusterCount <= FAT32_CLUSTERS_MAX) return 32;
    throw fault(
      'total number of sectors',
      BootSectorAt.TotalSectors32,
      `${clusterCount} clusters`,
      `at most ${FAT32_CLUSTERS_MAX}`,
    );
  }
  if (clusterCount < FAT16_CLUSTERS_MIN) return 12;
  if (clusterCount < FAT32_CLUSTERS_MIN) return 16;
  const sound = `0 for ${clusterCount} clusters, which make a FAT32`;
  throw fault('sectors per FAT', BootSectorAt.FatSectors16, boot.fatSectors16, sound);
}

/** The table has an entry for each cluster and for the numbers 0 and 1. */
function checkTableSize(boot: BootSector, type: FatType, clusterCount: number, tableBytes: number): void {
  const neededBytes = Math.ceil(((clusterCount + FIRST_CLUSTER) * type) / 8);
  if (tableBytes >= neededBytes) return;
  const at = type === 32 ? BootSectorAt.Fat32Sectors : BootSectorAt.FatSectors16;
  const sound = `at least ${Math.ceil(neededBytes / boot.bytesPerSector)} for ${clusterCount} clusters`;
  throw fault('sectors per FAT', at, boot.fat32?.fatSectors ?? boot.fatSectors16, sound);
}

function rootOf(
  boot: BootSector,
  region: { offset: number; lengthBytes: number },
  clusterCount: number,
): RootDirectory {
  if (boot.fat32 === undefined) return { kind: 'region', ...region };
  const { rootCluster } = boot.fat32;
  if (rootCluster < FIRST_CLUSTER || rootCluster >= FIRST_CLUSTER + clusterCount) {
    const sound = `from ${FIRST_CLUSTER} to ${clusterCount + 1}`;
    throw fault('cluster of the root directory', BootSectorAt.Fat32RootCluster, rootCluster, sound);
  }
  return { kind: 'chain', firstCluster: rootCluster };
}

function activeTable(boot: BootSector): number {
  const flags = boot.fat32?.flags ?? 0;
  return (flags & 0x80) === 0 ? 0 : flags & 0x0f;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

function fault(field: string, offset: number, value: number | string, sound: string): DiskFault {
  return new DiskFault({ structure: `${field} in the FAT boot sector`, offset, value, sound });
}
