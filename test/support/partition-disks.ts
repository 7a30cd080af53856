import assert from 'node:assert/strict';
import type { BlockDevice } from '../../src/block/block-device.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { slice } from '../../src/block/slice.js';
import { DiskFault } from '../../src/disk/disk-fault.js';
import { formatFat } from '../../src/disk/fat/format.js';
import { encodeMbr, MbrType, type PlannedPartition } from '../../src/disk/partition/mbr.js';
import { readPartitions } from '../../src/disk/partition/read-partitions.js';
import { PI_FILES } from './fat-volumes.js';

/** Whatever the disk holds, its partitions lie inside it, or it is a fault. */
export async function tableOrFault(device: BlockDevice): Promise<void> {
  try {
    const { partitions } = await readPartitions(device);
    for (const { offset, sizeBytes } of partitions) {
      assert.ok(offset >= 0 && sizeBytes > 0 && offset + sizeBytes <= device.sizeBytes);
    }
  } catch (error) {
    if (!(error instanceof DiskFault)) throw error;
  }
}

/** A FAT, and two logical partitions in an extended one. */
export async function extendedDisk(): Promise<MemoryDevice> {
  const device = new MemoryDevice(600 * 512);
  const linux = (firstSector: number, sectorCount: number) => ({ type: MbrType.Linux, firstSector, sectorCount });
  const extended = (firstSector: number, sectorCount: number) => ({
    ...linux(firstSector, sectorCount),
    type: MbrType.Extended,
  });
  const record = (...partitions: PlannedPartition[]) => encodeMbr({ diskSignature: 0, partitions });
  device.bytes.set(record(linux(8, 200), extended(256, 300)));
  await formatFat(slice(device, 8 * 512, 200 * 512), { type: 12, files: PI_FILES.slice(0, 2) });
  device.bytes.set(record(linux(2, 50), extended(100, 60)), 256 * 512);
  device.bytes.set(record(linux(2, 50)), 356 * 512);
  return device;
}
