import { truncate, writeFile } from 'node:fs/promises';
import { openFileDevice } from '../block/file-device.js';
import { slice } from '../block/slice.js';
import { formatFat } from '../disk/fat/format.js';
import { encodeMbr, MBR_SECTOR_BYTES, MbrType } from '../disk/partition/mbr.js';

/** What the demo's image holds, so that whoever boots from it can tell whether it got the right bytes. */
export interface DemoImage {
  readonly file: string;
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly root: { readonly offset: number; readonly content: Uint8Array };
}

const MIB = 1024 * 1024;
const BOOT = { offset: MIB, sizeBytes: 64 * MIB };
const ROOT = { offset: 65 * MIB, sizeBytes: 16 * MIB };

/** Makes a small disk image as a Pi's: MBR, FAT32 boot partition, a root partition of known content. Sparse: about 12 MB. */
export async function makeDemoImage(file: string): Promise<DemoImage> {
  const files = demoFiles();
  const content = patterned(MIB, 7);
  await writeFile(file, '', { flag: 'wx' });
  await truncate(file, ROOT.offset + ROOT.sizeBytes);
  const device = await openFileDevice(file, { access: 'readWrite', lock: 'exclusive' });
  try {
    await device.write(0, demoTable(), { durable: false });
    await formatFat(slice(device, BOOT.offset, BOOT.sizeBytes), {
      type: 32,
      label: 'BOOTFS',
      hiddenSectorCount: BOOT.offset / MBR_SECTOR_BYTES,
      files: [...files].map(([path, bytes]) => ({ path, bytes })),
    });
    await device.write(ROOT.offset, content, { durable: false });
    await device.flush();
  } finally {
    await device.close();
  }
  return { file, files, root: { offset: ROOT.offset, content } };
}

/** Two primary partitions, as every image of a Pi begins. */
function demoTable(): Uint8Array {
  const partition = (type: number, { offset, sizeBytes }: typeof BOOT) => ({
    type,
    firstSector: offset / MBR_SECTOR_BYTES,
    sectorCount: sizeBytes / MBR_SECTOR_BYTES,
  });
  return encodeMbr({
    diskSignature: 0xb7a3b1e0,
    partitions: [{ ...partition(MbrType.Fat32, BOOT), active: true }, partition(MbrType.Linux, ROOT)],
  });
}

/** The files that a Pi 4 or 5 asks for; what would be firmware and kernel is a pattern that nothing can run. */
function demoFiles(): ReadonlyMap<string, Uint8Array> {
  const text = (lines: readonly string[]) => Buffer.from(`${lines.join('\n')}\n`);
  return new Map<string, Uint8Array>([
    [
      'config.txt',
      text(['# made by brambleboot demo', 'arm_64bit=1', 'kernel=kernel8.img', 'initramfs initramfs8 followkernel']),
    ],
    ['cmdline.txt', text(['console=serial0,115200 root=LABEL=writable rootfstype=ext4 rootwait'])],
    ['bootcode.bin', patterned(52_000, 1)],
    ['start.elf', patterned(300_000, 2)],
    ['fixup.dat', patterned(7_000, 3)],
    ['start4.elf', patterned(400_000, 4)],
    ['fixup4.dat', patterned(5_448, 5)],
    ['bcm2710-rpi-3-b.dtb', patterned(34_000, 6)],
    ['bcm2711-rpi-4-b.dtb', patterned(56_289, 8)],
    ['bcm2712-rpi-5-b.dtb', patterned(78_000, 9)],
    ['overlays/overlay_map.dtb', patterned(5_000, 10)],
    ['overlays/disable-bt.dtbo', patterned(1_073, 11)],
    ['kernel8.img', patterned(6 * MIB + 123, 12)],
    ['initramfs8', patterned(4 * MIB + 45, 13)],
  ]);
}

/** Bytes that differ from place to place, so that a block in the wrong one is seen; the same at every call. */
function patterned(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed;
  for (let index = 0; index < words.length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    words[index] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}
