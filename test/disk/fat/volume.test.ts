import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FAT_FILE_RUNS_MAX } from '../../../src/base/limits.js';
import { BlockError } from '../../../src/block/block-error.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { entryOffset } from '../../../src/disk/fat/allocation-table.js';
import { strided } from '../../../src/disk/fat/cluster-pool.js';
import { formatFat } from '../../../src/disk/fat/format.js';
import { type FatEntry, type FatVolume, openFat } from '../../../src/disk/fat/volume.js';
import { CountingDevice } from '../../support/counting-device.js';
import { makeVolume, PI_FILES, pattern, readEverything, readFile, text } from '../../support/fat-volumes.js';
import { faultOf, poke } from '../../support/faults.js';

const TYPES = [12, 16, 32] as const;
const END = { 12: 0xfff, 16: 0xffff, 32: 0x0fff_ffff } as const;

async function entryIn(volume: FatVolume, path: string): Promise<FatEntry> {
  return (await volume.find(path)) ?? assert.fail(`${path} is not there`);
}

/** What the table says comes after each cluster of a file. */
function setNext(device: MemoryDevice, volume: FatVolume, cluster: number, next: number): void {
  const { type, tableOffset } = volume.geometry;
  const at = tableOffset + entryOffset(type, cluster);
  if (type === 32) poke(device.bytes, at, 4, next);
  else if (type === 16) poke(device.bytes, at, 2, next);
  else {
    const both = (device.bytes[at] ?? 0) | ((device.bytes[at + 1] ?? 0) << 8);
    poke(device.bytes, at, 2, cluster % 2 === 0 ? (both & 0xf000) | next : (both & 0x000f) | (next << 4));
  }
}

