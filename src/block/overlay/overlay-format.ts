/**
 * An overlay's file (docs/overlay-format.md). All numbers little-endian; what lies in no sector below is a hole of zeroes.
 *
 *        0   header   512
 *      512   tally    512
 *     4096   map      a sector of 512 for each 2032 blocks of 4096 bytes, in their order
 *     data   the disk's bytes, each at its own offset, where the map says that a block is the overlay's own
 *
 * Sectors are written in place, and a disk writes one of them whole or not at all. A sector of the map is written only when the
 * data that it tells of is on stable storage: what is found in it is always true of some moment, however the power went.
 */
import { crc32 } from 'node:zlib';
import { ByteReader } from '../../base/byte-reader.js';
import { ByteWriter } from '../../base/byte-writer.js';
import { OVERLAY_CAPACITY_BYTES_MIN } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { BLOCKS_PER_SECTOR, OVERLAY_BLOCK_BYTES, type SectorStates, sectorCountOf } from './block-map.js';

export interface OverlayHeader {
  /** Of this file alone, 16 bytes in hex: its sectors are checked against it, so that one of another file is none of its own. */
  readonly id: string;
  /** Whose disk it is. */
  readonly board: string;
  /** Which version of which image it lies over: the name that was given to it, 16 bytes in hex. */
  readonly base: string;
  readonly sizeBytes: number;
  /** The map has room for a disk so large. */
  readonly capacityBytes: number;
}

export const SECTOR_BYTES = 512;
export const HEADER_AT = 0;
export const TALLY_AT = 512;
export const MAP_AT = 4096;

/** Where the disk's first byte lies. */
export function dataAt({ capacityBytes }: Pick<OverlayHeader, 'capacityBytes'>): number {
  const mapBytes = sectorCountOf(Math.ceil(capacityBytes / OVERLAY_BLOCK_BYTES)) * SECTOR_BYTES;
  return Math.ceil((MAP_AT + mapBytes) / DATA_ALIGNMENT_BYTES) * DATA_ALIGNMENT_BYTES;
}

/** What the whole file is long: blocks of it are never cut. */
export function fileBytes(header: OverlayHeader): number {
  return dataAt(header) + Math.ceil(header.sizeBytes / OVERLAY_BLOCK_BYTES) * OVERLAY_BLOCK_BYTES;
}

/** Room to grow costs no space, only places in a sparse file. */
export function capacityFor(sizeBytes: number): number {
  return Math.max(OVERLAY_CAPACITY_BYTES_MIN, sizeBytes);
}

/**
 *      0  magic "bramble" and 0                     8
 *      8  version 1                                 4
 *     12  CRC-32 of the sector, with zeroes here    4
 *     16  id                                       16
 *     32  base                                     16
 *     48  size of the disk in bytes                 8
 *     56  capacity in bytes                         8
 *     64  board: length, then its name in ASCII     1 + 63
 */
export function encodeHeader(header: OverlayHeader): Uint8Array {
  const name = new TextEncoder().encode(header.board);
  const sector = new ByteWriter(SECTOR_BYTES)
    .bytes(MAGIC)
    .u32Le(VERSION)
    .u32Le(0)
    .bytes(fromHex(header.id))
    .bytes(fromHex(header.base))
    .u64Le(BigInt(header.sizeBytes))
    .u64Le(BigInt(header.capacityBytes))
    .u8(name.length)
    .bytes(name)
    .done();
  return sealed(padded(sector), CHECKSUM_AT);
}

/** Throws Malformed: it is no overlay, one of a later version, or damaged. */
export function decodeHeader(sector: Uint8Array): OverlayHeader {
  const reader = new ByteReader(sector);
  if (!sameBytes(reader.bytes(MAGIC.length), MAGIC)) throw new Malformed('this is no overlay of Brambleboot');
  const version = reader.u32Le();
  if (!isSealed(sector, CHECKSUM_AT)) throw new Malformed('its header is damaged: the checksum does not fit');
  if (version !== VERSION)
    throw new Malformed(`it is an overlay of version ${version}, and this program knows ${VERSION}`);
  reader.u32Le();
  const [id, base] = [toHex(reader.bytes(ID_BYTES)), toHex(reader.bytes(ID_BYTES))];
  const [sizeBytes, capacityBytes] = [Number(reader.u64Le()), Number(reader.u64Le())];
  const board = new TextDecoder().decode(reader.bytes(reader.u8()));
  // It is shown to people who ask why a file is refused.
  if (!BOARD.test(board)) throw new Malformed('its header says whose disk it is with what is no name of a board');
  if (!Number.isSafeInteger(capacityBytes) || sizeBytes > capacityBytes) {
    throw new Malformed(`its header says a size of ${sizeBytes} bytes with room for ${capacityBytes}`);
  }
  return { id, board, base, sizeBytes, capacityBytes };
}

