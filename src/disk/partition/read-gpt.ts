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
  UNUSED_ENTRY,
} from './gpt.js';
import type { Partition } from './partition-table.js';

/** A sector is 512 bytes unless no header is found so: 4096 is for images of disks that have such sectors. */
const SECTOR_BYTES = [512, 4096] as const;

export interface GptPartitions {
  readonly partitions: readonly Partition[];
  readonly warnings: readonly DiskFault[];
}

/** Reads the primary table, or the backup if that is damaged. Throws the primary's DiskFault if neither is sound. */
export async function readGpt(device: BlockDevice): Promise<GptPartitions> {
  const primaries = await Promise.all(SECTOR_BYTES.map((sectorBytes) => tryTable(device, sectorBytes, 1)));
  const primary = primaries.find(isTable);
  if (primary !== undefined) {
    const backupFault = await checkBackup(device, primary);
    return withPartitions(device, primary, backupFault === undefined ? [] : [backupFault]);
  }
  const damage = primaries.filter(isFault).find(hasSignature) ?? primaries.find(isFault);
  for (const sectorBytes of SECTOR_BYTES) {
    const backup = await tryTable(device, sectorBytes, lastLbaOf(device, sectorBytes));
    if (isTable(backup)) return withPartitions(device, backup, damage === undefined ? [] : [damage]);
  }
  throw damage ?? noGpt(SECTOR_BYTES[0]);
}

interface GptTable {
  readonly sectorBytes: number;
  readonly header: GptHeader;
  readonly entries: readonly GptEntry[];
}

async function tryTable(device: BlockDevice, sectorBytes: number, lba: number): Promise<GptTable | DiskFault> {
  try {
    return await readTable(device, sectorBytes, lba);
  } catch (error) {
    if (error instanceof DiskFault) return error;
    throw error;
  }
}

async function readTable(device: BlockDevice, sectorBytes: number, lba: number): Promise<GptTable> {
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
  return { sectorBytes, header, entries };
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

/** The primary is sound: is there something to fall back on? An image that was grown has its backup in the middle, which is no use. */
async function checkBackup(device: BlockDevice, primary: GptTable): Promise<DiskFault | undefined> {
  const lastLba = lastLbaOf(device, primary.sectorBytes);
  if (primary.header.alternateLba !== BigInt(lastLba)) {
    const at = primary.sectorBytes + GptAt.AlternateLba;
    const sound = `${lastLba}, the last LBA of the device`;
    return headerFault('LBA of the backup in the GPT header', at, primary.header.alternateLba, sound);
  }
  const backup = await tryTable(device, primary.sectorBytes, lastLba);
  return isFault(backup) ? backup : undefined;
}

function withPartitions(device: BlockDevice, table: GptTable, faults: readonly DiskFault[]): GptPartitions {
  const { sectorBytes, header } = table;
  const arrayAt = Number(header.entriesLba) * sectorBytes;
  const lastLba = BigInt(lastLbaOf(device, sectorBytes));
  const partitions: Partition[] = [];
  const warnings = [...faults];
  for (const [index, entry] of table.entries.entries()) {
    if (entry.typeGuid === UNUSED_ENTRY) continue;
    if (entry.firstLba > entry.lastLba || entry.lastLba > lastLba) {
      warnings.push(outsideFault(index + 1, arrayAt + index * header.entryBytes, entry, lastLba));
      continue;
    }
    partitions.push({
      number: index + 1,
      offset: Number(entry.firstLba) * sectorBytes,
      sizeBytes: (Number(entry.lastLba - entry.firstLba) + 1) * sectorBytes,
      type: { kind: 'gpt', guid: entry.typeGuid },
      name: entry.name,
    });
  }
  return { partitions, warnings };
}

function outsideFault(number: number, entryAt: number, entry: GptEntry, lastLba: bigint): DiskFault {
  return new DiskFault({
    structure: `place of GPT partition ${number}, which is left out,`,
    offset: entryAt + 32,
    value: `LBA ${entry.firstLba} to ${entry.lastLba}`,
    sound: `in order and up to ${lastLba}, the last LBA of the device`,
  });
}

function headerFault(structure: string, offset: number, value: number | bigint, sound: string): DiskFault {
  return new DiskFault({ structure, offset, value, sound });
}

function noGpt(offset: number): DiskFault {
  return new DiskFault({ structure: 'GPT header', offset, value: 'absent', sound: `"${GPT_SIGNATURE}"` });
}

function lastLbaOf(device: BlockDevice, sectorBytes: number): number {
  return Math.floor(device.sizeBytes / sectorBytes) - 1;
}

function isTable(attempt: GptTable | DiskFault): attempt is GptTable {
  return !isFault(attempt);
}

function isFault(attempt: GptTable | DiskFault): attempt is DiskFault {
  return attempt instanceof DiskFault;
}

/** A header that is there but damaged tells more than one that is not there. */
function hasSignature(fault: DiskFault): boolean {
  return fault.value !== 'absent';
}
