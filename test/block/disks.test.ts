// What one disk may have under way of the process's threads, and in which order the rest comes.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { DISK_OPERATIONS_AT_ONCE_MAX } from '../../src/base/limits.js';
import { Disks } from '../../src/block/disks.js';

/** Operations that end when they are told to. */
function operations() {
  const disk = new Disks().of(1n);
  const begun: string[] = [];
  const ends = new Map<string, (failure?: Error) => void>();
  const run = (file: object, name: string) =>
    disk.take(file, () => {
      begun.push(name);
      return new Promise<string>((resolve, reject) => {
        ends.set(name, (failure) => (failure === undefined ? resolve(name) : reject(failure)));
      });
    });
  const end = async (name: string, failure?: Error) => {
    ends.get(name)?.(failure);
    await turn();
  };
  return { begun, run, end };
}

const FILE = { file: 1 };
const OTHER = { file: 2 };

describe('a disk', () => {
  test('begins what there is room for at once, and the next with each end, also with a failure', async () => {
    const { begun, run, end } = operations();
    const all = Array.from({ length: DISK_OPERATIONS_AT_ONCE_MAX + 3 }, (_, index) => run(FILE, String(index)));
    assert.equal(begun.length, DISK_OPERATIONS_AT_ONCE_MAX);
    const failed = assert.rejects(all[3] ?? Promise.resolve(), /broken/);
    await end('3', new Error('broken'));
    await failed;
    assert.equal(begun.at(-1), String(DISK_OPERATIONS_AT_ONCE_MAX));
    await end('0');
    assert.equal(await all[0], '0');
    assert.equal(begun.length, DISK_OPERATIONS_AT_ONCE_MAX + 2);
    for (const name of [...begun]) await end(name);
    await end(begun.at(-1) ?? '');
    const after = run(FILE, 'after');
    assert.equal(begun.at(-1), 'after');
    await end('after');
    assert.equal(await after, 'after');
  });

  test('lets its files take turns, however much one of them asks for', async () => {
    const { begun, run, end } = operations();
    for (let index = 0; index < DISK_OPERATIONS_AT_ONCE_MAX + 4; index += 1) void run(FILE, `a${index}`);
    for (let index = 0; index < 2; index += 1) void run(OTHER, `b${index}`);
    for (let index = 0; index < 6; index += 1) await end(`a${index}`);
    assert.deepEqual(begun.slice(DISK_OPERATIONS_AT_ONCE_MAX), ['a8', 'b0', 'a9', 'b1', 'a10', 'a11']);
  });

  test('is the same for the same number, and no other', () => {
    const disks = new Disks();
    assert.equal(disks.of(7n), disks.of(7n));
    assert.notEqual(disks.of(7n), disks.of(8n));
  });
});
