import { ByteReader } from '../../base/byte-reader.js';
import { ByteWriter } from '../../base/byte-writer.js';
import { DIRECTORY_ENTRY_BYTES } from './geometry.js';

// A directory is an array of 32-byte entries (numbers little-endian). The short entry is the file:
//
//     0             11      12        13          14            20         22            26         28
//    +-------------+-------+---------+-----------+-------------+----------+-------------+----------+--------+
//    | name 8 + 3  | attr. | case    | created,  | created,    | first    | modified    | first    | size 4 |
//    | 11          | 1     | bits 1  | 10 ms 1   | accessed 6  | high 2   | 4           | low 2    |        |
//    +-------------+-------+---------+-----------+-------------+----------+-------------+----------+--------+
//
// A long name stands in front of it, last part first, 13 UTF-16 units in each:
//
//     0         1           11      12     13         14          26    28
//    +---------+-----------+-------+------+----------+-----------+-----+----------+
//    | ordinal | units 1–5 | 0x0f  | 0    | checksum | units 6–11| 0   | units    |   ordinal counts down to 1; the first in
//    | 1       | 10        | 1     | 1    | of short | 12        | 2   | 12–13 4  |   the directory has 0x40 added
//    +---------+-----------+-------+------+----------+-----------+-----+----------+
//
// A name shorter than its parts ends in 0x0000 and is filled up with 0xffff.

export const Attribute = {
  ReadOnly: 0x01,
  Hidden: 0x02,
  System: 0x04,
  VolumeLabel: 0x08,
  Directory: 0x10,
  Archive: 0x20,
  /** All of read-only, hidden, system and label: a part of a long name. */
  LongName: 0x0f,
} as const;

/** First byte of an entry. */
export const EntryMark = { End: 0x00, Deleted: 0xe5 } as const;

/** Where fields lie, for faults. */
export const EntryAt = { FirstClusterLow: 26 } as const;

const LONG_NAME_UNITS_PER_ENTRY = 13;
/** 255 units, which is 20 entries. */
export const LONG_NAME_ENTRIES_MAX = 20;
const LAST_LONG_ENTRY = 0x40;
/** Bits of the attribute byte that have a meaning. */
const ATTRIBUTE_MASK = 0x3f;

export interface ShortEntry {
  /** Eleven bytes in the OEM code page, padded with spaces. */
  readonly name: Uint8Array;
  readonly attributes: number;
  readonly caseBits: number;
  /** As MS-DOS packs it: date in the upper 16 bits (year − 1980, month, day), time in the lower (two seconds). */
  readonly modified: number;
  /** The upper half counts on FAT32 only. */
  readonly firstClusterHigh: number;
  readonly firstClusterLow: number;
  readonly sizeBytes: number;
}

export interface LongEntry {
  /** 1 to 20 if sound; the part of the name that this is. */
  readonly ordinal: number;
  /** First in the directory, so the last part of the name. */
  readonly isLast: boolean;
  readonly type: number;
  readonly checksum: number;
  /** Thirteen UTF-16 units as they stand there, end and filling included. */
  readonly units: string;
}

export function isLongEntry(bytes: Uint8Array): boolean {
  return ((bytes[11] ?? 0) & ATTRIBUTE_MASK) === Attribute.LongName;
}

/** Takes any 32 bytes; throws Malformed for fewer. */
export function decodeShortEntry(bytes: Uint8Array): ShortEntry {
  const reader = new ByteReader(bytes);
  const [name, attributes, caseBits] = [reader.bytes(11), reader.u8(), reader.u8()];
  reader.skip(7);
  const [firstClusterHigh, modified] = [reader.u16Le(), reader.u32Le()];
  return {
    name,
    attributes,
    caseBits,
    modified,
    firstClusterHigh,
    firstClusterLow: reader.u16Le(),
    sizeBytes: reader.u32Le(),
  };
}

/** Created and accessed are given the time of the modification. */
export function encodeShortEntry(entry: ShortEntry): Uint8Array {
  const writer = new ByteWriter(DIRECTORY_ENTRY_BYTES);
  const date = entry.modified >>> 16;
  writer.bytes(entry.name).u8(entry.attributes).u8(entry.caseBits);
  writer.u8(0).u32Le(entry.modified).u16Le(date).u16Le(entry.firstClusterHigh).u32Le(entry.modified);
  writer.u16Le(entry.firstClusterLow).u32Le(entry.sizeBytes);
  return writer.done();
}

/** Takes any 32 bytes; throws Malformed for fewer. */
export function decodeLongEntry(bytes: Uint8Array): LongEntry {
  const reader = new ByteReader(bytes);
  const first = reader.u8();
  const front = unitsOf(reader, 5);
  reader.skip(1);
  const [type, checksum] = [reader.u8(), reader.u8()];
  const middle = unitsOf(reader, 6);
  reader.skip(2);
  const units = front + middle + unitsOf(reader, 2);
  return { ordinal: first & ~LAST_LONG_ENTRY, isLast: (first & LAST_LONG_ENTRY) !== 0, type, checksum, units };
}

/** The entries of a long name as they stand in the directory, the short one not among them. */
export function encodeLongEntries(name: string, checksum: number): Uint8Array[] {
  const count = Math.ceil(name.length / LONG_NAME_UNITS_PER_ENTRY);
  const entries = Array.from({ length: count }, (_, index) =>
    encodeLongEntry(name, index + 1, index + 1 === count, checksum),
  );
  return entries.reverse();
}

function encodeLongEntry(name: string, ordinal: number, isLast: boolean, checksum: number): Uint8Array {
  const start = (ordinal - 1) * LONG_NAME_UNITS_PER_ENTRY;
  const units = Array.from({ length: LONG_NAME_UNITS_PER_ENTRY }, (_, index) => {
    const at = start + index;
    if (at === name.length) return 0;
    return at > name.length ? 0xffff : name.charCodeAt(at);
  });
  const writer = new ByteWriter(DIRECTORY_ENTRY_BYTES);
  writer.u8(isLast ? ordinal | LAST_LONG_ENTRY : ordinal);
  for (const unit of units.slice(0, 5)) writer.u16Le(unit);
  writer.u8(Attribute.LongName).u8(0).u8(checksum);
  for (const unit of units.slice(5, 11)) writer.u16Le(unit);
  writer.u16Le(0);
  for (const unit of units.slice(11)) writer.u16Le(unit);
  return writer.done();
}

function unitsOf(reader: ByteReader, count: number): string {
  let units = '';
  for (let index = 0; index < count; index += 1) units += String.fromCharCode(reader.u16Le());
  return units;
}
