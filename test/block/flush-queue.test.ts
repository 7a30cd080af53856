import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BlockError } from '../../src/block/block-error.js';
import { FlushQueue } from '../../src/block/flush-queue.js';

/** A medium whose flushes end when the test says so. */
function fixture() {
  const running: { end(): void; fail(): void }[] = [];
  const queue = new FlushQueue(
    () =>
      new Promise((resolve, reject) => {
        running.push({ end: () => resolve(), fail: () => reject(new BlockError('EIO', { detail: 'lost' })) });
      }),
  );
  const told: string[] = [];
  queue.listen((failure) => void told.push(failure?.code ?? 'sound'));
  const outcomes: string[] = [];
  const flush = (name: string) =>
    void queue.flush().then(
      () => outcomes.push(`${name} done`),
      (error: unknown) => outcomes.push(`${name} ${error instanceof BlockError ? error.code : String(error)}`),
    );
  return { queue, running, told, outcomes, flush };
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

const nothing = async () => {};

describe('the flushes of a device', () => {
  test('one that comes while another runs waits for the next, which all share who came meanwhile', async () => {
    const { running, outcomes, flush } = fixture();
    for (const name of ['a', 'b', 'c']) flush(name);
    await turn();
    assert.equal(running.length, 1);
    running[0]?.end();
    await turn();
    assert.deepEqual(outcomes, ['a done']);
    assert.equal(running.length, 2);
    flush('d');
    running[1]?.end();
    await turn();
    assert.deepEqual(outcomes, ['a done', 'b done', 'c done']);
    running[2]?.end();
    await turn();
    assert.deepEqual(outcomes.at(-1), 'd done');
  });

  test('a failure is told to all who wait, and to all who come later, and is tried no more', async () => {
    const { queue, running, outcomes, flush, told } = fixture();
    for (const name of ['a', 'b', 'c']) flush(name);
    await turn();
    running[0]?.fail();
    await turn();
    flush('d');
    await turn();
    assert.deepEqual(outcomes.sort(), ['a EIO', 'b EIO', 'c EIO', 'd EIO']);
    assert.equal(running.length, 1);
    assert.deepEqual(told, ['EIO']);
    assert.equal(queue.failure?.code, 'EIO');
  });

  test('recovered by repair and a flush that succeeds, not before', async () => {
    const { queue, running, outcomes, flush, told } = fixture();
    flush('a');
    running[0]?.fail();
    await turn();
    await assert.rejects(
      queue.recover(async () => {
        throw new BlockError('ENOENT');
      }),
      /ENOENT/,
    );
    const again = queue.recover(nothing);
    await turn();
    running[1]?.fail();
    await assert.rejects(again, /EIO/);
    let repairs = 0;
    const repair = async () => {
      repairs += 1;
    };
    const both = Promise.all([queue.recover(repair), queue.recover(repair)]);
    await turn();
    flush('b');
    await turn();
    assert.deepEqual(outcomes, ['a EIO', 'b EIO'], 'until then it fails');
    running[2]?.end();
    await both;
    assert.equal(repairs, 1);
    assert.deepEqual([queue.failure, told], [undefined, ['EIO', 'sound']]);
    flush('c');
    running[3]?.end();
    await turn();
    assert.equal(outcomes.at(-1), 'c done');
  });
});
