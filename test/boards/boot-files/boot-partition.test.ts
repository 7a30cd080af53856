import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Budget } from '../../../src/base/budget.js';
import { BOOT_FILE_PIECE_BYTES } from '../../../src/base/limits.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { slice } from '../../../src/block/slice.js';
import { watched } from '../../../src/block/watched-device.js';
import { BootPartition, findIn, readFrom } from '../../../src/boards/boot-files/boot-partition.js';
import { PieceStore } from '../../../src/boards/boot-files/piece-store.js';
import { DiskFault } from '../../../src/disk/disk-fault.js';
import { formatFat } from '../../../src/disk/fat/format.js';

const OFFSET = 1024 * 1024;
const SIZE = 4 * 1024 * 1024;

type Files = Readonly<Record<string, Uint8Array>>;

/** A disk with a FAT16 at OFFSET; `rewrite` formats it anew through the watched device, write by write, as a board might. */
async function fixture(files: Files) {
  const memory = new MemoryDevice(OFFSET + SIZE);
  await format(slice(memory, OFFSET, SIZE), files);
  const disk = watched(memory);
  let located = 0;
  const kept = new PieceStore(64 * 1024 * 1024);
  const partition = new BootPartition(
    disk,
    async () => {
      located += 1;
      return { boot: { offset: OFFSET, sizeBytes: SIZE }, rootPartition: 2 };
    },
    { kept, saved: new PieceStore(64 * 1024 * 1024), remembered: new Budget(1e9) },
  );
  return {
    memory,
    disk,
    partition,
    kept,
    locatedCount: () => located,
    rewrite: (now: Files) => format(slice(disk, OFFSET, SIZE), now),
    find: (path: string) => partition.look((view) => findIn(view, path)),
  };
}

async function format(device: Parameters<typeof formatFat>[0], files: Files): Promise<void> {
  await formatFat(device, { type: 16, files: Object.entries(files).map(([path, bytes]) => ({ path, bytes })) });
}

function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

async function held(partition: BootPartition, found: Awaited<ReturnType<typeof findIn>>) {
  assert.ok(found);
  const file = await partition.hold(found);
  assert.ok(file !== 'changed');
  return file;
}

async function readAll(file: { readonly sizeBytes: number; read(offset: number, target: Uint8Array): Promise<void> }) {
  const bytes = new Uint8Array(file.sizeBytes);
  await file.read(0, bytes);
  return bytes;
}

