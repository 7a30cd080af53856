import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Extent } from '../../../src/block/block-device.js';
import { BlockError } from '../../../src/block/block-error.js';
import { grown } from '../../../src/block/grown-device.js';
import type { MemoryDevice } from '../../../src/block/memory-device.js';
import { OverlayDevice } from '../../../src/block/overlay/overlay-device.js';
import { OverlayDamaged, OverlayFile } from '../../../src/block/overlay/overlay-file.js';
import { fileBytes, MAP_AT, type OverlayHeader, SECTOR_BYTES } from '../../../src/block/overlay/overlay-format.js';
import { FaultDevice } from '../../support/fault-device.js';
import { noise, seeded } from '../../support/random.js';
import { SparseDevice } from '../../support/sparse-device.js';

const BLOCK = 4096;
/** Ends in the middle of a block, and so does the image, long before it. */
const SIZE = 61 * BLOCK + 1234;
const IMAGE_BYTES = 40 * BLOCK + 700;
const SOFT = { keepAllocated: false, durable: false };
const KEPT = { keepAllocated: true, durable: false };

function headerOf(sizeBytes: number): OverlayHeader {
  return { id: '5a'.repeat(16), base: 'b5'.repeat(16), board: 'node1', sizeBytes, capacityBytes: sizeBytes };
}

async function overlay({ sizeBytes = SIZE, image = new SparseDevice(noise(IMAGE_BYTES)) as MemoryDevice } = {}) {
  const header = headerOf(sizeBytes);
  const medium = new FaultDevice(fileBytes(header));
  const file = await OverlayFile.make(medium, header);
  const model = Buffer.alloc(sizeBytes);
  model.set(image.bytes);
  const disk = new OverlayDevice(grown(image, sizeBytes), file);
  medium.attempts.length = 0;
  return { disk, medium, file, model, image, dataAt: file.dataAt };
}

async function contentOf(disk: OverlayDevice): Promise<Buffer> {
  const content = Buffer.alloc(disk.sizeBytes, 0xa5);
  await disk.read(0, content);
  return content;
}

async function reopened(medium: FaultDevice, image: MemoryDevice): Promise<OverlayDevice> {
  const file = await OverlayFile.open(medium);
  return new OverlayDevice(grown(image, file.header.sizeBytes), file);
}