/** Words of states, then the CRC-32 over the file's id, the sector's number and the words. */
export function encodeSector(id: string, { sector, words }: SectorStates): Uint8Array {
  const writer = new ByteWriter(SECTOR_BYTES);
  for (const word of words) writer.u32Le(word);
  const states = writer.done();
  return new ByteWriter(SECTOR_BYTES)
    .bytes(states)
    .u32Le(sectorChecksum(id, sector, states))
    .done();
}

/** Undefined where none was ever written. Throws Malformed. */
export function decodeSector(id: string, sector: number, bytes: Uint8Array): SectorStates | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  const reader = new ByteReader(bytes);
  const states = reader.bytes(STATES_BYTES);
  if (reader.u32Le() !== sectorChecksum(id, sector, states)) {
    throw new Malformed(`sector ${sector} of its map is damaged: the checksum does not fit`);
  }
  const read = new ByteReader(states);
  const words = Uint32Array.from({ length: STATES_BYTES / 4 }, () => read.u32Le());
  if (words.some((word) => (word & (word >>> 1) & 0x5555_5555) !== 0)) {
    throw new Malformed(`sector ${sector} of its map tells of blocks in a state that there is none of`);
  }
  return { sector, words };
}

/**
 * How many sectors of the map had been written and were on stable storage when this was written: never more than there are. With
 * fewer, some have been wiped out, which their checksums can't tell: what was never written is zeroes too.
 */
export function encodeTally(id: string, writtenSectors: number): Uint8Array {
  const body = new ByteWriter(SECTOR_BYTES).u32Le(writtenSectors).done();
  return padded(
    new ByteWriter(SECTOR_BYTES)
      .bytes(body)
      .u32Le(sectorChecksum(id, TALLY_NUMBER, body))
      .done(),
  );
}

/** Throws Malformed. */
export function decodeTally(id: string, bytes: Uint8Array): number {
  if (bytes.every((byte) => byte === 0)) return 0;
  const reader = new ByteReader(bytes);
  const body = reader.bytes(4);
  if (reader.u32Le() !== sectorChecksum(id, TALLY_NUMBER, body)) {
    throw new Malformed('the tally of its map is damaged: the checksum does not fit');
  }
  return new ByteReader(body).u32Le();
}

function sectorChecksum(id: string, sector: number, body: Uint8Array): number {
  const place = new ByteWriter(ID_BYTES + 4).bytes(fromHex(id)).u32Le(sector).done();
  return crc32(body, crc32(place));
}

function sealed(sector: Uint8Array, checksumAt: number): Uint8Array {
  new DataView(sector.buffer, sector.byteOffset).setUint32(checksumAt, crc32(sector), true);
  return sector;
}

function isSealed(sector: Uint8Array, checksumAt: number): boolean {
  const cleared = Uint8Array.from(sector);
  cleared.fill(0, checksumAt, checksumAt + 4);
  return crc32(cleared) === new DataView(sector.buffer, sector.byteOffset).getUint32(checksumAt, true);
}

function padded(bytes: Uint8Array): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  sector.set(bytes);
  return sector;
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const MAGIC = new TextEncoder().encode('bramble\0');
const VERSION = 1;
/** As the inventory has them. */
const BOARD = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const CHECKSUM_AT = 12;
const ID_BYTES = 16;
const STATES_BYTES = BLOCKS_PER_SECTOR / 4;
/** No sector of a map has this number. */
const TALLY_NUMBER = 0xffff_ffff;
/** Larger than any alignment that filesystems care for. */
const DATA_ALIGNMENT_BYTES = 1024 * 1024;
