import { crc32 } from 'node:zlib';
import { ByteReader } from '../../base/byte-reader.js';

// A GUID partition table (UEFI specification 5.3; numbers little-endian, LBA = sector). The header fills one sector: LBA 1,
// and its backup the last of the disk.
//
//     0          8          12            16           20         24       32              40             48
//    +----------+----------+-------------+------------+----------+--------+---------------+--------------+----
//    | EFI PART | revision | header size | header CRC | reserved | my LBA | alternate LBA | first usable | …
//    +----------+----------+-------------+------------+----------+--------+---------------+--------------+----
//         48            56          72            80            84           88           92
//    ----+-------------+-----------+-------------+-------------+------------+------------+
//      … | last usable | disk GUID | entries LBA | entry count | entry size | array CRC  |
//    ----+-------------+-----------+-------------+-------------+------------+------------+
//
//     0           16              32          40         48           56                 128
//    +-----------+---------------+-----------+----------+------------+------------------+
//    | type GUID | partition GUID| first LBA | last LBA | attributes | name, UTF-16     |   an entry: last LBA is inclusive
//    +-----------+---------------+-----------+----------+------------+------------------+
//
// The header's CRC is reckoned over `header size` bytes with the CRC itself as zero.

export const GPT_SIGNATURE = 'EFI PART';
export const GPT_HEADER_BYTES_MIN = 92;
export const GPT_ENTRY_BYTES_MIN = 128;

/** Where fields lie in the header, for faults. */
export const GptAt = {
  HeaderSize: 12,
  HeaderCrc: 16,
  MyLba: 24,
  AlternateLba: 32,
  FirstUsableLba: 40,
  LastUsableLba: 48,
  EntriesLba: 72,
  EntryCount: 80,
  EntrySize: 84,
  EntriesCrc: 88,
} as const;

export interface GptHeader {
  readonly signature: string;
  readonly headerBytes: number;
  readonly headerCrc: number;
  readonly myLba: bigint;
  readonly alternateLba: bigint;
  readonly firstUsableLba: bigint;
  readonly lastUsableLba: bigint;
  readonly entriesLba: bigint;
  readonly entryCount: number;
  readonly entryBytes: number;
  readonly entriesCrc: number;
}

export interface GptEntry {
  readonly typeGuid: string;
  readonly firstLba: bigint;
  /** The last sector that belongs to the partition. */
  readonly lastLba: bigint;
  readonly name: string;
}

export const UNUSED_ENTRY = '00000000-0000-0000-0000-000000000000';

/** Takes any 92 bytes or more; throws Malformed for fewer. */
export function decodeGptHeader(sector: Uint8Array): GptHeader {
  const reader = new ByteReader(sector);
  const signature = String.fromCharCode(...reader.bytes(8));
  reader.skip(4);
  const [headerBytes, headerCrc] = [reader.u32Le(), reader.u32Le()];
  reader.skip(4);
  const [myLba, alternateLba] = [reader.u64Le(), reader.u64Le()];
  const [firstUsableLba, lastUsableLba] = [reader.u64Le(), reader.u64Le()];
  reader.skip(16);
  return {
    signature,
    headerBytes,
    headerCrc,
    myLba,
    alternateLba,
    firstUsableLba,
    lastUsableLba,
    entriesLba: reader.u64Le(),
    entryCount: reader.u32Le(),
    entryBytes: reader.u32Le(),
    entriesCrc: reader.u32Le(),
  };
}

/** What the CRC in a header should be; `headerBytes` must lie within the sector. */
export function headerCrcOf(sector: Uint8Array, headerBytes: number): number {
  const header = sector.slice(0, headerBytes);
  header.fill(0, GptAt.HeaderCrc, GptAt.HeaderCrc + 4);
  return crc32(header);
}

/** Where a table is, and how far partitions may reach. */
export interface GptPlace {
  readonly myLba: bigint;
  readonly alternateLba: bigint;
  readonly lastUsableLba: bigint;
  readonly entriesLba: bigint;
}

/**
 * A sound header made anew for another place, its CRC with it. All else stays as it is, also what a longer header than ours
 * may hold.
 */
export function movedGptHeader(sector: Uint8Array, { headerBytes }: GptHeader, place: GptPlace): Uint8Array {
  const moved = Uint8Array.from(sector);
  const view = new DataView(moved.buffer);
  view.setBigUint64(GptAt.MyLba, place.myLba, true);
  view.setBigUint64(GptAt.AlternateLba, place.alternateLba, true);
  view.setBigUint64(GptAt.LastUsableLba, place.lastUsableLba, true);
  view.setBigUint64(GptAt.EntriesLba, place.entriesLba, true);
  view.setUint32(GptAt.HeaderCrc, headerCrcOf(moved, headerBytes), true);
  return moved;
}

/** Takes any 128 bytes or more; throws Malformed for fewer. */
export function decodeGptEntry(bytes: Uint8Array): GptEntry {
  const reader = new ByteReader(bytes);
  const typeGuid = decodeGuid(reader);
  reader.skip(16);
  const [firstLba, lastLba] = [reader.u64Le(), reader.u64Le()];
  reader.skip(8);
  const units = Array.from({ length: 36 }, () => reader.u16Le());
  const end = units.indexOf(0);
  return { typeGuid, firstLba, lastLba, name: String.fromCharCode(...(end < 0 ? units : units.slice(0, end))) };
}

/** The first three fields of a GUID are little-endian numbers, the last two are bytes as they come. */
function decodeGuid(reader: ByteReader): string {
  const fields = [hex(reader.u32Le(), 8), hex(reader.u16Le(), 4), hex(reader.u16Le(), 4)];
  const bytes = [...reader.bytes(8)].map((byte) => hex(byte, 2)).join('');
  return [...fields, bytes.slice(0, 4), bytes.slice(4)].join('-');
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
