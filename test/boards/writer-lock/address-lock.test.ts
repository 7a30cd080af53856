import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WRITER_LOCK_PATIENCE_MS } from '../../../src/base/limits.js';
import { addressLock } from '../../../src/boards/writer-lock/address-lock.js';
import type { DiskUser, LockVerdict } from '../../../src/boards/writer-lock/writer-lock.js';
import { FakeClock } from '../../support/fake-clock.js';

/** A connection whose peer answers a probe when the test says so. */
class FakeUser implements DiskUser {
  readonly peerAddress: string;
  readonly closedBecause: string[] = [];
  probeCount = 0;
  /** Ends the probe that is under way. */
  answer: (verdict: 'alive' | 'gone') => void = () => {};
  /** What is under way on the disk is finished. */
  finish: () => void = () => {};
  readonly #finishesAtOnce: boolean;

  constructor(peerAddress: string, options: { readonly finishesAtOnce: boolean } = { finishesAtOnce: true }) {
    this.peerAddress = peerAddress;
    this.#finishesAtOnce = options.finishesAtOnce;
  }

  probe(): Promise<'alive' | 'gone'> {
    this.probeCount += 1;
    return new Promise((resolve) => {
      this.answer = resolve;
    });
  }

  close(because: string): Promise<void> {
    this.closedBecause.push(because);
    if (this.#finishesAtOnce) return Promise.resolve();
    return new Promise((resolve) => {
      this.finish = resolve;
    });
  }
}

/** As commands of an operator have it. */
function serverUser(): DiskUser {
  return {
    peerAddress: 'this server',
    doing: 'it is being reset',
    probe: () => new Promise(() => {}),
    close: async () => {},
  };
}

/** Lets everything happen that needs no time. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** The verdict as soon as there is one. */
function watch(verdict: Promise<LockVerdict>): { now(): Promise<LockVerdict | 'waiting'> } {
  let known: LockVerdict | 'waiting' = 'waiting';
  void verdict.then((given) => {
    known = given;
  });
  return {
    async now() {
      await settle();
      return known;
    },
  };
}

const GRANTED = { answer: 'granted' };

describe('the writer lock of a board', () => {
  test('goes to the first address, and to further connections of it', async () => {
    const lock = addressLock(new FakeClock());
    assert.equal(lock.holder(), undefined);
    assert.deepEqual(await lock.acquire(new FakeUser('10.0.0.1')), GRANTED);
    assert.deepEqual(await lock.acquire(new FakeUser('10.0.0.1')), GRANTED);
    assert.equal(lock.holder(), '10.0.0.1');
  });

  test('is free when its last connection is released', async () => {
    const lock = addressLock(new FakeClock());
    const [one, two] = [new FakeUser('10.0.0.1'), new FakeUser('10.0.0.1')];
    await lock.acquire(one);
    await lock.acquire(two);
    lock.release(one);
    assert.equal(lock.holder(), '10.0.0.1');
    lock.release(two);
    lock.release(two);
    assert.equal(lock.holder(), undefined);
    assert.deepEqual(await lock.acquire(new FakeUser('10.0.0.2')), GRANTED);
  });

  test('stays with a holder that answers: the other is refused at once', async () => {
    const lock = addressLock(new FakeClock());
    const holder = new FakeUser('10.0.0.1');
    await lock.acquire(holder);
    const verdict = watch(lock.acquire(new FakeUser('10.0.0.2')));
    assert.equal(await verdict.now(), 'waiting');
    holder.answer('alive');
    assert.deepEqual(await verdict.now(), { answer: 'held', by: '10.0.0.1' });
    assert.deepEqual(holder.closedBecause, []);
  });

  test('passes on when the holder is gone, but not before its requests are finished', async () => {
    const lock = addressLock(new FakeClock());
    const holder = new FakeUser('10.0.0.1', { finishesAtOnce: false });
    await lock.acquire(holder);
    const verdict = watch(lock.acquire(new FakeUser('10.0.0.2')));
    holder.answer('gone');
    assert.equal(await verdict.now(), 'waiting');
    assert.deepEqual(holder.closedBecause, ['stopped answering']);
    holder.finish();
    assert.deepEqual(await verdict.now(), GRANTED);
    assert.equal(lock.holder(), '10.0.0.2');
  });

  test('is refused when there is no verdict in time', async () => {
    const clock = new FakeClock();
    const lock = addressLock(clock);
    await lock.acquire(new FakeUser('10.0.0.1'));
    const verdict = watch(lock.acquire(new FakeUser('10.0.0.2')));
    clock.advance(WRITER_LOCK_PATIENCE_MS - 1);
    assert.equal(await verdict.now(), 'waiting');
    clock.advance(1);
    assert.deepEqual(await verdict.now(), { answer: 'held', by: '10.0.0.1' });
  });

  test('passes on at once when the holder disconnects while it is probed', async () => {
    const lock = addressLock(new FakeClock());
    const holder = new FakeUser('10.0.0.1');
    await lock.acquire(holder);
    const verdict = watch(lock.acquire(new FakeUser('10.0.0.2')));
    lock.release(holder);
    assert.deepEqual(await verdict.now(), GRANTED);
    holder.answer('gone');
    await settle();
    assert.deepEqual(holder.closedBecause, [], 'it had left by itself');
  });

  test('goes to one of several that wait; the others learn of the new holder', async () => {
    const lock = addressLock(new FakeClock());
    const holder = new FakeUser('10.0.0.1');
    await lock.acquire(holder);
    const second = new FakeUser('10.0.0.2');
    const [toSecond, toThird] = [watch(lock.acquire(second)), watch(lock.acquire(new FakeUser('10.0.0.3')))];
    holder.answer('gone');
    assert.deepEqual(await toSecond.now(), GRANTED);
    assert.equal(await toThird.now(), 'waiting');
    second.answer('alive');
    assert.deepEqual(await toThird.now(), { answer: 'held', by: '10.0.0.2' });
  });

  test('under suspicion closes those that are gone and nobody else', async () => {
    const lock = addressLock(new FakeClock());
    const [dead, live] = [new FakeUser('10.0.0.1'), new FakeUser('10.0.0.1')];
    await lock.acquire(dead);
    await lock.acquire(live);
    lock.suspect();
    dead.answer('gone');
    live.answer('alive');
    await settle();
    assert.deepEqual(dead.closedBecause, ['stopped answering']);
    assert.deepEqual(live.closedBecause, []);
    assert.equal(lock.holder(), '10.0.0.1');
  });

  test('probes nobody twice at the same time, however often it is suspicious', async () => {
    const lock = addressLock(new FakeClock());
    const holder = new FakeUser('10.0.0.1');
    await lock.acquire(holder);
    for (let count = 0; count < 10; count += 1) lock.suspect();
    assert.equal(holder.probeCount, 1);
    holder.answer('alive');
    await settle();
    lock.suspect();
    assert.equal(holder.probeCount, 2);
  });

  test('lets a board that rebooted in beside its old connection, which is then found dead', async () => {
    const lock = addressLock(new FakeClock());
    const [old, fresh] = [new FakeUser('10.0.0.1'), new FakeUser('10.0.0.1')];
    await lock.acquire(old);
    assert.deepEqual(await lock.acquire(fresh), GRANTED);
    assert.equal(old.probeCount, 1);
    assert.equal(fresh.probeCount, 0);
    old.answer('gone');
    await settle();
    assert.deepEqual(old.closedBecause, ['stopped answering']);
    assert.equal(lock.holder(), '10.0.0.1');
  });

  test('is taken from whoever has it, and given to nobody else until it is let go of', async () => {
    const lock = addressLock(new FakeClock());
    const [one, two] = [new FakeUser('10.0.0.1', { finishesAtOnce: false }), new FakeUser('10.0.0.1')];
    await lock.acquire(one);
    await lock.acquire(two);
    const server = serverUser();
    let isSeized = false;
    const seized = lock.seize(server, 'it is being reset').then(() => {
      isSeized = true;
    });
    await settle();
    assert.deepEqual([one.closedBecause, two.closedBecause], [['it is being reset'], ['it is being reset']]);
    assert.equal(isSeized, false, 'something is under way yet');
    const sameAddress = watch(lock.acquire(new FakeUser('10.0.0.1')));
    one.finish();
    await seized;
    assert.equal(await sameAddress.now(), 'waiting');
    lock.release(server);
    assert.deepEqual(await sameAddress.now(), GRANTED);
  });

  test('tells who waits in vain what the server does with the disk', async () => {
    const clock = new FakeClock();
    const lock = addressLock(clock);
    await lock.seize(serverUser(), 'it is being reset');
    const verdict = watch(lock.acquire(new FakeUser('10.0.0.1')));
    assert.equal(await verdict.now(), 'waiting');
    clock.advance(WRITER_LOCK_PATIENCE_MS);
    assert.deepEqual(await verdict.now(), { answer: 'unusable', because: 'it is being reset' });
  });

  test('with nobody to suspect does nothing', () => {
    const lock = addressLock(new FakeClock());
    lock.suspect();
    assert.equal(lock.holder(), undefined);
  });
});

describe('a disk whose board is said to have booted', () => {
  async function held(end: (lock: ReturnType<typeof addressLock>, user: FakeUser) => void): Promise<boolean> {
    const lock = addressLock(new FakeClock());
    const user = new FakeUser('192.168.1.20');
    await lock.acquire(user);
    const isAbandoned = lock.isAbandoned();
    end(lock, user);
    return isAbandoned;
  }

  test('is abandoned if nobody had it, or who had it is gone', async () => {
    assert.equal(await addressLock(new FakeClock()).isAbandoned(), true);
    assert.equal(await held((_lock, user) => user.answer('gone')), true);
    assert.equal(await held((lock, user) => lock.release(user, 'lost')), true);
  });

  test('is not if who has it answers, or takes leave while it is asked', async () => {
    assert.equal(await held((_lock, user) => user.answer('alive')), false);
    assert.equal(await held((lock, user) => lock.release(user, 'left')), false);
  });
});
