import { crc32 } from 'node:zlib';
import { GPT_ENTRY_ARRAY_BYTES_MAX } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import { DiskFault } from '../disk-fault.js';
import { readBytes } from '../read-bytes.js';
import {
  decodeGptEntry,
  decodeGptHeader,
  GPT_ENTRY_BYTES_MIN,
  GPT_HEADER_BYTES_MIN,
  GPT_SIGNATURE,
  GptAt,
  type GptEntry,
  type GptHeader,
  headerCrcOf,
} from './gpt.js';

/** One of the two tables of a disk, sound by itself. */
export interface GptTable {
  readonly sectorBytes: number;
  readonly header: GptHeader;
  readonly entries: readonly GptEntry[];
  /** As they lie on the disk: the sector of the header, and the entries. */
  readonly raw: { readonly sector: Uint8Array; readonly array: Uint8Array };
}

/** The table whose header is at an LBA: 1 for the primary, the disk's last for the backup. Throws DiskFault if it is not sound. */
export async function readGptTable(device: BlockDevice, sectorBytes: number, lba: number): Promise<GptTable> {
  const offset = lba * sectorBytes;
  if (lba < 1 || offset + sectorBytes > device.sizeBytes) throw noGpt(offset);
  const sector = await readBytes(device, offset, sectorBytes);
  const header = decodeGptHeader(sector);
  checkHeader(header, sector, offset, lba, device);
  const arrayBytes = header.entryCount * header.entryBytes;
  const array = await readBytes(device, Number(header.entriesLba) * sectorBytes, arrayBytes);
  if (crc32(array) !== header.entriesCrc) {
    throw headerFault('CRC of the GPT entries', offset + GptAt.EntriesCrc, header.entriesCrc, `${crc32(array)}`);
  }
  const entries = Array.from({ length: header.entryCount }, (_, index) =>
    decodeGptEntry(array.subarray(index * header.entryBytes, (index + 1) * header.entryBytes)),
  );
  return { sectorBytes, header, entries, raw: { sector, array } };
}

/** Everything that is asked of a header before one of its numbers is used. */
function checkHeader(header: GptHeader, sector: Uint8Array, offset: number, lba: number, device: BlockDevice): void {
  if (header.signature !== GPT_SIGNATURE) throw noGpt(offset);
  if (header.headerBytes < GPT_HEADER_BYTES_MIN || header.headerBytes > sector.length) {
    const sound = `from ${GPT_HEADER_BYTES_MIN} to ${sector.length}`;
    throw headerFault('size of the GPT header', offset + GptAt.HeaderSize, header.headerBytes, sound);
  }
  const crc = headerCrcOf(sector, header.headerBytes);
  if (crc !== header.headerCrc) {
    throw headerFault('CRC of the GPT header', offset + GptAt.HeaderCrc, header.headerCrc, `${crc}`);
  }
  if (header.myLba !== BigInt(lba)) {
    throw headerFault('own LBA in the GPT header', offset + GptAt.MyLba, header.myLba, `${lba}`);
  }
  const lastLba = BigInt(lastLbaOf(device, sector.length));
  if (header.firstUsableLba > header.lastUsableLba || header.lastUsableLba > lastLba) {
    const sound = `from ${header.firstUsableLba}, the first usable LBA, to ${lastLba}`;
    throw headerFault('last usable LBA in the GPT header', offset + GptAt.LastUsableLba, header.lastUsableLba, sound);
  }
  checkArrayPlace(header, sector.length, offset, device);
}

function checkArrayPlace(header: GptHeader, sectorBytes: number, offset: number, device: BlockDevice): void {
  const { entryBytes, entryCount } = header;
  // UEFI 5.3.2: 128 × 2ⁿ. A power of two also divides the array evenly, whatever the count.
  const soundSize = entryBytes >= GPT_ENTRY_BYTES_MIN && entryBytes <= 4096 && (entryBytes & (entryBytes - 1)) === 0;
  if (!soundSize) {
    const sound = `a power of two from ${GPT_ENTRY_BYTES_MIN} to 4096`;
    throw headerFault('size of a GPT entry', offset + GptAt.EntrySize, entryBytes, sound);
  }
  if (entryCount === 0 || entryCount * entryBytes > GPT_ENTRY_ARRAY_BYTES_MAX) {
    const sound = `from 1 to ${GPT_ENTRY_ARRAY_BYTES_MAX / entryBytes}`;
    throw headerFault('number of GPT entries', offset + GptAt.EntryCount, entryCount, sound);
  }
  const end = header.entriesLba * BigInt(sectorBytes) + BigInt(entryCount * entryBytes);
  if (header.entriesLba < 2n || end > BigInt(device.sizeBytes)) {
    const sound = `from 2 to where ${entryCount * entryBytes} bytes still lie in the device`;
    throw headerFault('LBA of the GPT entries', offset + GptAt.EntriesLba, header.entriesLba, sound);
  }
}

/** About a field of a header; `offset` from the start of the disk. */
export function headerFault(structure: string, offset: number, value: number | bigint, sound: string): DiskFault {
  return new DiskFault({ structure, offset, value, sound });
}

/** No header where one should be. */
export function noGpt(offset: number): DiskFault {
  return new DiskFault({ structure: 'GPT header', offset, value: 'absent', sound: `"${GPT_SIGNATURE}"` });
}

/** 0 or less where there is room for no table. */
export function lastLbaOf(device: BlockDevice, sectorBytes: number): number {
  return Math.floor(device.sizeBytes / sectorBytes) - 1;
}
