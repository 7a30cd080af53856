import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { BlockError } from '../../src/block/block-error.js';
import { SwitchingDevice } from '../../src/block/switching-device.js';
import { FaultDevice } from '../support/fault-device.js';
import { noise } from '../support/random.js';

const SOFT = { keepAllocated: false, durable: false };

/** Whether it has come to its end after some turns of the loop. */
async function isOver(promise: Promise<unknown>): Promise<boolean> {
  let over = false;
  void promise.then(
    () => (over = true),
    () => (over = true),
  );
  for (let times = 0; times < 5; times += 1) await turn();
  return over;
}

describe('a disk behind which another can be put', () => {
  test('is the one behind it, and then the other', async () => {
    const [one, other] = [new FaultDevice(noise(100)), new FaultDevice(noise(100, 2))];
    const disk = new SwitchingDevice(one);
    const target = new Uint8Array(100);
    await disk.read(0, target);
    assert.deepEqual(target, noise(100));
    await disk.switchTo(other);
    assert.equal(disk.current, other);
    assert.ok(disk.readNow(0, target));
    assert.deepEqual(target, noise(100, 2));
    await disk.write(0, Uint8Array.of(7), { durable: true });
    await disk.zero(1, 1, SOFT);
    await disk.discard(2, 1);
    assert.deepEqual([other.flushes, [...other.bytes.subarray(0, 3)]], [1, [7, 0, 0]]);
    assert.deepEqual([one.flushes, one.bytes], [0, noise(100)]);
  });

  test('is held when what was under way is over, and what comes then waits, but no read', async () => {
    const one = new FaultDevice(100);
    const disk = new SwitchingDevice(one);
    one.hold('write');
    const before = disk.write(0, Uint8Array.of(1), { durable: false });
    const holding = disk.hold();
    assert.equal(await isOver(holding), false);
    const later = [disk.write(1, Uint8Array.of(2), { durable: false }), disk.flush(), disk.zero(5, 5, SOFT)];
    one.release();
    await before;
    const release = await holding;
    assert.equal(await isOver(Promise.race(later)), false);
    assert.deepEqual(one.attempts, ['write 0+1']);
    await disk.read(0, new Uint8Array(10));
    release();
    await Promise.all(later);
    assert.equal(one.bytes[1], 2);
  });

  test('is held by one at a time', async () => {
    const disk = new SwitchingDevice(new FaultDevice(100));
    const release = await disk.hold();
    const second = disk.hold();
    assert.equal(await isOver(second), false);
    release();
    (await second)();
    await disk.flush();
  });

  test('says when nobody reads any more from the one that was there before', async () => {
    const [one, other] = [new FaultDevice(100), new FaultDevice(100)];
    const disk = new SwitchingDevice(one);
    one.hold('read');
    const read = disk.read(0, new Uint8Array(1));
    const { readsOver } = await disk.switchTo(other);
    await disk.read(0, new Uint8Array(1));
    assert.equal(await isOver(readsOver), false);
    one.release();
    await read;
    await readsOver;
  });

  test('tells failures of the one that is there, and not of the one before', async () => {
    const [one, other] = [new FaultDevice(100), new FaultDevice(100)];
    const disk = new SwitchingDevice(one);
    const told: (BlockError | undefined)[] = [];
    disk.listen((failure) => told.push(failure));
    await disk.switchTo(other);
    for (const medium of [one, other]) medium.faultOf = (operation) => (operation === 'flush' ? 'EIO' : undefined);
    await assert.rejects(one.flush());
    assert.deepEqual([told, disk.failure], [[], undefined]);
    await assert.rejects(disk.flush());
    assert.deepEqual([told.length, disk.failure?.code], [1, 'EIO']);
  });

  test('is taken up again while nothing is changed: what is lost is looked up anew', async () => {
    const one = new FaultDevice(100);
    const disk = new SwitchingDevice(one);
    one.hold('write');
    const write = disk.write(0, Uint8Array.of(1), { durable: false });
    let isTakenUp = false;
    one.reopen = async () => {
      isTakenUp = true;
      assert.equal(await isOver(disk.write(1, Uint8Array.of(2), { durable: false })), false);
      throw new Error('it is gone');
    };
    const reopening = disk.reopen();
    reopening.catch(() => {});
    await isOver(reopening);
    assert.equal(isTakenUp, false);
    one.release();
    await write;
    await assert.rejects(reopening, /it is gone/);
    await disk.flush(); // and nothing is held any more
    assert.deepEqual([...one.bytes.subarray(0, 2)], [1, 2]);
  });
});