for (const type of TYPES) {
  describe(`a FAT${type}`, () => {
    test('gives back every file, however it lies', async () => {
      const device = await makeVolume(type);
      const volume = await openFat(device);
      assert.equal(volume.geometry.type, type);
      for (const { path, bytes } of PI_FILES) assert.deepEqual(await readFile(device, volume, path), bytes, path);
      const start = await entryIn(volume, 'start4.elf');
      assert.ok((await volume.runs(start)).length > 30, 'is in fragments');
    });

    test('reads the same when nothing is in the page cache', async () => {
      const device = await makeVolume(type);
      const cold = new CountingDevice(device, { cold: true });
      assert.deepEqual(await readEverything(cold), await readEverything(device));
    });

    test('joins clusters that lie together into one run, and covers exactly the size', async () => {
      const device = new MemoryDevice(4 * 1024 * 1024);
      const files = [{ path: 'kernel.img', bytes: pattern(100_001) }];
      await formatFat(device, { type, files, sectorsPerCluster: type === 12 ? 4 : 1 });
      const volume = await openFat(device);
      const runs = await volume.runs(await entryIn(volume, 'kernel.img'));
      assert.deepEqual(
        runs.map(({ lengthBytes }) => lengthBytes),
        [100_001],
      );
      assert.deepEqual(await readFile(device, volume, 'kernel.img'), pattern(100_001));
    });

    test('finds a fault in each chain that is none', async () => {
      const device = await makeVolume(type);
      const volume = await openFat(device);
      const { firstCluster } = await entryIn(volume, 'start4.elf');
      const second = firstCluster + 3;
      const { clusterCount } = volume.geometry;
      const bad = { 12: 0xff7, 16: 0xfff7, 32: 0x0fff_fff7 }[type];
      const cases: readonly (readonly [next: number, value: RegExp])[] = [
        [0, /^0 \(free\)$/],
        [1, /^1 \(reserved\)$/],
        [bad, /\(bad\)$/],
        [clusterCount + 2, new RegExp(`^${clusterCount + 2}$`)],
        [second, new RegExp(`^${second}$`)],
        [firstCluster, new RegExp(`^${firstCluster}$`)],
        [END[type], /^end of chain after 2 clusters$/],
      ];
      for (const [next, value] of cases) {
        setNext(device, volume, second, next);
        const again = await openFat(device);
        const place = volume.geometry.tableOffset + entryOffset(type, second);
        const attempt = again.runs(await entryIn(again, 'start4.elf'));
        const fault = await faultOf(attempt, /FAT entry of cluster \d+, in the chain of file "start4.elf"/, place);
        assert.match(String(fault.value), value);
      }
    });

    test('finds a fault in a first cluster that is none', async () => {
      const device = await makeVolume(type);
      const volume = await openFat(device);
      const { entryAt } = await entryIn(volume, 'start4.elf');
      for (const cluster of [0, 1, volume.geometry.clusterCount + 2, 0xffff]) {
        poke(device.bytes, entryAt + 26, 2, cluster);
        const again = await openFat(device);
        const attempt = again.runs(await entryIn(again, 'start4.elf'));
        await faultOf(attempt, /first cluster of file "start4.elf"/, entryAt + 26);
      }
    });

    test('finds a fault in a file that is larger than its chain', async () => {
      const device = await makeVolume(type);
      const volume = await openFat(device);
      const { entryAt } = await entryIn(volume, 'config.txt');
      for (const sizeBytes of [513, 0xffff_ffff]) {
        poke(device.bytes, entryAt + 28, 4, sizeBytes);
        const attempt = volume.runs(await entryIn(volume, 'config.txt'));
        const fault = await faultOf(attempt, /chain of file "config.txt"/);
        assert.equal(fault.value, 'end of chain after 1 clusters');
      }
    });

    test('reads a file whose chain goes on behind its size, as one does that has room reserved', async () => {
      const device = await makeVolume(type);
      const volume = await openFat(device);
      const { entryAt } = await entryIn(volume, 'start4.elf');
      poke(device.bytes, entryAt + 28, 4, 700);
      assert.deepEqual(await readFile(device, await openFat(device), 'start4.elf'), pattern(20_000, 2).slice(0, 700));
      poke(device.bytes, entryAt + 28, 4, 0);
      const empty = await openFat(device);
      assert.deepEqual(await empty.runs(await entryIn(empty, 'start4.elf')), []);
    });

    test('finds a fault in a directory that lies in itself, however far down', async () => {
      const device = await makeVolume(type);
      const volume = await openFat(device);
      const overlays = await entryIn(volume, 'overlays');
      const still = await entryIn(volume, 'overlays/deeper/still');
      poke(device.bytes, still.entryAt + 26, 2, overlays.firstCluster);
      const again = await openFat(device);
      assert.equal((await again.find('overlays/deeper/still'))?.kind, 'directory');
      const structure = /first cluster of directory "overlays\/deeper\/still"/;
      await faultOf(again.find('overlays/deeper/still/dwc2.dtbo'), structure, still.entryAt + 26);
      await faultOf(again.list('overlays/deeper/still'), structure);
      if (type !== 32) return;
      poke(device.bytes, still.entryAt + 26, 2, 2);
      await faultOf((await openFat(device)).list('overlays/deeper/still'), structure);
    });

    test('finds a fault in a directory whose chain loops, before it reads it', async () => {
      const device = await makeVolume(type);
      const volume = await openFat(device);
      const { firstCluster } = await entryIn(volume, 'overlays');
      setNext(device, volume, firstCluster, firstCluster);
      const counting = new CountingDevice(device);
      await faultOf((await openFat(counting)).find('overlays/nothing'), /in the chain of directory "overlays"/);
      assert.ok(counting.reads < 10);
    });
  });
}

