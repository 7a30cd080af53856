// A file that several threads change at once: what its owner must know of first, and who may sync.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { DISK_LANES_AT_ONCE_MAX } from '../../src/base/limits.js';
import { SharedFile } from '../../src/block/shared-file.js';
import { type ChangeWork, Tally } from '../support/change-worker.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/nbd-server.js';

const SIZE = 1024 * 1024;

const disk = () => new SharedArrayBuffer(4);

/** One file, as its owner has it and as another thread does. */
async function shared(watched: readonly { readonly start: number; readonly end: number }[] = []) {
  const owners = SharedFile.create(0, SIZE, disk());
  await owners.watch(watched);
  return { owners, others: new SharedFile(owners.told) };
}

function begun(file: SharedFile, offset: number, lengthBytes: number) {
  const pot = file.beginChange(offset, lengthBytes);
  assert.ok(pot !== undefined, `${offset}+${lengthBytes} is for any thread`);
  return { end: () => file.endChange(pot) };
}

/** Whether it has happened by now, and what waits for a thread's word would have. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  void promise.then(() => {
    pending = false;
  });
  for (let turns = 0; turns < 5; turns += 1) await turn();
  return pending;
}

describe('a change', () => {
  test("is the owner's where it touches what is watched, to the byte", async () => {
    const { others } = await shared([
      { start: 1000, end: 2000 },
      { start: 5000, end: 6000 },
    ]);
    for (const [offset, length] of [
      [1000, 1],
      [1999, 1],
      [999, 2],
      [0, SIZE],
      [1500, 0],
      [5999, 4096],
    ] as const) {
      assert.equal(others.beginChange(offset, length), undefined, `${offset}+${length}`);
    }
    for (const [offset, length] of [
      [0, 1000],
      [999, 1],
      [2000, 3000],
      [6000, 4096],
    ] as const) {
      begun(others, offset, length).end();
    }
  });

  test("is the owner's before anybody has said what is watched, and where that is too much to tell", async () => {
    const owners = SharedFile.create(0, SIZE, disk());
    assert.equal(owners.beginChange(0, 1), undefined);
    await owners.watch([]);
    begun(owners, 0, 1).end();
    await owners.watch('all');
    assert.equal(owners.beginChange(0, 1), undefined);
    await owners.watch(Array.from({ length: 100 }, (_, index) => ({ start: index, end: index + 1 })));
    assert.equal(owners.beginChange(5000, 1), undefined);
    await owners.watch([]);
    begun(owners, 0, 1).end();
  });

  test("is the owner's while one of its own waits for space", async () => {
    const { owners, others } = await shared();
    owners.ownChangesWait(1);
    owners.ownChangesWait(1);
    owners.ownChangesWait(-1);
    assert.equal(others.beginChange(0, 1), undefined);
    owners.ownChangesWait(-1);
    begun(others, 0, 1).end();
  });

  test("is the owner's where as many are under way as may be", async () => {
    const { others } = await shared();
    const underWay = Array.from({ length: DISK_LANES_AT_ONCE_MAX }, (_, index) => begun(others, index, 1));
    assert.equal(others.beginChange(100, 1), undefined);
    for (const change of underWay) change.end();
    begun(others, 100, 1).end();
  });
});

describe('watching', () => {
  test('begins when changes that began before are over, and not before', async () => {
    const { owners, others } = await shared();
    const before = begun(others, 0, 1);
    const watching = owners.watch([{ start: 0, end: 100 }]);
    assert.equal(others.beginChange(0, 1), undefined, 'it is asked for at once');
    assert.equal(others.beginChange(500, 1), undefined, 'and all is until it is known');
    assert.ok(await isPending(watching));
    before.end();
    await watching;
    begun(others, 500, 1).end();
    assert.equal(others.beginChange(0, 1), undefined);
  });

  test('asked for again meanwhile, leaves the word to the later call', async () => {
    const { owners, others } = await shared();
    const before = begun(others, 0, 1);
    const first = owners.watch([]);
    owners.watchAll();
    before.end();
    await first;
    assert.equal(others.beginChange(0, 1), undefined);
    await owners.watch([]);
    begun(others, 0, 1).end();
  });

  test('misses no change of other threads, however often it begins and ends', async (context) => {
    const { owners } = await shared();
    const inside = await changes(context, owners, 4096);
    const outside = await changes(context, owners, 512 * 1024);
    for (let round = 0; round < 200; round += 1) {
      await owners.watch([{ start: 0, end: 16 * 1024 }]);
      const done = inside.count(Tally.Done);
      const otherDone = outside.count(Tally.Done);
      assert.equal(inside.count(Tally.UnderWay), 0);
      if (round % 20 === 0) await until(() => outside.count(Tally.Done) > otherDone);
      assert.equal(inside.count(Tally.UnderWay), 0);
      assert.equal(inside.count(Tally.Done), done, `round ${round}`);
      await owners.watch([]);
      if (round % 20 === 0) await until(() => inside.count(Tally.Done) > done);
    }
  });
});

describe('a sync', () => {
  test('is one at a time', async () => {
    const { owners, others } = await shared();
    assert.ok(others.beginSync());
    assert.ok(!others.beginSync());
    assert.ok(!owners.beginSync());
    assert.ok(!others.endSync(), 'nobody waits');
    assert.ok(owners.beginSync());
  });

  test('that the owner waits for is its next: no other thread comes before it', async () => {
    const { owners, others } = await shared();
    assert.ok(others.beginSync());
    const mine = owners.takeSync();
    assert.ok(await isPending(mine));
    assert.ok(others.endSync(), 'somebody has to tell it');
    assert.ok(!others.beginSync());
    owners.syncIsOver();
    await mine;
    assert.ok(!others.beginSync());
    owners.endSync();
    assert.ok(others.beginSync());
  });

  test('of the owner that another one of its own waits for is followed by that', async () => {
    const { owners } = await shared();
    await owners.takeSync();
    const second = owners.takeSync();
    assert.ok(await isPending(second));
    owners.giveSync();
    await second;
    owners.giveSync();
    assert.ok(owners.beginSync());
  });

  test('that failed is known to all threads', async () => {
    const { owners, others } = await shared();
    others.hasLostWrites = true;
    assert.ok(owners.hasLostWrites);
    owners.hasLostWrites = false;
    assert.ok(!others.hasLostWrites);
  });
});

/** Another thread that changes 4 KiB at this offset, again and again. */
async function changes(context: TestContext, file: SharedFile, offset: number) {
  const tally = new Int32Array(new SharedArrayBuffer(16));
  tally[Tally.GoesOn] = 1;
  const workerData: ChangeWork = { file: file.told, tally: tally.buffer, offset };
  const worker = new Worker(new URL('../support/change-worker.js', import.meta.url), { workerData });
  whenOver(context, async () => {
    const exit = once(worker, 'exit');
    Atomics.store(tally, Tally.GoesOn, 0);
    await exit;
  });
  const count = (what: number) => Atomics.load(tally, what);
  await until(() => count(Tally.Done) + count(Tally.Left) > 0);
  return { count };
}
