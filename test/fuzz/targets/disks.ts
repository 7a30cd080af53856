import { MemoryDevice } from '../../../src/block/memory-device.js';
import { CountingDevice } from '../../support/counting-device.js';
import { makeVolume } from '../../support/fat-volumes.js';
import { makeGptImage, SMALL_GPT } from '../../support/gpt-images.js';
import { readAll } from '../../support/hostile-volume.js';
import { extendedDisk, tableOrFault } from '../../support/partition-disks.js';
import type { FuzzTarget } from '../target.js';

interface Change {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/**
 * What is changed in an image, so that an input is small however large the image: at (u24), length (u8, of which the low four
 * bits count), bytes.
 */
function changesIn(input: Uint8Array, sizeBytes: number): Change[] {
  const found: Change[] = [];
  let rest = input;
  while (rest.length > 4 && found.length < 64) {
    const [high = 0, middle = 0, low = 0, length = 0] = rest;
    const at = (high * 0x1_0000 + middle * 0x100 + low) % sizeBytes;
    const end = 4 + (length & 15) + 1;
    found.push({ at, bytes: rest.subarray(4, end).subarray(0, sizeBytes - at) });
    rest = rest.subarray(end);
  }
  return found;
}

function change(at: number, ...bytes: readonly number[]): Uint8Array {
  return Uint8Array.of((at >> 16) & 0xff, (at >> 8) & 0xff, at & 0xff, bytes.length - 1, ...bytes);
}

/** Of the boot sector, where the structures are found from; of the first sectors of the FAT; of whatever lies there. */
const FAT_CHANGES: readonly Uint8Array[] = [
  ...[11, 13, 14, 16, 17, 19, 22, 32, 36, 44, 48].map((at) => change(at, 0xff, 0xff)),
  ...[512, 520, 1024, 2048, 4096, 8192].map((at) => change(at, 2, 0, 0, 0, 3, 0, 0, 0)),
  ...[16, 32, 64].map((kibibytes) => change(kibibytes * 1024 + 26, 2, 0, 0xff, 0xff, 0xff, 0x7f)),
];

const WHILE_READ = 0x80;

/** A FAT12, 16 or 32 (first byte) with bytes changed, before it is read or (bit 7) while it is. */
export const fat: FuzzTarget = {
  name: 'fat',
  good: async () =>
    [0, 1, 2, WHILE_READ, WHILE_READ | 1, WHILE_READ | 2].map((how) =>
      Buffer.concat([Uint8Array.of(how), ...FAT_CHANGES.slice(how & 3, 8 + (how & 3) * 4)]),
    ),
  words: FAT_CHANGES,
  inputBytesMax: 600,
  caseCpuMsMax: 3000,
  async start() {
    const volumes = [await makeVolume(12), await makeVolume(16), await makeVolume(32)].map(({ bytes }) => bytes);
    return {
      async check(input) {
        const [how = 0] = input;
        const bytes = Uint8Array.from(volumes[(how & 0x7f) % volumes.length] ?? []);
        const changes = changesIn(input.subarray(1), bytes.length);
        await readAll((how & WHILE_READ) === 0 ? changedBefore(bytes, changes) : changedMeanwhile(bytes, changes));
      },
    };
  },
};

function changedBefore(bytes: Uint8Array, changes: readonly Change[]): CountingDevice {
  for (const { at, bytes: content } of changes) bytes.set(content, at);
  return new CountingDevice(new MemoryDevice(bytes));
}

function changedMeanwhile(bytes: Uint8Array, changes: Change[]): CountingDevice {
  const device = new CountingDevice(new MemoryDevice(bytes), { cold: true });
  const read = device.read.bind(device);
  device.read = async (offset, target) => {
    const next = changes.shift();
    if (next !== undefined) await device.write(next.at, next.bytes, { durable: false });
    await read(offset, target);
  };
  return device;
}

/** An MBR with logical partitions, a GPT or a FAT without a table, changed and cut; or (first byte 3) the bytes themselves. */
export const partitions: FuzzTarget = {
  name: 'partitions',
  good: async () => [
    ...[0, 1, 2].map((which) => Uint8Array.of(which, 0, 0, 0, ...change(450, 5), ...change(0x200 + 72, 0xff, 0xff))),
    Buffer.concat([Uint8Array.of(3), new Uint8Array(446), Buffer.alloc(64, 0x0b), Uint8Array.of(0x55, 0xaa)]),
  ],
  words: [0, 1, 2, 3]
    .flatMap((entry) => [change(446 + entry * 16, 0x80, 0, 0, 0, 5), change(454 + entry * 16, 1, 0, 0, 0, 1, 0, 0, 0)])
    .concat([8, 16, 24, 32, 40, 48, 72, 80, 84].map((field) => change(512 + field, 0xff, 0xff, 0xff, 0x7f)))
    .concat([256, 356].map((sector) => change(sector * 512 + 446 + 20, 0, 0, 0, 0, 0, 0, 0, 0))),
  inputBytesMax: 3000,
  caseCpuMsMax: 2000,
  async start() {
    const images = [await extendedDisk(), makeGptImage(SMALL_GPT), await makeVolume(12)].map(({ bytes }) => bytes);
    return {
      async check(input) {
        const [which = 0, ...cut] = input.subarray(0, 4);
        const image = images[which % 4];
        const bytes = image === undefined ? Uint8Array.from(input.subarray(1)) : changedImage(image, cut, input);
        await tableOrFault(new CountingDevice(new MemoryDevice(bytes)));
      },
    };
  },
};

function changedImage(image: Uint8Array, cut: readonly number[], input: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(image);
  for (const { at, bytes: content } of changesIn(input.subarray(4), bytes.length)) bytes.set(content, at);
  const [high = 0, middle = 0, low = 0] = cut;
  return bytes.subarray(0, bytes.length - ((high * 0x1_0000 + middle * 0x100 + low) % bytes.length));
}
