import { MBR_EXTENDED_RECORDS_MAX } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import { DiskFault } from '../disk-fault.js';
import { readBytes } from '../read-bytes.js';
import {
  decodeMbr,
  isExtended,
  isUsed,
  MBR_ENTRIES_AT,
  MBR_ENTRY_BYTES,
  MBR_SECTOR_BYTES,
  MBR_SIGNATURE,
  MBR_SIGNATURE_AT,
  type MbrEntry,
} from './mbr.js';

/** A partition as its entry gives it, in sectors from the start of the disk, not yet held against the disk's size. */
export interface ClaimedPartition {
  /** Of the table entry, for faults: bytes from the start of the disk. */
  readonly entryAt: number;
  readonly type: number;
  readonly firstSector: number;
  readonly sectorCount: number;
}

export interface LogicalPartitions {
  readonly partitions: readonly ClaimedPartition[];
  /** Why the chain ended before its end: what was found until then stays, as with Linux. */
  readonly fault: DiskFault | undefined;
}

/**
 * The logical partitions of one extended partition. Each has an extended boot record in front of it with two entries: the
 * partition itself, counted from that record, and the next record, counted from the start of the *extended* partition.
 *
 * ```
 *   extended: | EBR ─ logical 5 ──── | EBR ─ logical 6 ──── | EBR ─ logical 7 ─ |
 *                └ next ──────────────┘  └ next ────────────┘
 * ```
 *
 * Records may point backwards (partitions need not be made in order), so a loop is known by having been there.
 */
export async function readLogicalPartitions(device: BlockDevice, extended: MbrEntry): Promise<LogicalPartitions> {
  const partitions: ClaimedPartition[] = [];
  const visited = new Set<number>();
  const bounds = { first: extended.firstSector, end: extended.firstSector + extended.sectorCount };
  let record = extended.firstSector;
  try {
    for (;;) {
      visited.add(record);
      const entries = await readRecord(device, record);
      const [data, link] = rolesOf(entries);
      if (data !== undefined) partitions.push(claim(data, record, bounds));
      if (link === undefined) return { partitions, fault: undefined };
      record = follow(link, record, bounds, visited);
    }
  } catch (error) {
    if (error instanceof DiskFault) return { partitions, fault: error };
    throw error;
  }
}

interface Bounds {
  readonly first: number;
  /** The sector behind the last. */
  readonly end: number;
}

interface PlacedEntry extends MbrEntry {
  readonly index: number;
}

async function readRecord(device: BlockDevice, sector: number): Promise<readonly MbrEntry[]> {
  const offset = sector * MBR_SECTOR_BYTES;
  if (offset + MBR_SECTOR_BYTES > device.sizeBytes) {
    throw new DiskFault({
      structure: 'place of an extended boot record',
      offset,
      value: `sector ${sector}`,
      sound: `a sector of the device, which has ${Math.floor(device.sizeBytes / MBR_SECTOR_BYTES)}`,
    });
  }
  const record = decodeMbr(await readBytes(device, offset, MBR_SECTOR_BYTES));
  if (record.signature !== MBR_SIGNATURE) {
    throw new DiskFault({
      structure: 'signature of an extended boot record',
      offset: offset + MBR_SIGNATURE_AT,
      value: record.signature,
      sound: `${MBR_SIGNATURE} (55 aa)`,
    });
  }
  return record.entries;
}

/** Told by type, not by place, as Linux does; the third and fourth entry have no meaning. */
function rolesOf(entries: readonly MbrEntry[]): [data: PlacedEntry | undefined, link: PlacedEntry | undefined] {
  const used = entries
    .slice(0, 2)
    .map((entry, index) => ({ ...entry, index }))
    .filter(isUsed);
  return [used.find((entry) => !isExtended(entry)), used.find(isExtended)];
}

function claim(entry: PlacedEntry, record: number, bounds: Bounds): ClaimedPartition {
  const entryAt = entryOffset(record, entry.index);
  const firstSector = record + entry.firstSector;
  if (entry.firstSector === 0 || firstSector + entry.sectorCount > bounds.end) {
    throw new DiskFault({
      structure: 'logical partition in an extended boot record',
      offset: entryAt,
      value: `sectors ${firstSector} to ${firstSector + entry.sectorCount - 1}`,
      sound: `behind its record and before sector ${bounds.end}, where the extended partition ends`,
    });
  }
  return { entryAt, type: entry.type, firstSector, sectorCount: entry.sectorCount };
}

function follow(link: PlacedEntry, record: number, bounds: Bounds, visited: ReadonlySet<number>): number {
  const next = bounds.first + link.firstSector;
  const fault = (sound: string) =>
    new DiskFault({
      structure: 'link to the next extended boot record',
      offset: entryOffset(record, link.index),
      value: `sector ${next}`,
      sound,
    });
  if (next >= bounds.end) throw fault(`before sector ${bounds.end}, where the extended partition ends`);
  if (visited.has(next)) throw fault('a record where the chain has not been yet');
  if (visited.size >= MBR_EXTENDED_RECORDS_MAX) throw fault(`at most ${MBR_EXTENDED_RECORDS_MAX} records`);
  return next;
}

function entryOffset(record: number, index: number): number {
  return record * MBR_SECTOR_BYTES + MBR_ENTRIES_AT + index * MBR_ENTRY_BYTES;
}
