import type { BlockDevice } from '../block/block-device.js';
import { slice } from '../block/slice.js';
import { lookForFat } from './fat/look.js';
import type { Partition, PartitionTable } from './partition/partition-table.js';

/** As the inventory says it: a number as Linux counts, or `auto`. */
export type WantedPartition = number | 'auto';

export type PartitionVerdict =
  | { readonly answer: 'partition'; readonly partition: Partition }
  /** What to tell who wrote the inventory, partition by partition. */
  | { readonly answer: 'none'; readonly because: string };

/** `auto` is the first partition that holds a FAT; a number must name one that does. Throws BlockError only. */
export async function chooseBootPartition(
  disk: BlockDevice,
  table: PartitionTable,
  wanted: WantedPartition,
): Promise<PartitionVerdict> {
  if (wanted !== 'auto') {
    const named = partitionByNumber(table, wanted);
    if (named.answer === 'none') return named;
    const look = await lookForFat(partitionDevice(disk, named.partition));
    return look.answer === 'fat' ? named : none(`partition ${wanted} holds no FAT: ${look.because}`);
  }
  const reasons: string[] = [];
  for (const partition of table.partitions) {
    const look = await lookForFat(partitionDevice(disk, partition));
    if (look.answer === 'fat') return { answer: 'partition', partition };
    reasons.push(`${partition.number}: ${look.because}`);
  }
  return none(reasons.length === 0 ? EMPTY : `no partition holds a FAT (${shown(reasons)})`);
}

/** `auto` is the first partition that does not hold a FAT; a number may name any: who wrote it knows why. Throws BlockError only. */
export async function chooseRootPartition(
  disk: BlockDevice,
  table: PartitionTable,
  wanted: WantedPartition,
): Promise<PartitionVerdict> {
  if (wanted !== 'auto') return partitionByNumber(table, wanted);
  const reasons: string[] = [];
  for (const partition of table.partitions) {
    const look = await lookForFat(partitionDevice(disk, partition));
    if (look.answer === 'other') return { answer: 'partition', partition };
    reasons.push(`${partition.number}: FAT${look.geometry.type}`);
  }
  return none(reasons.length === 0 ? EMPTY : `every partition holds a FAT (${shown(reasons)})`);
}

/** A partition as a device of its own; closing it closes nothing. */
export function partitionDevice(disk: BlockDevice, partition: Partition): BlockDevice {
  return slice(disk, partition.offset, partition.sizeBytes);
}

const EMPTY = 'the partition table is empty';
/** As many as somebody reads in one sentence. */
const SHOWN_MAX = 8;

function partitionByNumber(table: PartitionTable, wanted: number): PartitionVerdict {
  const partition = table.partitions.find(({ number }) => number === wanted);
  if (partition !== undefined) return { answer: 'partition', partition };
  if (table.partitions.length === 0) return none(EMPTY);
  if (table.scheme === 'none') {
    return none(`there is no partition ${wanted}: the whole device is one FAT, without a partition table`);
  }
  const numbers = table.partitions.map(({ number }) => `${number}`);
  return none(
    `there is no partition ${wanted}, only ${numbers.length > SHOWN_MAX ? `${numbers.length} others` : numbers.join(', ')}`,
  );
}

function shown(reasons: readonly string[]): string {
  const more = reasons.length - SHOWN_MAX;
  return [...reasons.slice(0, SHOWN_MAX), ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

function none(because: string): PartitionVerdict {
  return { answer: 'none', because };
}