describe('a lookup', () => {
  test('is blind to case and answers in the case of the disk', async () => {
    const volume = await openFat(await makeVolume(32));
    for (const path of ['CONFIG.TXT', 'Config.txt', 'config.txt']) {
      assert.equal((await entryIn(volume, path)).path, 'config.txt');
    }
    assert.equal((await entryIn(volume, 'OVERLAYS/deeper/STILL/grÖße.TXT')).path, 'overlays/deeper/still/Größe.txt');
  });

  test('finds nothing under a name that the file does not have', async () => {
    const volume = await openFat(await makeVolume(16));
    const names = ['cmdline.txt ', 'cmdline.txt.', 'cmdline.txt..', 'cmdline.txt/', '/cmdline.txt', './cmdline.txt'];
    const detours = [
      'overlays/../cmdline.txt',
      'overlays//dwc2.dtbo',
      'overlays\\dwc2.dtbo',
      'cmdline.txt\0',
      'cmdlıne.txt',
    ];
    const aliases = ['BCM271~1.DTB', 'bcm271~1.dtb', 'overlays/DISABL~1.DTB', 'BOOTFS', 'bootfs'];
    const nothing = ['', '/', '.', '..', 'cmdline.txt/x', 'overlays/..', 'overlays/.', 'no', 'x'.repeat(5000)];
    const deep = ['overlays/'.repeat(100), Array.from({ length: 33 }, () => 'overlays').join('/')];
    for (const path of [...names, ...detours, ...aliases, ...nothing, ...deep]) {
      assert.equal(await volume.find(path), undefined, JSON.stringify(path));
    }
    assert.equal((await entryIn(volume, 'bcm2711-rpi-4-b.dtb')).sizeBytes, 5000);
  });

  test('and the list of a directory agree', async () => {
    const volume = await openFat(await makeVolume(32));
    for (const path of ['', 'overlays', 'overlays/deeper']) {
      for (const entry of (await volume.list(path)) ?? assert.fail(path)) {
        assert.deepEqual(await volume.find(entry.path), entry);
      }
    }
    assert.equal(await volume.list('config.txt'), undefined);
    assert.equal(await volume.list('nowhere'), undefined);
    assert.equal(await volume.list('overlays/..'), undefined);
  });

  test('of two names that differ in case only gives the first, and the list has only that', async () => {
    const files = [
      { path: 'first.txt', bytes: text('first') },
      { path: 'other.txt', bytes: text('other') },
    ];
    const device = await makeVolume(12, files);
    const other = await entryIn(await openFat(device), 'other.txt');
    device.bytes.set(text('FIRST   TXT'), other.entryAt);
    const volume = await openFat(device);
    assert.deepEqual(await readFile(device, volume, 'FIRST.TXT'), text('first'));
    const listed = (await volume.list('')) ?? [];
    assert.deepEqual(
      listed.map(({ path }) => path),
      ['first.txt'],
    );
  });

  test('takes a long name with a false checksum for none, and the file by its short one', async () => {
    const device = await makeVolume(12);
    const volume = await openFat(device);
    const { entryAt } = await entryIn(volume, 'bcm2711-rpi-4-b.dtb');
    poke(device.bytes, entryAt - 32 + 13, 1, (device.bytes[entryAt - 32 + 13] ?? 0) ^ 1);
    assert.equal(await volume.find('bcm2711-rpi-4-b.dtb'), undefined);
    assert.equal((await entryIn(volume, 'bcm271~1.dtb')).sizeBytes, 5000);
  });

  test('never gives a label, a deleted file or what stands behind the end marker', async () => {
    const device = await makeVolume(12);
    const volume = await openFat(device);
    const { entryAt } = await entryIn(volume, 'config.txt');
    const attributes = device.bytes[entryAt + 11] ?? 0;
    poke(device.bytes, entryAt + 11, 1, 0x08);
    assert.equal(await volume.find('config.txt'), undefined, 'label');
    poke(device.bytes, entryAt + 11, 1, 0x18);
    assert.equal(await volume.find('config.txt'), undefined, 'label and directory');
    poke(device.bytes, entryAt + 11, 1, attributes);
    poke(device.bytes, entryAt, 1, 0xe5);
    assert.equal(await volume.find('config.txt'), undefined, 'deleted');
    assert.equal((await entryIn(volume, 'cmdline.txt')).path, 'cmdline.txt');
    poke(device.bytes, entryAt, 1, 0);
    assert.equal(await volume.find('cmdline.txt'), undefined, 'behind the end');
    assert.deepEqual(await volume.list(''), []);
  });

  test('ignores the upper half of a cluster number where it means something else', async () => {
    const device = await makeVolume(16);
    const { entryAt } = await entryIn(await openFat(device), 'config.txt');
    poke(device.bytes, entryAt + 20, 2, 0xffff);
    assert.deepEqual(await readFile(device, await openFat(device), 'config.txt'), PI_FILES[0]?.bytes);
  });
});