describe('an overlay', () => {
  test('begins as the image and zeroes behind it, and has nothing of its own', async () => {
    const { disk, model } = await overlay();
    assert.ok((await contentOf(disk)).equals(model));
    assert.deepEqual([...disk.ownRuns()], []);
    assert.equal(disk.ownBytes, 0);
    assert.ok(disk.isUntouched(0, SIZE));
  });

  test('is what a model of it is, over many changes at once that meet in the middle of blocks', async () => {
    for (let history = 0; history < 40; history += 1) {
      const { disk, medium, model, image } = await overlay();
      const chance = seeded(history);
      // Operations that were begun together overtake each other.
      medium.pause = () => (chance.below(2) === 0 ? undefined : new Promise((resolve) => setImmediate(resolve)));
      const bounds = [0, 5 * BLOCK + 1, 5 * BLOCK + 511, 17 * BLOCK - 3, 39 * BLOCK + 100, 55 * BLOCK, SIZE];
      await Promise.all(
        bounds.slice(1).map(async (end, index) => {
          const start = bounds[index] ?? 0;
          for (let step = 0; step < 40; step += 1) {
            const offset = start + chance.below(end - start);
            const length = 1 + chance.below(Math.min(end - offset, chance.pick([3, BLOCK, 5 * BLOCK]) ?? 1));
            const what = await change(disk, model, { offset, length, chance });
            const there = new Uint8Array(length);
            await disk.read(offset, there);
            const isRight = model.subarray(offset, offset + length).equals(there);
            assert.ok(isRight, `history ${history}: ${what} of ${length} at ${offset}`);
          }
        }),
      );
      assert.ok((await contentOf(disk)).equals(model), `history ${history}`);
      assertCovers(await disk.extents(0, SIZE), 0, SIZE, model);
      const [at, length] = [chance.below(SIZE), chance.below(9000)];
      assertCovers(await disk.extents(at, Math.min(length, SIZE - at)), at, Math.min(SIZE, at + length), model);
      await disk.flush();
      const again = await reopened(medium, image);
      assert.ok((await contentOf(again)).equals(model), `history ${history}, opened again`);
      assert.deepEqual([...again.ownRuns()], [...disk.ownRuns()]);
    }
  });

  test('writes where a block is its own already as into a file, and asks nobody else', async () => {
    const { disk, medium, dataAt } = await overlay();
    await disk.write(8192, noise(BLOCK), { durable: true });
    medium.attempts.length = 0;
    await disk.write(8192 + 5, noise(7), { durable: false });
    assert.deepEqual(medium.attempts, [`write ${dataAt + 8197}+7`]);
    const flushes = medium.flushes;
    await disk.flush();
    assert.equal(medium.flushes, flushes + 1); // nothing of the map has to be written down
  });

  test('takes the rest of a block from beneath where a write has only a part of it', async () => {
    const { disk, medium, model, dataAt } = await overlay();
    const bytes = noise(3 * BLOCK, 2);
    await disk.write(BLOCK + 100, bytes, { durable: false });
    model.set(bytes, BLOCK + 100);
    assert.ok(medium.attempts.includes(`write ${dataAt + BLOCK}+${4 * BLOCK}`));
    assert.ok((await contentOf(disk)).equals(model));
  });

  test('gives discarded blocks back, and the parts of blocks at their ends it leaves alone', async () => {
    const { disk, medium, model, dataAt } = await overlay();
    await disk.write(0, noise(10 * BLOCK, 3), { durable: false });
    model.set(noise(10 * BLOCK, 3));
    medium.attempts.length = 0;
    await disk.discard(100, 4 * BLOCK);
    assert.deepEqual(medium.attempts, [`discard ${dataAt + BLOCK}+${3 * BLOCK}`]);
    model.fill(0, BLOCK, 4 * BLOCK);
    assert.ok((await contentOf(disk)).equals(model));
    assert.equal(disk.ownBytes, 7 * BLOCK);
    assert.deepEqual((await disk.extents(BLOCK, 3 * BLOCK))[0]?.kind, 'hole');
  });

  test('keeps the space of zeroes where it is told to', async () => {
    const { disk, model } = await overlay();
    await disk.zero(10, 8 * BLOCK, KEPT);
    model.fill(0, 10, 10 + 8 * BLOCK);
    assert.ok((await contentOf(disk)).equals(model));
    assert.equal(disk.ownBytes, 9 * BLOCK);
    await disk.zero(57 * BLOCK, SIZE - 57 * BLOCK, SOFT); // to the end, in the middle of a block
    assert.equal(disk.ownBytes, 9 * BLOCK);
    await disk.zero(60 * BLOCK, SIZE - 60 * BLOCK, KEPT);
    assert.equal(disk.ownBytes, 9 * BLOCK + BLOCK + 1234);
  });

  test('refuses zeroes that would have to be written where they have to be fast, and changes nothing', async () => {
    const { disk, medium, model } = await overlay();
    await disk.write(0, noise(BLOCK, 9), { durable: false });
    model.set(noise(BLOCK, 9));
    medium.faultOf = (operation, offset) => (operation === 'zero' && offset > MAP_AT ? 'ENOTSUP' : undefined);
    await assert.rejects(disk.zero(5, 6 * BLOCK, { ...KEPT, fast: true }), isError('ENOTSUP'));
    assert.ok((await contentOf(disk)).equals(model));
    await disk.zero(5, 6 * BLOCK, { ...SOFT, fast: true }); // that takes no writing
    model.fill(0, 5, 5 + 6 * BLOCK);
    assert.ok((await contentOf(disk)).equals(model));
  });

  test('reads at once what is in memory, and says so where some of it is not', async () => {
    const { disk, medium, model } = await overlay();
    await disk.write(BLOCK, noise(BLOCK, 4), { durable: false });
    model.set(noise(BLOCK, 4), BLOCK);
    await disk.zero(2 * BLOCK, BLOCK, SOFT);
    model.fill(0, 2 * BLOCK, 3 * BLOCK);
    const target = Buffer.alloc(4 * BLOCK - 2);
    assert.ok(disk.readNow(1, target) && model.subarray(1, 4 * BLOCK - 1).equals(target));
    medium.hold('read');
    assert.equal(disk.readNow(1, target), false);
    assert.equal(disk.readNow(2 * BLOCK - 1, target), false);
    assert.ok(disk.readNow(2 * BLOCK, target)); // only zeroes, and what the image has
    medium.release();
  });

  test('never reaches beyond its ends', async () => {
    const { disk } = await overlay();
    await assert.rejects(disk.read(SIZE - 1, new Uint8Array(2)), RangeError);
    await assert.rejects(disk.write(SIZE, new Uint8Array(1), { durable: false }), RangeError);
    await assert.rejects(disk.zero(-1, 1, SOFT), RangeError);
    await assert.rejects(disk.discard(0, SIZE + 1), RangeError);
    await assert.rejects(disk.extents(1, SIZE), RangeError);
    await disk.write(SIZE, new Uint8Array(0), { durable: false });
    await disk.zero(SIZE, 0, SOFT);
    await disk.discard(5, 0);
    assert.deepEqual(await disk.extents(SIZE, 0), []);
  });

  test('tells what it has of its own and what it has not, in order', async () => {
    const { disk } = await overlay();
    await disk.write(3 * BLOCK, noise(2 * BLOCK), { durable: false });
    await disk.zero(5 * BLOCK, BLOCK, SOFT);
    const runs = [...disk.ownRuns()].map(({ offset, lengthBytes }) => [offset / BLOCK, lengthBytes / BLOCK]);
    assert.deepEqual(runs, [
      [3, 2],
      [5, 1],
    ]);
    const gaps = disk.baseRuns(2 * BLOCK, 5 * BLOCK).map(({ offset, lengthBytes }) => [offset, lengthBytes]);
    assert.deepEqual(gaps, [
      [2 * BLOCK, BLOCK],
      [6 * BLOCK, BLOCK],
    ]);
    assert.ok(disk.isUntouched(0, 3 * BLOCK) && !disk.isUntouched(0, 3 * BLOCK + 1) && !disk.isUntouched(23_000, 1));
  });
});

