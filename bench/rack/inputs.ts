// What the boards of a rack boot: an image for each, and the same files extracted into a folder for each.
import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openFileDevice } from '../../src/block/file-device.js';
import { slice } from '../../src/block/slice.js';
import { formatFat } from '../../src/disk/fat/format.js';
import { encodeMbr, MbrType } from '../../src/disk/partition/mbr.js';

export interface RackBoard {
  readonly name: string;
  readonly serial: string;
  readonly mac: string;
  /** The last byte of its address in both networks. */
  readonly number: number;
}

export function rackOf(boardCount: number): readonly RackBoard[] {
  return Array.from({ length: boardCount }, (_, index) => ({
    name: `rack${index + 1}`,
    serial: (0x1000_0000 + index).toString(16),
    mac: `dc:a6:32:00:00:${index.toString(16).padStart(2, '0')}`,
    number: 101 + index,
  }));
}

export interface RackInputs {
  /** The files of the boot partition, once, to compare with. */
  readonly bootFolder: string;
  /** The image that all others are copies of, but for their disk signature. */
  readonly masterImage: string;
  imageOf(board: RackBoard): string;
  /** Holds a folder per serial. */
  readonly tftpRoot: string;
}

const MIB = 1024 * 1024;
const BOOT_AT = MIB;
const BOOT_BYTES = 512 * MIB;
const ROOT_BYTES = 64 * MIB;
/** Of the 512 bytes of an MBR. */
const DISK_SIGNATURE_AT = 440;

/** As large as those of Ubuntu for the Pi. */
const FILES: Readonly<Record<string, Uint8Array>> = {
  'config.txt': Buffer.from(
    '[all]\nkernel=vmlinuz\ncmdline=cmdline.txt\ninitramfs initrd.img followkernel\narm_64bit=1\n',
  ),
  'cmdline.txt': Buffer.from('console=serial0,115200 root=LABEL=writable rootwait\n'),
  'start4.elf': noise(2_260_000, 1),
  'fixup4.dat': noise(5_400, 2),
  'bcm2711-rpi-4-b.dtb': noise(55_000, 3),
  'overlays/overlay_map.dtb': noise(5_300, 4),
  vmlinuz: noise(25_000_000, 5),
  'initrd.img': noise(45_000_000, 6),
};

/** Some gigabytes in `folder`, all of it in the page cache. `theirAddress`: where the boards of the replaced stack have their disks. */
export async function makeInputs(
  folder: string,
  rack: readonly RackBoard[],
  theirAddress: string,
): Promise<RackInputs> {
  const inputs = {
    bootFolder: join(folder, 'boot'),
    masterImage: join(folder, 'master.img'),
    imageOf: (board: RackBoard) => join(folder, `${board.name}.img`),
    tftpRoot: join(folder, 'tftp'),
  };
  writeFolder(inputs.bootFolder, FILES);
  await makeImage(inputs.masterImage);
  for (const board of rack) {
    execFileSync('cp', ['--sparse=always', inputs.masterImage, inputs.imageOf(board)]);
    sign(inputs.imageOf(board), board);
    const cmdline = `console=serial0,115200 ip=dhcp nbdroot=${theirAddress}/${board.name} root=/dev/nbd0p2 rootwait\n`;
    writeFolder(join(inputs.tftpRoot, board.serial), { ...FILES, 'cmdline.txt': Buffer.from(cmdline) });
    readWhole(inputs.imageOf(board));
  }
  execFileSync('sync', ['--file-system', folder]); // or it is written back while the first rounds run
  return inputs;
}

/** MBR, FAT32 in clusters of 4 KiB as Ubuntu makes it, and a root partition that nobody has written to. */
async function makeImage(file: string): Promise<void> {
  writeFileSync(file, '');
  truncateSync(file, BOOT_AT + BOOT_BYTES + ROOT_BYTES);
  const device = await openFileDevice(file, { access: 'readWrite', lock: 'exclusive' });
  const sectors = (bytes: number) => bytes / 512;
  const boot = { type: MbrType.Fat32, firstSector: sectors(BOOT_AT), sectorCount: sectors(BOOT_BYTES), active: true };
  const root = {
    type: MbrType.Linux,
    firstSector: sectors(BOOT_AT + BOOT_BYTES),
    sectorCount: sectors(ROOT_BYTES),
  };
  await device.write(0, encodeMbr({ diskSignature: 0, partitions: [boot, root] }), { durable: false });
  const files = Object.entries(FILES).map(([path, bytes]) => ({ path, bytes }));
  await formatFat(slice(device, BOOT_AT, BOOT_BYTES), { type: 32, sectorsPerCluster: 8, files });
  await device.close();
}

/** So that a board can tell its own disk from another's. */
function sign(image: string, { serial }: RackBoard): void {
  const signature = Buffer.alloc(4);
  signature.writeUInt32LE(Number.parseInt(serial, 16));
  const file = openSync(image, 'r+');
  writeSync(file, signature, 0, signature.length, DISK_SIGNATURE_AT);
  closeSync(file);
}

function writeFolder(folder: string, files: Readonly<Record<string, Uint8Array>>): void {
  for (const [path, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
}

/** Into the page cache: `cp --sparse` leaves holes that were never read. */
function readWhole(path: string): void {
  const file = openSync(path, 'r');
  const buffer = Buffer.allocUnsafe(MIB);
  while (readSync(file, buffer) > 0);
  closeSync(file);
}

/** The same for the same seed; nothing that could be compressed or that lies in memory once. */
function noise(byteCount: number, seed: number): Uint8Array {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(byteCount));
}
