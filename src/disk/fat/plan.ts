import { BOOT_SIGNATURE, type BootSector } from './boot-sector.js';
import {
  DIRECTORY_ENTRY_BYTES,
  FAT16_CLUSTERS_MIN,
  FAT32_CLUSTERS_MAX,
  FAT32_CLUSTERS_MIN,
  type FatType,
} from './geometry.js';

/** What a new volume should be like. The rest follows from the size of the device. */
export interface VolumePlan {
  readonly type: FatType;
  readonly bytesPerSector: number;
  /** Undefined: the smallest that gives a cluster count of this type, but 4 KiB on a FAT32 that is large enough. */
  readonly sectorsPerCluster: number | undefined;
  /** Where the partition begins on its disk. */
  readonly hiddenSectorCount: number;
  readonly volumeId: number;
  /** '' for none, else up to eleven characters. */
  readonly label: string;
}

/** mkfs.vfat's numbers: 32 reserved sectors leave room for FSInfo and the backup. */
const FAT32_RESERVED_SECTORS = 32;
export const FS_INFO_SECTOR = 1;
export const BACKUP_BOOT_SECTOR = 6;
const FAT_COUNT = 2;
const ROOT_ENTRIES = 512;

/** Reckons the boot sector of a new volume. Throws RangeError where the device is too small or too large for the type. */
export function planVolume(deviceBytes: number, plan: VolumePlan): BootSector {
  const candidates = plan.sectorsPerCluster === undefined ? sizesToTry(plan) : [plan.sectorsPerCluster];
  const totalSectors = Math.min(Math.floor(deviceBytes / plan.bytesPerSector), 0xffff_ffff);
  for (const sectorsPerCluster of candidates) {
    const layout = layOut(plan, totalSectors, sectorsPerCluster);
    if (isCountOfType(plan, layout.clusterCount)) return bootSectorOf(plan, totalSectors, sectorsPerCluster, layout);
  }
  throw new RangeError(
    `no FAT${plan.type} fits ${deviceBytes} bytes with ${candidates.join(' or ')} sectors per cluster`,
  );
}

interface Layout {
  readonly clusterCount: number;
  readonly tableSectors: number;
}

function sizesToTry(plan: VolumePlan): readonly number[] {
  const sizes = [1, 2, 4, 8, 16, 32, 64, 128];
  if (plan.type !== 32) return sizes;
  const page = 4096 / plan.bytesPerSector;
  return [...sizes.filter((size) => size >= page && size <= 2 * page), ...sizes];
}

/** The table takes room from the clusters that it describes: grow it until it has an entry for each. */
function layOut(plan: VolumePlan, totalSectors: number, sectorsPerCluster: number): Layout {
  for (let tableSectors = 1; ; ) {
    const dataSectors = totalSectors - reservedSectors(plan) - FAT_COUNT * tableSectors - rootSectors(plan);
    const clusterCount = Math.floor(dataSectors / sectorsPerCluster);
    const needed = Math.ceil(((clusterCount + 2) * plan.type) / 8 / plan.bytesPerSector);
    if (needed <= tableSectors) return { clusterCount, tableSectors };
    tableSectors = needed;
  }
}

/** A FAT32 is smaller than the specification has it only where the caller names its cluster size, as with mkfs.vfat. */
function isCountOfType(plan: VolumePlan, clusterCount: number): boolean {
  if (plan.type === 12) return clusterCount >= 1 && clusterCount < FAT16_CLUSTERS_MIN;
  if (plan.type === 16) return clusterCount >= FAT16_CLUSTERS_MIN && clusterCount < FAT32_CLUSTERS_MIN;
  const least = plan.sectorsPerCluster === undefined ? FAT32_CLUSTERS_MIN : 1;
  return clusterCount >= least && clusterCount <= FAT32_CLUSTERS_MAX;
}

function bootSectorOf(plan: VolumePlan, totalSectors: number, sectorsPerCluster: number, layout: Layout): BootSector {
  const fitsIn16 = totalSectors < 0x1_0000 && plan.type !== 32;
  return {
    oemName: 'BRAMBLE ',
    bytesPerSector: plan.bytesPerSector,
    sectorsPerCluster,
    reservedSectorCount: reservedSectors(plan),
    fatCount: FAT_COUNT,
    rootEntryCount: plan.type === 32 ? 0 : ROOT_ENTRIES,
    totalSectors16: fitsIn16 ? totalSectors : 0,
    media: 0xf8,
    fatSectors16: plan.type === 32 ? 0 : layout.tableSectors,
    sectorsPerTrack: 63,
    headCount: 255,
    hiddenSectorCount: plan.hiddenSectorCount,
    totalSectors32: fitsIn16 ? 0 : totalSectors,
    fat32: plan.type === 32 ? fat32Fields(layout.tableSectors) : undefined,
    driveNumber: 0x80,
    volumeId: plan.volumeId,
    volumeLabel: (plan.label === '' ? 'NO NAME' : plan.label).padEnd(11),
    typeText: `FAT${plan.type}`.padEnd(8),
    signature: BOOT_SIGNATURE,
  };
}

function fat32Fields(fatSectors: number) {
  const fixed = { flags: 0, version: 0, fsInfoSector: FS_INFO_SECTOR, backupBootSector: BACKUP_BOOT_SECTOR };
  return { fatSectors, rootCluster: 2, ...fixed };
}

function reservedSectors(plan: VolumePlan): number {
  return plan.type === 32 ? FAT32_RESERVED_SECTORS : 1;
}

function rootSectors(plan: VolumePlan): number {
  return plan.type === 32 ? 0 : Math.ceil((ROOT_ENTRIES * DIRECTORY_ENTRY_BYTES) / plan.bytesPerSector);
}
