import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FULL_DISK_RETRY_MS } from '../../src/base/limits.js';
import { BlockError } from '../../src/block/block-error.js';
import { GivenUp, type SpaceNews, SpaceQueue } from '../../src/block/space-queue.js';
import { WaitingDevice } from '../../src/block/waiting-device.js';
import { watched } from '../../src/block/watched-device.js';
import { FakeClock } from '../support/fake-clock.js';
import { FullDevice } from '../support/full-device.js';

const PLAIN = { durable: false } as const;

function fixture() {
  const clock = new FakeClock();
  const medium = new FullDevice(1000);
  const queue = new SpaceQueue(clock);
  const news: SpaceNews[] = [];
  queue.listen((one) => void news.push(one));
  const kept = { now: 0, most: 0 };
  const user = () =>
    new WaitingDevice(medium, queue, (bytes) => {
      kept.now += bytes;
      kept.most = Math.max(kept.most, kept.now);
      return () => {
        kept.now -= bytes;
      };
    });
  const retry = async () => {
    clock.advance(FULL_DISK_RETRY_MS);
    await turns();
  };
  return { clock, medium, queue, news, kept, user, device: user(), retry };
}

/** All that can happen without time going on has happened. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** How a promise stands now. */
function standing(work: Promise<unknown>): () => string {
  let now = 'waits';
  work.then(
    () => {
      now = 'done';
    },
    (error: unknown) => {
      now = error instanceof BlockError ? error.code : String(error);
    },
  );
  return () => now;
}

