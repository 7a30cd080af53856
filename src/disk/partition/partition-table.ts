import type { DiskFault } from '../disk-fault.js';

/** What lies where on a disk, numbered as Linux numbers it: partition 2 is `/dev/nbd0p2`. */
export interface PartitionTable {
  /**
   * `hybrid` is a GPT whose MBR lists partitions besides the protective one; the GPT counts, as it does for Linux. `none` is
   * a FAT on the whole device, without a table.
   */
  readonly scheme: 'mbr' | 'gpt' | 'hybrid' | 'none';
  /** In the order of their numbers. The container of logical partitions is not among them. Each lies within the device. */
  readonly partitions: readonly Partition[];
  /** What is wrong but can be lived with: a damaged GPT header whose backup is sound, partitions that overlap or were left out. */
  readonly warnings: readonly DiskFault[];
}

export interface Partition {
  /** Primaries 1 to 4, logicals from 5, GPT by entry from 1; 0 is the whole device, which has no number in Linux either. */
  readonly number: number;
  /** Bytes from the start of the disk. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly type: PartitionType;
  /** GPT's partition name, else ''. */
  readonly name: string;
}

export type PartitionType =
  | { readonly kind: 'mbr'; readonly code: number }
  /** As sgdisk prints it: `C12A7328-F81F-11D2-BA4B-00A0C93EC93B`. */
  | { readonly kind: 'gpt'; readonly guid: string }
  | { readonly kind: 'whole' };
