import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { openFileDevice } from '../../../src/block/file-device.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { watched } from '../../../src/block/watched-device.js';
import { HeldCopy } from '../../../src/boards/disks/held-copy.js';
import { promoteDisk } from '../../../src/boards/disks/promotion.js';
import { noise, seeded } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';

const MEBI = 1024 * 1024;
const SIZE = 70 * MEBI + 512;
const QUIET = { progress: () => {}, signal: new AbortController().signal };

async function world(context: TestContext) {
  const folder = scratchFolder(context);
  const content = Buffer.alloc(SIZE);
  content.set(noise(5 * MEBI), MEBI);
  content.set(noise(300_000, 2), 66 * MEBI + 100);
  writeFileSync(join(folder, 'disk.img'), content);
  const device = await openFileDevice(join(folder, 'disk.img'), { access: 'readWrite', lock: 'exclusive' });
  context.after(() => device.close());
  return { folder, content, disk: watched(device), file: join(folder, 'promoted.img') };
}

describe('an image that is made of a disk', () => {
  test('is the disk, and takes no space for its zeroes', async (context) => {
    const { disk, content, file } = await world(context);
    const told: number[] = [];
    const verdict = await promoteDisk(disk, file, { ...QUIET, progress: (done) => told.push(done) });
    assert.deepEqual(verdict, { answer: 'done', bytes: SIZE });
    assert.ok(readFileSync(file).equals(content));
    assert.ok(statSync(file).blocks * 512 < 8 * MEBI);
    assert.equal(told.at(-1), SIZE);
    assert.ok(told.every((done, index) => index === 0 || done > (told[index - 1] ?? 0)));
  });

  test('is the disk as it was when it was begun, whatever is written meanwhile', async (context) => {
    const { disk, content } = await world(context);
    const target = new MemoryDevice(SIZE);
    const chance = seeded(3);
    let isOver = false;
    const copying = new HeldCopy(disk, target, QUIET).run().finally(() => {
      isOver = true;
    });
    let writes = 0;
    for (; !isOver; writes += 1) {
      const offset = chance.below(SIZE - 200_000);
      if (chance.below(4) > 0) await disk.write(offset, noise(1 + chance.below(200_000), writes), { durable: false });
      else await disk.zero(offset, 1 + chance.below(200_000), { keepAllocated: false, durable: false });
    }
    await copying;
    assert.ok(writes > 0);
    assert.ok(content.equals(target.bytes));
  });

  test('is nothing at all where it was broken off, or where there is something already', async (context) => {
    const { disk, folder, file } = await world(context);
    const ending = new AbortController();
    const verdict = await promoteDisk(disk, file, { progress: () => ending.abort(), signal: ending.signal });
    assert.deepEqual(verdict, { answer: 'refused', because: 'it was broken off' });
    assert.deepEqual(readdirSync(folder), ['disk.img']);
    const there = await promoteDisk(disk, join(folder, 'disk.img'), QUIET);
    assert.match(there.answer === 'refused' ? there.because : '', /is there already/);
    const nowhere = await promoteDisk(disk, join(folder, 'none', 'x.img'), QUIET);
    assert.match(nowhere.answer === 'refused' ? nowhere.because : '', /ENOENT/);
  });
});
