import type { BlockDevice } from '../../block/block-device.js';
import { DiskFault } from '../disk-fault.js';
import { lookForFat } from '../fat/look.js';
import { readFront } from '../read-bytes.js';
import { type ClaimedPartition, readLogicalPartitions } from './logical-partitions.js';
import {
  decodeMbr,
  isExtended,
  isUsed,
  MBR_ENTRIES_AT,
  MBR_ENTRY_BYTES,
  MBR_SECTOR_BYTES,
  MBR_SIGNATURE,
  MBR_SIGNATURE_AT,
  type Mbr,
  MbrType,
} from './mbr.js';
import type { Partition, PartitionTable } from './partition-table.js';
import { readGpt } from './read-gpt.js';

/**
 * Reads the partition table of a disk as Linux does, so that the numbers mean the same here and on the board. Where the
 * table can be used in part, `warnings` says what was left out.
 *
 * A device with a FAT in its first sector and no table has one partition, number 0: the whole of it. It is not called 1
 * because the board has no `/dev/nbd0p1` then.
 *
 * Throws DiskFault if there is no table that can be used, BlockError if the device fails.
 */
export async function readPartitions(device: BlockDevice): Promise<PartitionTable> {
  const mbr = decodeMbr(await readFront(device, MBR_SECTOR_BYTES));
  if (mbr.signature !== MBR_SIGNATURE) {
    throw new DiskFault({
      structure: 'signature of the master boot record',
      offset: MBR_SIGNATURE_AT,
      value: mbr.signature,
      sound: `${MBR_SIGNATURE} (55 aa)`,
    });
  }
  if (mbr.entries.some((entry) => entry.type === MbrType.GptProtective)) return await readBehindProtection(device, mbr);
  if (!isTable(mbr) && (await lookForFat(device)).answer === 'fat') return wholeDevice(device);
  checkStatus(mbr);
  return await readMbrPartitions(device, mbr);
}

async function readBehindProtection(device: BlockDevice, mbr: Mbr): Promise<PartitionTable> {
  const { partitions, warnings } = await readGpt(device);
  const others = mbr.entries.filter((entry) => isUsed(entry) && entry.type !== MbrType.GptProtective);
  const scheme = others.length > 0 ? 'hybrid' : 'gpt';
  return { scheme, partitions, warnings: [...warnings, ...overlaps(partitions)] };
}

async function readMbrPartitions(device: BlockDevice, mbr: Mbr): Promise<PartitionTable> {
  const claims: NumberedClaim[] = [];
  const warnings: DiskFault[] = [];
  let logicalNumber = 5;
  for (const [index, entry] of mbr.entries.entries()) {
    if (!isUsed(entry)) continue;
    if (!isExtended(entry)) {
      claims.push({ ...entry, number: index + 1, entryAt: MBR_ENTRIES_AT + index * MBR_ENTRY_BYTES });
      continue;
    }
    const logicals = await readLogicalPartitions(device, entry);
    claims.push(...logicals.partitions.map((claim) => ({ ...claim, number: logicalNumber++ })));
    if (logicals.fault !== undefined) warnings.push(logicals.fault);
  }
  const fitted = claims.sort((a, b) => a.number - b.number).map((claim) => fit(claim, device.sizeBytes));
  const partitions = fitted.flatMap(({ partition }) => (partition === undefined ? [] : [partition]));
  warnings.push(...fitted.flatMap(({ warning }) => (warning === undefined ? [] : [warning])), ...overlaps(partitions));
  return { scheme: 'mbr', partitions, warnings };
}

interface NumberedClaim extends ClaimedPartition {
  readonly number: number;
}

interface Fitted {
  readonly partition?: Partition;
  readonly warning?: DiskFault;
}

/** A partition that reaches past the end is cut there, one that begins there is left out: as Linux does it. */
function fit(claim: NumberedClaim, deviceBytes: number): Fitted {
  const offset = claim.firstSector * MBR_SECTOR_BYTES;
  const claimedBytes = claim.sectorCount * MBR_SECTOR_BYTES;
  const sizeBytes = Math.min(claimedBytes, deviceBytes - offset);
  const partition: Partition = {
    number: claim.number,
    offset,
    sizeBytes,
    type: { kind: 'mbr', code: claim.type },
    name: '',
  };
  if (sizeBytes === claimedBytes) return { partition };
  const warning = new DiskFault({
    structure: `end of partition ${claim.number}, which is ${sizeBytes > 0 ? 'cut short' : 'left out'},`,
    offset: claim.entryAt + 8,
    value: offset + claimedBytes,
    sound: `at most ${deviceBytes}, the size of the device`,
  });
  return sizeBytes > 0 ? { partition, warning } : { warning };
}

/** Both stay: which of them is right cannot be told from here. */
function overlaps(partitions: readonly Partition[]): DiskFault[] {
  const faults: DiskFault[] = [];
  let furthest: Partition | undefined;
  for (const partition of [...partitions].sort((a, b) => a.offset - b.offset)) {
    if (furthest !== undefined && partition.offset < endOf(furthest)) faults.push(overlap(partition, furthest));
    if (furthest === undefined || endOf(partition) > endOf(furthest)) furthest = partition;
  }
  return faults;
}

function overlap(partition: Partition, other: Partition): DiskFault {
  return new DiskFault({
    structure: `start of partition ${partition.number}`,
    offset: partition.offset,
    value: partition.offset,
    sound: `not before ${endOf(other)}, where partition ${other.number} ends`,
  });
}

function endOf(partition: Partition): number {
  return partition.offset + partition.sizeBytes;
}

/** The boot code of a FAT ends where the entries of a table would be: mostly zeroes, or bytes that are no status. */
function isTable(mbr: Mbr): boolean {
  return mbr.entries.every(hasSoundStatus) && mbr.entries.some(isUsed);
}

function checkStatus(mbr: Mbr): void {
  const index = mbr.entries.findIndex((entry) => !hasSoundStatus(entry));
  const entry = mbr.entries[index];
  if (entry === undefined) return;
  throw new DiskFault({
    structure: `status of entry ${index + 1} of the master boot record`,
    offset: MBR_ENTRIES_AT + index * MBR_ENTRY_BYTES,
    value: entry.status,
    sound: '0 or 128 (0x80)',
  });
}

function hasSoundStatus(entry: { readonly status: number }): boolean {
  return (entry.status & 0x7f) === 0;
}

function wholeDevice(device: BlockDevice): PartitionTable {
  const whole: Partition = { number: 0, offset: 0, sizeBytes: device.sizeBytes, type: { kind: 'whole' }, name: '' };
  return { scheme: 'none', partitions: [whole], warnings: [] };
}
