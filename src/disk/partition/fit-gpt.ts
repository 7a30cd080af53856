import type { BlockDevice } from '../../block/block-device.js';
import { DiskFault } from '../disk-fault.js';
import { readBytes } from '../read-bytes.js';
import { GptAt, movedGptHeader, UNUSED_ENTRY } from './gpt.js';
import { type GptTable, headerFault, lastLbaOf, readGptTable } from './gpt-table.js';
import { decodeMbr, grownProtectiveMbr, MBR_SECTOR_BYTES, MBR_SIGNATURE, MbrType } from './mbr.js';

export type GptFit =
  /** What the GPT said, and what it says now. */
  | { readonly answer: 'moved'; readonly fromBytes: number; readonly toBytes: number }
  | { readonly answer: 'fits' }
  /** An MBR, or no table at all. An MBR says nothing of the disk's size. */
  | { readonly answer: 'noGpt' }
  /** Left as it is: `because` says what is wrong with it. */
  | { readonly answer: 'damaged'; readonly because: DiskFault };

/** An image that is served over NBD has no other sectors. */
const SECTOR_BYTES = 512;

/**
 * Makes a GPT that was written for a smaller disk fit this one, as `sgdisk -e` does, so that the free space behind it can be
 * used:
 *
 *     before  | MBR | header | entries | partitions … | entries | header |                                       |
 *     after   | MBR | header | entries | partitions … |         (free space)                   | entries | header |
 *
 * The primary header is the one sector by which all of it counts. The backup and the protective MBR are on stable storage
 * before that is written, so whenever the power goes the primary table is sound, for the old size or for the new one, and
 * another call finishes. The old backup stays where it is, which nobody looks at any more.
 *
 * Whatever the image holds is one of the answers; throws BlockError only, if the device fails.
 */
export async function fitGpt(device: BlockDevice): Promise<GptFit> {
  const mbr = await protectiveMbr(device);
  if (mbr === undefined) return { answer: 'noGpt' };
  try {
    const table = await readGptTable(device, SECTOR_BYTES, 1);
    const lastLba = BigInt(lastLbaOf(device, SECTOR_BYTES));
    const { alternateLba } = table.header;
    if (alternateLba === lastLba) return { answer: 'fits' };
    const writes = planned(table, mbr, lastLba);
    for (const write of writes.first) await writeSectors(device, write);
    await device.flush();
    await writeSectors(device, writes.primary);
    await device.flush();
    return { answer: 'moved', fromBytes: endOf(alternateLba), toBytes: endOf(lastLba) };
  } catch (error) {
    if (error instanceof DiskFault) return { answer: 'damaged', because: error };
    throw error;
  }
}

/** The first sector of a disk that says it has a GPT. Linux asks for this too before it believes in one. */
async function protectiveMbr(device: BlockDevice): Promise<Uint8Array | undefined> {
  if (device.sizeBytes < MBR_SECTOR_BYTES) return undefined;
  const sector = await readBytes(device, 0, MBR_SECTOR_BYTES);
  const { signature, entries } = decodeMbr(sector);
  const isProtective = entries.some((entry) => entry.type === MbrType.GptProtective);
  return signature === MBR_SIGNATURE && isProtective ? sector : undefined;
}

interface SectorWrite {
  readonly lba: bigint;
  readonly bytes: Uint8Array;
}

interface Plan {
  /** In any order, none of which changes what the primary table says. */
  readonly first: readonly SectorWrite[];
  readonly primary: SectorWrite;
}

/** Throws DiskFault where a table of this size has no room, or would lie on something that is in use. */
function planned(table: GptTable, mbr: Uint8Array, lastLba: bigint): Plan {
  const { header, raw } = table;
  const arraySectors = BigInt(Math.ceil(raw.array.length / SECTOR_BYTES));
  const backupEntriesLba = lastLba - arraySectors;
  const lastUsableLba = backupEntriesLba - 1n;
  checkRoom(table, { lastLba, lastUsableLba, arraySectors });
  const { sector } = raw;
  const backup = new Uint8Array(Number(arraySectors + 1n) * SECTOR_BYTES);
  const backupPlace = { myLba: lastLba, alternateLba: 1n, lastUsableLba, entriesLba: backupEntriesLba };
  backup.set(raw.array);
  backup.set(movedGptHeader(sector, header, backupPlace), backup.length - SECTOR_BYTES);
  const primaryPlace = { myLba: 1n, alternateLba: lastLba, lastUsableLba, entriesLba: header.entriesLba };
  const grownMbr = grownProtectiveMbr(mbr, Number(lastLba + 1n));
  return {
    first: [
      { lba: backupEntriesLba, bytes: backup },
      ...(grownMbr === undefined ? [] : [{ lba: 0n, bytes: grownMbr }]),
    ],
    primary: { lba: 1n, bytes: movedGptHeader(sector, header, primaryPlace) },
  };
}

interface Ends {
  readonly lastLba: bigint;
  readonly lastUsableLba: bigint;
  readonly arraySectors: bigint;
}

function checkRoom({ header, entries }: GptTable, { lastLba, lastUsableLba, arraySectors }: Ends): void {
  const fault = (structure: string, at: number, value: bigint, sound: string) =>
    headerFault(structure, SECTOR_BYTES + at, value, sound);
  if (header.alternateLba > lastLba) {
    const sound = `at most ${lastLba}, the last LBA of the device`;
    throw fault('LBA of the backup in the GPT header', GptAt.AlternateLba, header.alternateLba, sound);
  }
  if (header.firstUsableLba > lastUsableLba) {
    const sound = `at most ${lastUsableLba}, in front of the backup`;
    throw fault('first usable LBA in the GPT header', GptAt.FirstUsableLba, header.firstUsableLba, sound);
  }
  if (header.entriesLba + arraySectors - 1n > lastUsableLba) {
    const sound = `at most ${lastUsableLba - arraySectors + 1n}, so that they end in front of the backup`;
    throw fault('LBA of the GPT entries', GptAt.EntriesLba, header.entriesLba, sound);
  }
  const entriesAt = Number(header.entriesLba) * SECTOR_BYTES;
  for (const [index, { typeGuid, lastLba: end }] of entries.entries()) {
    if (typeGuid === UNUSED_ENTRY || end <= lastUsableLba) continue;
    const sound = `at most ${lastUsableLba}, in front of the backup`;
    const at = entriesAt + index * header.entryBytes + LAST_LBA_AT;
    throw headerFault(`last LBA of GPT partition ${index + 1}`, at, end, sound);
  }
}

/** In an entry. */
const LAST_LBA_AT = 40;

async function writeSectors(device: BlockDevice, { lba, bytes }: SectorWrite): Promise<void> {
  await device.write(Number(lba) * SECTOR_BYTES, bytes, { durable: false });
}

/** Bytes up to and with a sector. */
function endOf(lba: bigint): number {
  return (Number(lba) + 1) * SECTOR_BYTES;
}
