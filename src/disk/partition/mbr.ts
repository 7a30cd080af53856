import { ByteReader } from '../../base/byte-reader.js';
import { ByteWriter } from '../../base/byte-writer.js';

// The master boot record, and the extended boot record in front of each logical partition, which has the same form
// (UEFI specification 5.2.1, "Legacy Master Boot Record"; numbers little-endian):
//
//    0                              440         446        462        478        494        510
//   +------------------------------+-----------+----------+----------+----------+----------+-------+
//   | boot code                    | signature | entry 1  | entry 2  | entry 3  | entry 4  | 55 aa |
//   +------------------------------+-----------+----------+----------+----------+----------+-------+
//                                    4, then 0 0
//   an entry:  | status 1 | first CHS 3 | type 1 | last CHS 3 | first sector 4 | sector count 4 |
//
// Sectors are of 512 bytes here whatever the medium says: an image served over NBD has no other.

export const MBR_SECTOR_BYTES = 512;
export const MBR_SIGNATURE = 0xaa55;
/** Where the two bytes of the signature lie. */
export const MBR_SIGNATURE_AT = 510;
export const MBR_ENTRIES_AT = 446;
export const MBR_ENTRY_BYTES = 16;

/** Partition types that mean something to us; all others are only passed on. */
export const MbrType = {
  Unused: 0x00,
  Fat12: 0x01,
  Extended: 0x05,
  Fat16: 0x0e,
  Fat32: 0x0c,
  ExtendedLba: 0x0f,
  Linux: 0x83,
  LinuxExtended: 0x85,
  GptProtective: 0xee,
} as const;

export interface Mbr {
  /** 0xaa55 if this is one. */
  readonly signature: number;
  /** From which Linux makes PARTUUIDs: `%08x-%02x`. */
  readonly diskSignature: number;
  readonly entries: readonly MbrEntry[];
}

export interface MbrEntry {
  /** 0x80 for the active one, 0 for the others; anything else is no table. */
  readonly status: number;
  readonly type: number;
  readonly firstSector: number;
  readonly sectorCount: number;
}

/** Takes any 512 bytes; throws Malformed for fewer. */
export function decodeMbr(sector: Uint8Array): Mbr {
  const reader = new ByteReader(sector);
  reader.skip(440);
  const diskSignature = reader.u32Le();
  reader.skip(2);
  const entries = [decodeEntry(reader), decodeEntry(reader), decodeEntry(reader), decodeEntry(reader)];
  return { signature: reader.u16Le(), diskSignature, entries };
}

export function isExtended(entry: MbrEntry): boolean {
  const { Extended, ExtendedLba, LinuxExtended } = MbrType;
  return entry.type === Extended || entry.type === ExtendedLba || entry.type === LinuxExtended;
}

export function isUsed(entry: MbrEntry): boolean {
  return entry.type !== MbrType.Unused && entry.sectorCount !== 0;
}

export interface MbrPlan {
  readonly diskSignature: number;
  /** Primaries 1 to 4, in that order. */
  readonly partitions: readonly PlannedPartition[];
}

export interface PlannedPartition {
  readonly type: number;
  readonly firstSector: number;
  readonly sectorCount: number;
  readonly active?: boolean;
}

/** The first 512 bytes of a disk with primary partitions and no boot code. */
export function encodeMbr(plan: MbrPlan): Uint8Array {
  if (plan.partitions.length > 4) throw new RangeError(`${plan.partitions.length} primary partitions`);
  const writer = new ByteWriter(MBR_SECTOR_BYTES);
  writer.zeroes(440).u32Le(plan.diskSignature).u16Le(0);
  for (const partition of plan.partitions) encodeEntry(writer, partition);
  writer.zeroes(MBR_SIGNATURE_AT - writer.length).u16Le(MBR_SIGNATURE);
  return writer.done();
}

/**
 * A protective MBR (UEFI 5.2.3) for a disk of `sectorCount` sectors: its one record of type 0xEE then covers all of them, or as
 * many as it can say. Undefined where there is nothing to change: it covers that much already, or lists partitions besides, as
 * that of a hybrid does, whose records mean something to whoever made them. Boot code and all else stay.
 */
export function grownProtectiveMbr(sector: Uint8Array, sectorCount: number): Uint8Array | undefined {
  const used = decodeMbr(sector).entries.flatMap((entry, index) => (isUsed(entry) ? [{ ...entry, index }] : []));
  const [record] = used;
  const covered = Math.min(sectorCount - 1, 0xffff_ffff);
  const isPlain = used.length === 1 && record?.type === MbrType.GptProtective && record.firstSector === 1;
  if (!isPlain || record.sectorCount >= covered) return undefined;
  const entry = new ByteWriter(MBR_ENTRY_BYTES);
  encodeEntry(entry, { type: record.type, firstSector: 1, sectorCount: covered });
  const grown = Uint8Array.from(sector);
  const at = MBR_ENTRIES_AT + record.index * MBR_ENTRY_BYTES;
  grown.set(entry.done().subarray(LAST_CHS_AT), at + LAST_CHS_AT);
  return grown;
}

/** In an entry; behind it stand the type, which is the same, and then what grows. */
const LAST_CHS_AT = 5;

function decodeEntry(reader: ByteReader): MbrEntry {
  const status = reader.u8();
  reader.skip(3);
  const type = reader.u8();
  reader.skip(3);
  return { status, type, firstSector: reader.u32Le(), sectorCount: reader.u32Le() };
}

function encodeEntry(writer: ByteWriter, partition: PlannedPartition): void {
  writer.u8(partition.active === true ? 0x80 : 0);
  encodeChs(writer, partition.firstSector);
  writer.u8(partition.type);
  encodeChs(writer, partition.firstSector + partition.sectorCount - 1);
  writer.u32Le(partition.firstSector).u32Le(partition.sectorCount);
}

/**
 * Nobody reads these any more, but sfdisk writes them. 255 heads of 63 sectors; what lies beyond cylinder 1023 gets the
 * last address there is. The two high bits of the cylinder share a byte with the sector, which counts from 1.
 */
function encodeChs(writer: ByteWriter, sector: number): void {
  const cylinder = Math.floor(sector / (255 * 63));
  if (cylinder > 1023) {
    writer.u8(254).u8(0xff).u8(0xff);
    return;
  }
  const head = Math.floor(sector / 63) % 255;
  writer
    .u8(head)
    .u8(((cylinder >> 8) << 6) | ((sector % 63) + 1))
    .u8(cylinder & 0xff);
}
