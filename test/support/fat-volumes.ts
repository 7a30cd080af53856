import type { BlockDevice } from '../../src/block/block-device.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { strided } from '../../src/disk/fat/cluster-pool.js';
import type { FatFile } from '../../src/disk/fat/file-tree.js';
import { formatFat } from '../../src/disk/fat/format.js';
import type { FatType } from '../../src/disk/fat/geometry.js';
import { type FatVolume, openFat } from '../../src/disk/fat/volume.js';

export function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

/** Bytes that differ from cluster to cluster, so that a wrong order is seen. */
export function pattern(lengthBytes: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, index) => ((index * 31) ^ (index >> 8)) + seed);
}

export const PI_FILES: readonly FatFile[] = [
  { path: 'config.txt', bytes: text('[all]\nkernel=vmlinuz\n') },
  { path: 'cmdline.txt', bytes: text('console=tty1 root=/dev/mmcblk0p2\n') },
  { path: 'bcm2711-rpi-4-b.dtb', bytes: pattern(5000) },
  { path: 'start4.elf', bytes: pattern(20_000, 2) },
  { path: 'empty', bytes: new Uint8Array() },
  { path: 'overlays/dwc2.dtbo', bytes: pattern(801, 3) },
  { path: 'overlays/disable-bluetooth.dtbo', bytes: pattern(1073, 4) },
  { path: 'overlays/deeper/still/Größe.txt', bytes: text('ü') },
];

/** The smallest volumes of each type with the files of a Pi in fragments: 128 KiB, 2.3 MB, 256 KiB. */
export async function makeVolume(type: FatType, files: readonly FatFile[] = PI_FILES): Promise<MemoryDevice> {
  const sizes = { 12: 128 * 1024, 16: 4500 * 512, 32: 256 * 1024 } as const;
  const device = new MemoryDevice(sizes[type]);
  await formatFat(device, { type, files, sectorsPerCluster: 1, clusterOrder: strided(3), label: 'BOOTFS' });
  return device;
}

/** A whole file as its runs have it. */
export async function readFile(device: BlockDevice, volume: FatVolume, path: string): Promise<Uint8Array> {
  const entry = await volume.find(path);
  if (entry === undefined) throw new Error(`${path} is not there`);
  const bytes = new Uint8Array(entry.sizeBytes);
  let done = 0;
  for (const { offset, lengthBytes } of await volume.runs(entry)) {
    await device.read(offset, bytes.subarray(done, done + lengthBytes));
    done += lengthBytes;
  }
  if (done !== entry.sizeBytes) throw new Error(`runs of ${done} bytes for ${entry.sizeBytes}`);
  return bytes;
}

/** Every path below the root with its content, directories as `undefined`; at most `limit` of them. */
export async function readEverything(
  device: BlockDevice,
  limit = 1000,
): Promise<ReadonlyMap<string, Uint8Array | undefined>> {
  const volume = await openFat(device);
  const found = new Map<string, Uint8Array | undefined>();
  const waiting = [''];
  for (let path = waiting.pop(); path !== undefined && found.size < limit; path = waiting.pop()) {
    for (const entry of (await volume.list(path)) ?? []) {
      if (entry.kind === 'directory') waiting.push(entry.path);
      found.set(entry.path, entry.kind === 'file' ? await readFile(device, volume, entry.path) : undefined);
    }
  }
  return found;
}
