// The disks that the bench's NBD servers serve: the same bytes for each, in files of their own.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openFileDevice } from '../../src/block/file-device.js';
import { slice } from '../../src/block/slice.js';
import { formatFat } from '../../src/disk/fat/format.js';
import { encodeMbr, MbrType } from '../../src/disk/partition/mbr.js';
import { seeded } from '../../test/support/random.js';

/** `load` is for load.c, `source` is copied out, into `target` is copied. */
export const DISK_NAMES = ['load', 'source', 'target'] as const;
export type DiskName = (typeof DISK_NAMES)[number];

export type DiskFiles = Readonly<Record<DiskName, string>>;

export interface Piece {
  readonly offset: number;
  readonly lengthBytes: number;
}

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const SECTOR_BYTES = 512;
const BOOT = { offset: MIB, lengthBytes: 64 * MIB } as const;

/** What load.c reads and writes: all that lies behind the boot partition, which a board's disk has to have. */
export const LOAD_REGION = { firstByte: BOOT.offset + BOOT.lengthBytes, endByte: GIB } as const;

/** What is data of the image that is copied, but for the tables and the few files in front. */
export const SPARSE = { sizeBytes: 4 * GIB, firstByte: BOOT.offset + BOOT.lengthBytes } as const;

/** One set of files in `folder`, to be copied for every server. All of them are in the page cache then. */
export async function makeDisks(folder: string): Promise<DiskFiles> {
  const files = filesIn(folder);
  await makeLoadDisk(folder);
  await makePartitions(files.source, SPARSE.sizeBytes);
  writeOffsets(files.source, sparsePieces());
  await makePartitions(files.target, SPARSE.sizeBytes);
  return files;
}

/** The disk for load.c alone. */
export async function makeLoadDisk(folder: string): Promise<string> {
  const { load } = filesIn(folder);
  await makePartitions(load, LOAD_REGION.endByte);
  const { firstByte, endByte } = LOAD_REGION;
  writeOffsets(load, [{ offset: firstByte, lengthBytes: endByte - firstByte }]);
  return load;
}

export function copyDisks(from: DiskFiles, folder: string): DiskFiles {
  const files = filesIn(folder);
  for (const name of DISK_NAMES) {
    execFileSync('cp', ['--sparse=always', '--reflink=never', from[name], files[name]]);
  }
  return files;
}

/** From 64 KiB to 4 MiB each, a quarter of what lies behind the boot partition; the same at every call. */
export function sparsePieces(): readonly Piece[] {
  const random = seeded(4);
  const pieces: Piece[] = [];
  let offset: number = SPARSE.firstByte;
  for (;;) {
    const lengthBytes = (1 + random.below(64)) * 64 * 1024;
    if (offset + 4 * lengthBytes > SPARSE.sizeBytes) return pieces;
    pieces.push({ offset, lengthBytes });
    offset += 4 * lengthBytes;
  }
}

/** Every eight bytes hold their own offset on the disk, little-endian: what load.c looks for. */
export function fillWithOffsets(target: Uint8Array, offset: number): void {
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  const [high, low] = [Math.floor(offset / 2 ** 32), offset % 2 ** 32];
  for (let at = 0; at < target.length; at += 8) {
    view.setUint32(at, (low + at) >>> 0, true);
    view.setUint32(at + 4, low + at < 2 ** 32 ? high : high + 1, true);
  }
}

function filesIn(folder: string): DiskFiles {
  const [load, source, target] = DISK_NAMES.map((name) => join(folder, `${name}.img`));
  if (load === undefined || source === undefined || target === undefined) throw new Error('a disk without a file');
  return { load, source, target };
}

/** MBR, a FAT16 to boot from, and a root partition of holes. */
async function makePartitions(path: string, sizeBytes: number): Promise<void> {
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  const device = await openFileDevice(path, { access: 'readWrite', lock: 'exclusive' });
  const rootAt = BOOT.offset + BOOT.lengthBytes;
  const partitions = [
    partition(MbrType.Fat16, BOOT.offset, BOOT.lengthBytes),
    partition(MbrType.Linux, rootAt, sizeBytes - rootAt),
  ];
  await device.write(0, encodeMbr({ diskSignature: 1, partitions }), { durable: false });
  const files = [{ path: 'config.txt', bytes: Buffer.from('kernel=kernel8.img\n') }];
  await formatFat(slice(device, BOOT.offset, BOOT.lengthBytes), { type: 16, sectorsPerCluster: 8, files });
  await device.close();
}

function partition(type: number, offset: number, lengthBytes: number) {
  const [firstSector, sectorCount] = [offset / SECTOR_BYTES, lengthBytes / SECTOR_BYTES];
  return { type, firstSector, sectorCount, active: type === MbrType.Fat16 };
}

function writeOffsets(path: string, pieces: readonly Piece[]): void {
  const file = openSync(path, 'r+');
  const chunk = new Uint8Array(MIB);
  for (const { offset, lengthBytes } of pieces) {
    for (let done = 0; done < lengthBytes; done += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, lengthBytes - done));
      fillWithOffsets(part, offset + done);
      writeSync(file, part, 0, part.length, offset + done);
    }
  }
  closeSync(file);
}