function bytes(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

describe('a device whose changes wait for space', () => {
  test('a write that meets a full disk waits, is tried each second, and is done whole when there is space', async () => {
    const { medium, device, queue, news, kept, retry, clock } = fixture();
    const write = standing(device.write(100, bytes(50, 7), PLAIN));
    await turns();
    assert.deepEqual([write(), news], ['waits', [{ kind: 'awaited' }]]);
    assert.deepEqual(queue.waiting, { since: clock.today(), requests: 1, bytes: 50 });
    assert.equal(kept.now, 50);
    await retry();
    await retry();
    assert.deepEqual([write(), medium.attempts.length], ['waits', 3]);
    medium.state = 'space';
    await retry();
    assert.equal(write(), 'done');
    assert.ok(medium.bytes.subarray(100, 150).every((byte) => byte === 7));
    assert.deepEqual(news.at(-1), { kind: 'over', because: 'done', waitedMs: 3 * FULL_DISK_RETRY_MS });
    assert.deepEqual([queue.waiting, kept.now], [undefined, 0]);
    await retry();
    assert.equal(medium.attempts.length, 4, 'and then nothing is tried any more');
  });

  test('on a full disk one change is tried a second, however many wait', async () => {
    const { medium, device, retry, queue } = fixture();
    for (let index = 0; index < 20; index += 1) void device.write(index * 10, bytes(10, 1), PLAIN);
    await turns();
    assert.equal(medium.attempts.length, 20);
    await retry();
    await retry();
    assert.equal(medium.attempts.length, 22);
    medium.state = 'space';
    await retry();
    assert.equal(queue.waiting, undefined);
  });

  test('reads go on, and so do flushes: they cover what was answered', async () => {
    const { medium, device } = fixture();
    void device.write(100, bytes(50, 7), PLAIN);
    await turns();
    await device.flush();
    assert.equal(medium.flushes, 1);
    await device.read(0, new Uint8Array(10));
    assert.equal(device.readNow(0, new Uint8Array(10)), true);
    assert.equal((await device.extents(0, 1000)).length, 1);
  });

  test('what needs no space passes what waits, unless it is about the same bytes', async () => {
    const { medium, device, retry, user } = fixture();
    const first = standing(device.write(100, bytes(50, 1), PLAIN));
    await turns();
    medium.state = 'space';
    const elsewhere = standing(device.write(150, bytes(50, 2), PLAIN));
    const over = standing(device.write(140, bytes(20, 3), PLAIN));
    const ofAnotherConnection = standing(user().zero(145, 5, { keepAllocated: true, durable: false }));
    await turns();
    assert.deepEqual([first(), elsewhere(), over(), ofAnotherConnection()], ['waits', 'done', 'waits', 'waits']);
    await retry();
    assert.deepEqual([first(), over(), ofAnotherConnection()], ['done', 'done', 'done']);
    assert.deepEqual([...medium.bytes.subarray(138, 162)].join(''), `11${'3'.repeat(5)}00000${'3'.repeat(10)}22`);
  });

  test('a write with FUA is made durable once it is on the disk, and no sooner', async () => {
    const { medium, device, retry } = fixture();
    const write = standing(device.write(0, bytes(10, 1), { durable: true }));
    const zero = standing(device.zero(20, 10, { keepAllocated: true, durable: true }));
    await retry();
    assert.equal(medium.flushes, 0);
    medium.state = 'space';
    await retry();
    assert.deepEqual([write(), zero(), medium.flushes], ['done', 'done', 2]);
  });

  test('a flush that meets a full disk fails: the kernel has dropped the data, and there is nothing to try again', async () => {
    const { medium, device, queue } = fixture();
    medium.state = 'fullForFlushes';
    await assert.rejects(device.flush(), { code: 'ENOSPC' });
    await assert.rejects(device.write(0, bytes(10, 1), { durable: true }), { code: 'ENOSPC' });
    assert.equal(queue.waiting, undefined);
  });

  test('a discard never waits: it is a hint, and on a full disk it counts as done', async () => {
    const { medium, device } = fixture();
    void device.write(100, bytes(50, 7), PLAIN);
    await device.discard(100, 50);
    medium.state = 'broken';
    await assert.rejects(device.discard(100, 50), { code: 'EIO' });
  });

  test('another failure is passed on, at once or after a wait', async () => {
    const { medium, device, retry, news } = fixture();
    const write = standing(device.write(0, bytes(10, 1), PLAIN));
    await turns();
    medium.state = 'broken';
    await assert.rejects(device.write(50, bytes(10, 1), PLAIN), { code: 'EIO' });
    await retry();
    assert.equal(write(), 'EIO');
    assert.equal(news.at(-1)?.kind, 'over');
  });

  test('what is given up is not done, later ones neither, and those of other users wait on', async () => {
    const { medium, device, user, retry, news, kept } = fixture();
    const gone = standing(device.write(0, bytes(10, 1), PLAIN));
    const other = standing(user().write(5, bytes(10, 2), PLAIN));
    await turns();
    device.giveUp();
    await assert.rejects(device.write(100, bytes(10, 1), PLAIN), GivenUp);
    assert.deepEqual([gone(), other(), news.length], ['GivenUp', 'waits', 1]);
    medium.state = 'space';
    await retry();
    assert.equal(other(), 'done');
    assert.deepEqual([...medium.bytes.subarray(0, 6)], [1, 1, 1, 1, 1, 2], 'only the half of the first attempt');
    assert.deepEqual([news.at(-1)?.kind, kept.now], ['over', 0]);
  });

  test('when the last is given up, that is said', async () => {
    const { device, news, queue } = fixture();
    const write = standing(device.write(0, bytes(10, 1), PLAIN));
    await turns();
    await device.close();
    await turns();
    assert.equal(write(), 'GivenUp');
    assert.deepEqual(news.at(-1), { kind: 'over', because: 'givenUp', waitedMs: 0 });
    assert.equal(queue.waiting, undefined);
  });

  test('what is being tried when it is given up ends first, either way', async () => {
    for (const [outcome, expected] of [
      ['space', 'done'],
      ['full', 'GivenUp'],
    ] as const) {
      const { clock, medium, queue, news } = fixture();
      let finish = () => {};
      const begins = () =>
        new Promise<void>((resolve) => {
          finish = resolve;
        });
      const slow = sluggish(medium, begins);
      const device = new WaitingDevice(slow, queue);
      const write = standing(device.write(0, bytes(10, 1), PLAIN));
      finish();
      await turns();
      clock.advance(FULL_DISK_RETRY_MS);
      await turns();
      device.giveUp();
      await turns();
      assert.equal(write(), 'waits', 'the disk is still touched');
      medium.state = outcome;
      finish();
      await turns();
      assert.equal(write(), expected);
      assert.equal(news.at(-1)?.kind, 'over');
    }
  });

  test('above a watched device nobody waits for a change that waits', async () => {
    const { medium, queue, retry } = fixture();
    const disk = watched(medium);
    const told: string[] = [];
    disk.watch({
      changing(offset) {
        told.push(`changing ${offset}`);
        return { ready: undefined, over: () => void told.push('over') };
      },
    });
    void new WaitingDevice(disk, queue).write(8, bytes(4, 1), PLAIN);
    await turns();
    assert.deepEqual(told, ['changing 8', 'over']);
    medium.state = 'space';
    await retry();
    assert.deepEqual(told, ['changing 8', 'over', 'changing 8', 'over'], 'each attempt is announced');
  });
});

/** The same disk, each of whose writes waits before it begins. */
function sluggish(medium: FullDevice, before: () => Promise<void>) {
  return {
    sizeBytes: medium.sizeBytes,
    rotational: medium.rotational,
    read: (offset: number, target: Uint8Array) => medium.read(offset, target),
    readNow: () => false,
    prefetch: async () => {},
    write: async (offset: number, source: Uint8Array) => {
      await before();
      await medium.write(offset, source);
    },
    flush: () => medium.flush(),
    discard: async () => {},
    zero: async () => {},
    extents: async () => [],
    close: async () => {},
  };
}