describe('a boot partition that its board writes', () => {
  test('what was written before a look is seen by it', async () => {
    const { find, rewrite, partition } = await fixture({ 'config.txt': filled(100, 1) });
    assert.equal((await find('CONFIG.TXT'))?.sizeBytes, 100);
    await rewrite({ 'config.txt': filled(3000, 2), 'new.txt': filled(5, 3) });
    assert.equal((await find('config.txt'))?.sizeBytes, 3000);
    assert.deepEqual(await partition.look((view) => readFrom(view, 'new.txt', 1000)), filled(5, 3));
    assert.equal(await find('gone.txt'), undefined);
  });

  test('a file that was held keeps its bytes while everything is overwritten', async () => {
    const { find, rewrite, partition } = await fixture({ 'kernel8.img': filled(700_000, 1) });
    const file = await held(partition, await find('kernel8.img'));
    await rewrite({ 'other.img': filled(2_000_000, 9) });
    assert.deepEqual(await readAll(file), filled(700_000, 1));
    file.close();
    assert.equal(await find('kernel8.img'), undefined);
  });

  test('between look and hold the content may change, and counts as it is at the hold', async () => {
    const { find, rewrite, partition } = await fixture({ a: filled(1000, 1), b: filled(1000, 2) });
    const found = await find('a');
    await rewrite({ b: filled(1000, 3), a: filled(1000, 4) });
    assert.deepEqual(await readAll(await held(partition, found)), filled(1000, 4));
  });

  test('another size at the hold, or no file, is a change', async () => {
    const { find, rewrite, partition } = await fixture({ a: filled(1000, 1), b: filled(1000, 2) });
    const [a, b] = [await find('a'), await find('b')];
    await rewrite({ a: filled(1001, 1) });
    assert.ok(a && b);
    assert.equal(await partition.hold(a), 'changed');
    assert.equal(await partition.hold(b), 'changed');
  });

  test('two transfers of an unchanged file share its bytes, also by another spelling; after a write they do not', async () => {
    const { find, rewrite, partition, kept } = await fixture({ 'Kernel8.img': filled(5000, 1) });
    const first = await held(partition, await find('kernel8.img'));
    const second = await held(partition, await find('KERNEL8.IMG'));
    for (const file of [first, second]) await file.read(1, new Uint8Array(1));
    assert.equal(kept.usedBytes, BOOT_FILE_PIECE_BYTES);
    await rewrite({ 'Kernel8.img': filled(5000, 2) });
    const later = await held(partition, await find('kernel8.img'));
    await later.read(1, new Uint8Array(1));
    assert.equal(kept.usedBytes, 2 * BOOT_FILE_PIECE_BYTES);
    assert.deepEqual(await readAll(first), filled(5000, 1));
    assert.deepEqual(await readAll(later), filled(5000, 2));
  });

  test('a look that a write ran into is made again', async () => {
    const { disk, partition } = await fixture({ a: filled(10, 1) });
    let looks = 0;
    const result = await partition.look(async (view) => {
      looks += 1;
      if (looks === 1) await disk.write(OFFSET + SIZE - 1, filled(1, 0), { durable: false });
      return (await findIn(view, 'a'))?.sizeBytes;
    });
    assert.deepEqual([result, looks], [10, 2]);
  });

  test('a fault that a write ran into is none', async () => {
    const { disk, partition } = await fixture({ a: filled(10, 1) });
    let looks = 0;
    const result = await partition.look(async () => {
      looks += 1;
      if (looks > 1) return 'sound';
      await disk.write(OFFSET + SIZE - 1, filled(1, 0), { durable: false });
      throw new DiskFault({ structure: 'half-written', offset: 0, value: 0, sound: 'whole' });
    });
    assert.equal(result, 'sound');
  });

  test('under writes without end the look is made while they wait, and they go on after it', async () => {
    const { disk, partition } = await fixture({ a: filled(10, 1) });
    let writing = true;
    let writes = 0;
    const storm = (async () => {
      while (writing) {
        await disk.write(OFFSET + SIZE - 1, filled(1, 0), { durable: false });
        writes += 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    let looks = 0;
    const found = await partition.look(async (view) => {
      looks += 1;
      for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      return findIn(view, 'a');
    });
    const writesAtLook = writes;
    assert.equal(found?.sizeBytes, 10);
    assert.ok(looks >= 2 && looks <= 5, `${looks} looks`);
    for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    writing = false;
    await storm;
    assert.ok(writes > writesAtLook);
  });

  test('writes to other partitions change nothing; a write to the table makes it be read again', async () => {
    const memory = new MemoryDevice(OFFSET + SIZE + 1000);
    await format(slice(memory, OFFSET, SIZE), { a: filled(10, 1) });
    const disk = watched(memory);
    let located = 0;
    const locate = async () => {
      located += 1;
      return { boot: { offset: OFFSET, sizeBytes: SIZE }, rootPartition: 2 };
    };
    const partition = new BootPartition(disk, locate, {
      kept: new PieceStore(0),
      saved: new PieceStore(0),
      remembered: new Budget(0),
    });
    const first = await partition.look(async (view) => view);
    await disk.write(OFFSET + SIZE, filled(1000, 7), { durable: false });
    assert.equal(await partition.look(async (view) => view), first);
    assert.equal(located, 1);
    await disk.write(446, filled(1, 0x80), { durable: false });
    assert.notEqual(await partition.look(async (view) => view), first);
    assert.equal(located, 2);
  });

  test('a file stays held when the table is written after it', async () => {
    const { disk, find, partition, rewrite } = await fixture({ a: filled(300_000, 1) });
    const file = await held(partition, await find('a'));
    await disk.write(0, filled(512, 0), { durable: false });
    await rewrite({ z: filled(3_000_000, 9) });
    assert.deepEqual(await readAll(file), filled(300_000, 1));
  });

  test('a damaged volume is a fault, each time it is looked at, until it is mended', async () => {
    const { disk, find, rewrite } = await fixture({ a: filled(10, 1) });
    await disk.zero(OFFSET, 512, { keepAllocated: false, durable: false });
    await assert.rejects(find('a'), DiskFault);
    await assert.rejects(find('a'), DiskFault);
    await rewrite({ a: filled(20, 1) });
    assert.equal((await find('a'))?.sizeBytes, 20);
  });
});

describe('what is remembered of an unchanged partition', () => {
  test('a file found once is not looked for again, and is after a write', async () => {
    const { disk, partition } = await fixture({ a: filled(5000, 1) });
    const find = () => partition.look((view) => partition.findIn(view, 'a'));
    const first = await find();
    assert.equal(await find(), first);
    await disk.write(OFFSET + SIZE - 1, filled(1, 0), { durable: false });
    assert.notEqual(await find(), first);
  });

  test('the memory for it is bounded, and given back by a write', async () => {
    const remembered = new Budget(3);
    const disk = watched(new MemoryDevice(OFFSET + SIZE));
    await format(slice(disk, OFFSET, SIZE), { a: filled(10, 1), b: filled(10, 2) });
    const layout = { boot: { offset: OFFSET, sizeBytes: SIZE }, rootPartition: undefined };
    const partition = new BootPartition(disk, async () => layout, {
      kept: new PieceStore(0),
      saved: new PieceStore(0),
      remembered,
    });
    for (const path of ['a', 'b', 'a', 'A']) await partition.look((view) => partition.findIn(view, path));
    assert.equal(remembered.used, 2);
    await disk.write(OFFSET + SIZE - 1, filled(1, 0), { durable: false });
    assert.equal(remembered.used, 0);
  });
});

describe('a boot partition under pressure', () => {
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  test('is looked at although some write is always under way', async () => {
    const { memory, disk, find } = await fixture({ a: filled(10, 1) });
    const write = memory.write.bind(memory);
    memory.write = async (offset, source) => {
      for (let turns = 0; turns < 5; turns += 1) await turn();
      await write(offset, source);
    };
    let writing = true;
    const storm = async () => {
      while (writing) await disk.write(OFFSET + SIZE - 1, filled(1, 0), { durable: false });
    };
    const storms = [storm(), turn().then(storm), turn().then(turn).then(storm)];
    for (let round = 0; round < 5; round += 1) assert.equal((await find('a'))?.sizeBytes, 10);
    writing = false;
    await Promise.all(storms);
  });

  test('a flood of looks costs a write no more than the look that it meets', async () => {
    const { disk, partition, find } = await fixture({ a: filled(10, 1) });
    let looks = 0;
    const flood = Array.from({ length: 200 }, () =>
      partition.look(async (view) => {
        looks += 1;
        await turn();
        return findIn(view, 'a');
      }),
    );
    const waits: number[] = [];
    for (let writes = 0; writes < 20; writes += 1) {
      const before = looks;
      await disk.write(OFFSET + SIZE - 1, filled(1, 0), { durable: false });
      waits.push(looks - before);
      await turn();
    }
    assert.ok(Math.max(...waits) <= 3, `looks made while a write waited: ${waits.join(' ')}`);
    const found = await Promise.all(flood);
    assert.ok(found.every((file) => file?.sizeBytes === 10));
    assert.equal((await find('a'))?.sizeBytes, 10);
  });

  test('a file stays held on the old place of a partition that was moved', async () => {
    const memory = new MemoryDevice(OFFSET + 3 * SIZE);
    await format(slice(memory, OFFSET, SIZE), { a: filled(300_000, 1) });
    await format(slice(memory, OFFSET + SIZE, SIZE), { a: filled(500, 2) });
    const disk = watched(memory);
    let place = OFFSET;
    const locate = async () => ({ boot: { offset: place, sizeBytes: SIZE }, rootPartition: 2 });
    const memoryFor = {
      kept: new PieceStore(64 * 1024 * 1024),
      saved: new PieceStore(64 * 1024 * 1024),
      remembered: new Budget(1e9),
    };
    const partition = new BootPartition(disk, locate, memoryFor);
    const find = () => partition.look((view) => partition.findIn(view, 'a'));
    const old = await held(partition, await find());
    place = OFFSET + SIZE;
    await disk.write(446, filled(16, 0), { durable: false });
    const moved = await held(partition, await find());
    await disk.zero(OFFSET, SIZE, { keepAllocated: false, durable: false });
    assert.deepEqual(await readAll(old), filled(300_000, 1));
    assert.deepEqual(await readAll(moved), filled(500, 2));
  });
});
