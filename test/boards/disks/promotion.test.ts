import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import { openFileDevice } from '../../../src/block/file-device.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { watched } from '../../../src/block/watched-device.js';
import { HeldCopy } from '../../../src/boards/disks/held-copy.js';
import { promoteDisk } from '../../../src/boards/disks/promotion.js';
import { GateDevice } from '../../support/gate-device.js';
import { OWN_DISK_BYTES, ownerBoard } from '../../support/own-disks.js';
import { noise, seeded } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';

const MEBI = 1024 * 1024;
const SIZE = 70 * MEBI + 512;
const QUIET = { progress: () => {}, signal: new AbortController().signal, clock: systemClock };

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
    assert.deepEqual(verdict, { answer: 'done', bytes: SIZE, heldMs: 0 });
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
    const copy = new HeldCopy(disk, target, QUIET);
    const copying = copy.run().finally(() => {
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
    assert.ok(copy.heldMs > 0);
  });

  test('is nothing at all where it was broken off, or where there is something already', async (context) => {
    const { disk, folder, file } = await world(context);
    const ending = new AbortController();
    const verdict = await promoteDisk(disk, file, { ...QUIET, progress: () => ending.abort(), signal: ending.signal });
    assert.deepEqual(verdict, { answer: 'refused', because: 'it was broken off' });
    assert.deepEqual(readdirSync(folder), ['disk.img']);
    const there = await promoteDisk(disk, join(folder, 'disk.img'), QUIET);
    assert.match(there.answer === 'refused' ? there.because : '', /is there already/);
    const nowhere = await promoteDisk(disk, join(folder, 'none', 'x.img'), QUIET);
    assert.equal(nowhere.answer === 'refused' && nowhere.because, `there is no folder ${join(folder, 'none')}`);
    symlinkSync('nowhere', join(folder, 'link'));
    const link = await promoteDisk(disk, join(folder, 'link'), QUIET);
    assert.match(link.answer === 'refused' ? link.because : '', /link is there already/);
  });

  test('is the disk of before where a volatile one begins anew meanwhile, and keeps nobody waiting for that', async (context) => {
    const { own } = await ownerBoard(context, scratchFolder(context), 'kiosk', { isVolatile: true });
    const image = Buffer.alloc(OWN_DISK_BYTES);
    await own.device.read(0, image);
    const content = Buffer.from(image);
    content.set(noise(20_000, 4), 9000);
    await own.device.write(9000, content.subarray(9000, 29_000), { durable: true });
    const target = new GateDevice(OWN_DISK_BYTES);
    const copying = new HeldCopy(own.device, target, QUIET).run();
    own.spend(Promise.resolve(true));
    assert.deepEqual(await own.begin(), { answer: 'done' });
    const now = Buffer.alloc(OWN_DISK_BYTES);
    await own.device.write(0, new Uint8Array(4096).fill(1), { durable: true });
    await own.device.read(0, now);
    assert.ok(now.subarray(4096).equals(image.subarray(4096)));
    target.open();
    await copying;
    await target.read(0, now);
    assert.ok(now.equals(content));
  });
});
