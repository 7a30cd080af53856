import { ByteReader } from '../../base/byte-reader.js';
import { ByteWriter } from '../../base/byte-writer.js';

// The first sector of a FAT volume with its BIOS parameter block (Microsoft, "FAT: General Overview of On-Disk Format"
// 1.03, "Boot Sector and BPB"; ECMA-107 has the part up to FAT16; numbers little-endian):
//
//     0      3          11           13            14         16     17          19             21      22
//    +------+----------+------------+-------------+----------+------+-----------+--------------+-------+----------+--
//    | jump | OEM name | bytes per  | sectors per | reserved | FAT  | root      | total        | media | FAT      | …
//    | 3    | 8        | sector 2   | cluster 1   | 2        | no. 1| entries 2 | sectors/16 2 | 1     | sectors 2|
//    +------+----------+------------+-------------+----------+------+-----------+--------------+-------+----------+--
//      24           26      28        32              36
//    --+------------+-------+---------+---------------+
//    … | sectors    | heads | hidden  | total         |    total sectors/32 counts where total sectors/16 is 0
//      | a track 2  | 2     | 4       | sectors/32 4  |
//    --+------------+-------+---------+---------------+
//
//    FAT12/16 from 36:  | drive 1 | 0 | 0x29 | volume id 4 | label 11 | type text 8 |
//    FAT32 from 36:     | FAT sectors 4 | flags 2 | version 2 | root cluster 4 | FSInfo 2 | backup 2 | 12 × 0 |
//           from 64:    | drive 1 | 0 | 0x29 | volume id 4 | label 11 | type text 8 |
//
// All end in 55 aa at 510, also where a sector is larger than 512 bytes. The type text means nothing.

export const BOOT_SECTOR_BYTES = 512;
export const BOOT_SIGNATURE = 0xaa55;

/** Where fields lie, for faults and for the mirror of sizes in the tests. */
export const BootSectorAt = {
  BytesPerSector: 11,
  SectorsPerCluster: 13,
  ReservedSectors: 14,
  FatCount: 16,
  RootEntries: 17,
  TotalSectors16: 19,
  Media: 21,
  FatSectors16: 22,
  TotalSectors32: 32,
  Fat32Sectors: 36,
  Fat32Flags: 40,
  Fat32Version: 42,
  Fat32RootCluster: 44,
  Signature: 510,
} as const;

export interface BootSector {
  /** Who formatted it, eight characters: `mkfs.fat`, `MSWIN4.1`. Also NTFS and exFAT name themselves here. */
  readonly oemName: string;
  readonly bytesPerSector: number;
  readonly sectorsPerCluster: number;
  readonly reservedSectorCount: number;
  readonly fatCount: number;
  readonly rootEntryCount: number;
  readonly totalSectors16: number;
  readonly media: number;
  /** 0 where the FAT32 fields follow. */
  readonly fatSectors16: number;
  readonly sectorsPerTrack: number;
  readonly headCount: number;
  readonly hiddenSectorCount: number;
  readonly totalSectors32: number;
  readonly fat32: Fat32Fields | undefined;
  readonly driveNumber: number;
  readonly volumeId: number;
  /** Eleven characters; the directory entry of the label is what counts. */
  readonly volumeLabel: string;
  readonly typeText: string;
  /** 0xaa55 if this is a boot sector. */
  readonly signature: number;
}

export interface Fat32Fields {
  readonly fatSectors: number;
  /** Bit 7: only the FAT numbered in bits 0 to 3 is kept up to date. */
  readonly flags: number;
  readonly version: number;
  readonly rootCluster: number;
  readonly fsInfoSector: number;
  readonly backupBootSector: number;
}

/** Takes any 512 bytes; throws Malformed for fewer. What the numbers may be is `geometryOf`'s to judge. */
export function decodeBootSector(sector: Uint8Array): BootSector {
  const reader = new ByteReader(sector);
  reader.skip(3);
  const common = {
    oemName: latin1(reader.bytes(8)),
    bytesPerSector: reader.u16Le(),
    sectorsPerCluster: reader.u8(),
    reservedSectorCount: reader.u16Le(),
    fatCount: reader.u8(),
    rootEntryCount: reader.u16Le(),
    totalSectors16: reader.u16Le(),
    media: reader.u8(),
    fatSectors16: reader.u16Le(),
    sectorsPerTrack: reader.u16Le(),
    headCount: reader.u16Le(),
    hiddenSectorCount: reader.u32Le(),
    totalSectors32: reader.u32Le(),
  };
  const fat32 = common.fatSectors16 === 0 ? decodeFat32Fields(reader) : undefined;
  const driveNumber = reader.u8();
  reader.skip(2);
  const names = { volumeId: reader.u32Le(), volumeLabel: latin1(reader.bytes(11)), typeText: latin1(reader.bytes(8)) };
  reader.skip(BootSectorAt.Signature - reader.position);
  return { ...common, fat32, driveNumber, ...names, signature: reader.u16Le() };
}

/** 512 bytes without boot code. The jump goes behind the parameter block, as the specification demands of it. */
export function encodeBootSector(boot: BootSector): Uint8Array {
  const writer = new ByteWriter(BOOT_SECTOR_BYTES);
  writer
    .u8(0xeb)
    .u8(boot.fat32 === undefined ? 0x3c : 0x58)
    .u8(0x90);
  writer.latin1(boot.oemName);
  writer.u16Le(boot.bytesPerSector).u8(boot.sectorsPerCluster).u16Le(boot.reservedSectorCount);
  writer.u8(boot.fatCount).u16Le(boot.rootEntryCount).u16Le(boot.totalSectors16);
  writer.u8(boot.media).u16Le(boot.fatSectors16);
  writer.u16Le(boot.sectorsPerTrack).u16Le(boot.headCount).u32Le(boot.hiddenSectorCount).u32Le(boot.totalSectors32);
  if (boot.fat32 !== undefined) encodeFat32Fields(writer, boot.fat32);
  writer.u8(boot.driveNumber).u8(0).u8(0x29).u32Le(boot.volumeId).latin1(boot.volumeLabel).latin1(boot.typeText);
  writer.zeroes(BootSectorAt.Signature - writer.length).u16Le(boot.signature);
  return writer.done();
}

function decodeFat32Fields(reader: ByteReader): Fat32Fields {
  const fields = {
    fatSectors: reader.u32Le(),
    flags: reader.u16Le(),
    version: reader.u16Le(),
    rootCluster: reader.u32Le(),
    fsInfoSector: reader.u16Le(),
    backupBootSector: reader.u16Le(),
  };
  reader.skip(12);
  return fields;
}

function encodeFat32Fields(writer: ByteWriter, fields: Fat32Fields): void {
  writer.u32Le(fields.fatSectors).u16Le(fields.flags).u16Le(fields.version).u32Le(fields.rootCluster);
  writer.u16Le(fields.fsInfoSector).u16Le(fields.backupBootSector).zeroes(12);
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
