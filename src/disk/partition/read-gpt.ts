import type { BlockDevice } from '../../block/block-device.js';
import { DiskFault } from '../disk-fault.js';
import { GptAt, type GptEntry, UNUSED_ENTRY } from './gpt.js';
import { type GptTable, headerFault, lastLbaOf, noGpt, readGptTable } from './gpt-table.js';
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

async function tryTable(device: BlockDevice, sectorBytes: number, lba: number): Promise<GptTable | DiskFault> {
  try {
    return await readGptTable(device, sectorBytes, lba);
  } catch (error) {
    if (error instanceof DiskFault) return error;
    throw error;
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