describe('an overlay whose medium fails', () => {
  for (const [code, at] of [
    ['ENOSPC', 'write'],
    ['EIO', 'write'],
    ['ENOSPC', 'zero'], // for the first in its page of the map: there has to be room for what the map says
  ] as const) {
    test(`with ${code} at the ${at} that makes a block its own: the block is as before, and can be written later`, async () => {
      const { disk, medium, model, image } = await overlay();
      medium.faultOf = (operation) => (operation === at ? code : undefined);
      await assert.rejects(disk.write(6 * BLOCK + 9, noise(2 * BLOCK, 6), { durable: false }), isError(code));
      await assert.rejects(disk.write(30 * BLOCK, noise(BLOCK, 6), { durable: true }), isError(code));
      assert.ok((await contentOf(disk)).equals(model));
      assert.equal(disk.ownBytes, 0);
      assert.ok((await contentOf(await reopened(medium, image))).equals(model));
      medium.faultOf = () => undefined;
      await disk.write(6 * BLOCK + 9, noise(2 * BLOCK, 6), { durable: true });
      model.set(noise(2 * BLOCK, 6), 6 * BLOCK + 9);
      assert.ok((await contentOf(disk)).equals(model));
      assert.ok((await contentOf(await reopened(medium, image))).equals(model));
    });
  }

  test('where zeroes are to keep their space: the blocks are as before, also those that were zeroes', async () => {
    const { disk, medium, model } = await overlay();
    await disk.zero(7 * BLOCK, BLOCK, SOFT);
    model.fill(0, 7 * BLOCK, 8 * BLOCK);
    medium.faultOf = (operation) => (operation === 'zero' ? 'ENOSPC' : undefined);
    await assert.rejects(disk.zero(5 * BLOCK + 3, 6 * BLOCK, KEPT), isError('ENOSPC'));
    assert.ok((await contentOf(disk)).equals(model));
    medium.faultOf = (operation) => (operation === 'write' ? 'ENOSPC' : undefined);
    await assert.rejects(disk.write(7 * BLOCK + 1, noise(BLOCK, 3), { durable: false }), isError('ENOSPC'));
    assert.ok((await contentOf(disk)).equals(model));
  });

  test('in the image while the rest of a block is brought up: the block is as before', async () => {
    const image = new FaultDevice(noise(IMAGE_BYTES));
    const { disk, model } = await overlay({ image });
    image.faultOf = (operation) => (operation === 'read' ? 'EIO' : undefined);
    await assert.rejects(disk.write(BLOCK + 1, noise(10, 2), { durable: false }), isError('EIO'));
    await disk.write(BLOCK, noise(BLOCK, 3), { durable: false }); // a whole block needs nothing of it
    model.set(noise(BLOCK, 3), BLOCK);
    image.faultOf = () => undefined;
    assert.ok((await contentOf(disk)).equals(model));
    await disk.write(2 * BLOCK + 1, noise(10, 2), { durable: false });
    model.set(noise(10, 2), 2 * BLOCK + 1);
    assert.ok((await contentOf(disk)).equals(model));
  });

  test('at a flush: no later one succeeds before it was taken up again, and then it is what the file says', async () => {
    const { disk, medium, model } = await overlay();
    await disk.write(0, noise(BLOCK, 2), { durable: true });
    model.set(noise(BLOCK, 2));
    await disk.write(9 * BLOCK, noise(BLOCK, 3), { durable: false });
    medium.faultOf = (operation) => (operation === 'flush' ? 'EIO' : undefined);
    await assert.rejects(disk.flush(), isError('EIO'));
    medium.faultOf = () => undefined;
    await assert.rejects(disk.flush(), isError('EIO'));
    assert.equal(disk.failure?.code, 'EIO');
    await disk.reopen();
    assert.equal(disk.failure, undefined);
    assert.ok((await contentOf(disk)).equals(model)); // what was not acknowledged as durable is gone, and nobody was told it was
    await disk.write(9 * BLOCK, noise(BLOCK, 3), { durable: true });
    model.set(noise(BLOCK, 3), 9 * BLOCK);
    assert.ok((await contentOf(disk)).equals(model));
  });

  test('and whose map was damaged meanwhile is not taken up again', async () => {
    const { disk, medium } = await overlay();
    await disk.write(0, noise(BLOCK, 2), { durable: true });
    medium.faultOf = (operation) => (operation === 'flush' ? 'EIO' : undefined);
    await assert.rejects(disk.flush());
    medium.faultOf = () => undefined;
    medium.bytes[MAP_AT + 5] = 0xff;
    await assert.rejects(disk.reopen(), OverlayDamaged);
    assert.equal(disk.failure?.code, 'EIO');
  });
});