describe('a volume', () => {
  test('passes on what the device says', async () => {
    const device = await makeVolume(16);
    const failing = new CountingDevice(device, { cold: true });
    const volume = await openFat(failing);
    failing.read = async () => {
      throw new BlockError('EIO', { offset: 0, lengthBytes: 512 });
    };
    await assert.rejects(volume.find('config.txt'), BlockError);
  });

  test('refuses a directory of more than 65,536 entries', async () => {
    const device = new MemoryDevice(8 * 1024 * 1024);
    const files = [{ path: 'many/one', bytes: pattern(3 * 1024 * 1024) }];
    await formatFat(device, { type: 16, files, sectorsPerCluster: 1 });
    const volume = await openFat(device);
    const many = await entryIn(volume, 'many');
    const { firstCluster } = await entryIn(volume, 'many/one');
    setNext(device, volume, many.firstCluster, firstCluster);
    await faultOf((await openFat(device)).list('many'), /in the chain of directory "many"/);
  });

  test('refuses a file in more pieces than any boot file has', async () => {
    // Most of this is never touched: only its FAT is written, with a chain of every other cluster.
    const device = new MemoryDevice(290 * 1024 * 1024);
    const files = [{ path: 'boot.img', bytes: text('x') }];
    await formatFat(device, { type: 32, files, sectorsPerCluster: 1 });
    const volume = await openFat(device);
    const { entryAt, firstCluster } = await entryIn(volume, 'boot.img');
    poke(device.bytes, entryAt + 28, 4, (FAT_FILE_RUNS_MAX + 1) * 512);
    for (let index = 0; index <= FAT_FILE_RUNS_MAX; index += 1) {
      setNext(device, volume, firstCluster + 2 * index, firstCluster + 2 * index + 2);
    }
    const again = await openFat(device);
    const fault = await faultOf(again.runs(await entryIn(again, 'boot.img')), /in the chain of file "boot.img"/);
    assert.equal(fault.sound, 'in at most 262144 runs');
  });

  test('lets others run while it follows a long chain', async () => {
    const device = new MemoryDevice(290 * 1024 * 1024);
    await formatFat(device, { type: 32, files: [{ path: 'boot.img', bytes: text('x') }], sectorsPerCluster: 1 });
    const volume = await openFat(device);
    const { entryAt, firstCluster } = await entryIn(volume, 'boot.img');
    const clusterCount = 500_000;
    poke(device.bytes, entryAt + 28, 4, clusterCount * 512);
    for (let index = 0; index < clusterCount; index += 1) {
      setNext(device, volume, firstCluster + index, firstCluster + index + 1);
    }
    const again = await openFat(device);
    const entry = await entryIn(again, 'boot.img');
    let turns = 0;
    const count = () => {
      turns += 1;
      turning = setImmediate(count);
    };
    let turning = setImmediate(count);
    assert.equal((await again.runs(entry)).length, 1);
    clearImmediate(turning);
    assert.ok(turns >= 7, `${turns} turns`);
  });

  test('reads a large FAT in few pieces, and follows a chain that jumps about in it', async () => {
    const device = new MemoryDevice(80 * 1024 * 1024);
    const bytes = new Uint8Array(20 * 1024 * 1024);
    const clusterOrder = strided(400);
    await formatFat(device, { type: 32, files: [{ path: 'initrd', bytes }], sectorsPerCluster: 1, clusterOrder });
    const counting = new CountingDevice(device);
    const volume = await openFat(counting);
    const runs = await volume.runs(await entryIn(volume, 'initrd'));
    assert.equal(runs.length, 40_960);
    // 640 kB of FAT: forty pieces, the root directory, the boot sector.
    assert.ok(counting.reads < 50, `${counting.reads} reads`);
  });
});
