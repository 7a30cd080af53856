import type { BlockDevice } from '../../block/block-device.js';
import { DiskFault } from '../../disk/disk-fault.js';
import { foreignFormat } from '../../disk/foreign-format.js';
import type { Partition, PartitionTable } from '../../disk/partition/partition-table.js';
import { readPartitions } from '../../disk/partition/read-partitions.js';
import { chooseBootPartition, chooseRootPartition } from '../../disk/partition-choice.js';
import type { DiskLayout } from './boot-partition.js';

/** `boot_partition` and `root_partition` of an image: a number as Linux counts, or `auto`. */
export interface PartitionWishes {
  readonly bootPartition: number | 'auto';
  readonly rootPartition: number | 'auto';
}

export interface ImageLayout {
  readonly table: PartitionTable;
  readonly boot: Partition;
  readonly root: Partition | undefined;
  /** Why there is no root partition, where there is none. */
  readonly rootless: string | undefined;
}

export type LayoutVerdict =
  | { readonly answer: 'layout'; readonly layout: ImageLayout }
  | { readonly answer: 'unbootable'; readonly because: string; readonly remedy: string };

/** Reads the partition table and chooses where to boot from. Throws BlockError. */
export async function readLayout(disk: BlockDevice, wishes: PartitionWishes): Promise<LayoutVerdict> {
  const foreign = await foreignFormat(disk);
  if (foreign !== undefined)
    return { answer: 'unbootable', because: `it is packed as ${foreign.name}`, remedy: foreign.remedy };
  try {
    const table = await readPartitions(disk);
    const boot = await chooseBootPartition(disk, table, wishes.bootPartition);
    if (boot.answer === 'none') return { answer: 'unbootable', because: boot.because, remedy: CHOOSE };
    const root = await chooseRootPartition(disk, table, wishes.rootPartition);
    const found = root.answer === 'partition' ? root.partition : undefined;
    const rootless = root.answer === 'none' ? root.because : undefined;
    return { answer: 'layout', layout: { table, boot: boot.partition, root: found, rootless } };
  } catch (error) {
    if (error instanceof DiskFault) return { answer: 'unbootable', because: error.message, remedy: COPY_AGAIN };
    throw error;
  }
}

const CHOOSE = 'set `boot_partition` of this image, or name another file';
const COPY_AGAIN = 'is it the whole disk of a Pi? Copy it there anew, or name another file';

/** The same for a look at the boot partition: what can't be booted from now is a fault of the disk, and may be none later. */
export async function locateBoot(disk: BlockDevice, wishes: PartitionWishes): Promise<DiskLayout> {
  const verdict = await readLayout(disk, wishes);
  if (verdict.answer === 'unbootable') {
    throw new DiskFault({
      structure: 'partition table',
      offset: 0,
      value: verdict.because,
      sound: 'one with a boot partition',
    });
  }
  const { boot, root } = verdict.layout;
  return { boot: { offset: boot.offset, sizeBytes: boot.sizeBytes }, rootPartition: root?.number };
}