test('two who need a place for the same page of the map make it once, and wipe nothing out', async () => {
  const sizeBytes = 3 * 2032 * BLOCK;
  const { disk, medium, image } = await overlay({ sizeBytes });
  medium.hold('zero');
  const one = disk.write(0, noise(BLOCK, 2), { durable: true });
  const other = disk.write(2040 * BLOCK, noise(BLOCK, 3), { durable: true });
  while (medium.waiting === 0) await new Promise((resolve) => setImmediate(resolve));
  medium.release();
  await Promise.all([one, other]);
  const places = medium.attempts.filter((attempt) => attempt.startsWith('zero'));
  assert.deepEqual(places, [`zero ${MAP_AT}+${8 * SECTOR_BYTES}`]);
  const again = await reopened(medium, image);
  const block = new Uint8Array(BLOCK);
  await again.read(2040 * BLOCK, block);
  assert.deepEqual(block, noise(BLOCK, 3));
  assert.equal(again.ownBytes, 2 * BLOCK);
});

type Chance = ReturnType<typeof seeded>;

async function change(
  disk: OverlayDevice,
  model: Buffer,
  { offset, length, chance }: { readonly offset: number; readonly length: number; readonly chance: Chance },
): Promise<string> {
  const end = offset + length;
  const kind = chance.pick(['write', 'write', 'durable', 'zero', 'keep', 'discard', 'flush'] as const) ?? 'flush';
  if (kind === 'write' || kind === 'durable') {
    const bytes = noise(length, chance.below(1000));
    await disk.write(offset, bytes, { durable: kind === 'durable' });
    model.set(bytes, offset);
  } else if (kind === 'zero' || kind === 'keep') {
    await disk.zero(offset, length, { keepAllocated: kind === 'keep', durable: chance.below(8) === 0 });
    model.fill(0, offset, end);
  } else if (kind === 'discard') {
    await disk.discard(offset, length);
    const to = end === disk.sizeBytes ? end : Math.floor(end / BLOCK) * BLOCK;
    const from = Math.ceil(offset / BLOCK) * BLOCK;
    if (from < to) model.fill(0, from, to);
  } else await disk.flush();
  return kind;
}

/** From the first byte to the last, no two alike beside each other, and what is no data reads as zeroes. */
function assertCovers(extents: readonly Extent[], from: number, end: number, model: Buffer): void {
  let at = from;
  for (const [index, { offset, lengthBytes, kind }] of extents.entries()) {
    assert.equal(offset, at);
    assert.ok(lengthBytes > 0 && kind !== extents[index - 1]?.kind);
    at += lengthBytes;
    assert.ok(kind === 'data' || model.subarray(offset, at).every((byte) => byte === 0), `${kind} at ${offset}`);
  }
  assert.equal(at, end);
}

function isError(code: string): (error: unknown) => boolean {
  return (error) => error instanceof BlockError && error.code === code;
}
