import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { RangeLock } from '../../../src/block/overlay/range-lock.js';

test('of those who want the same blocks one has them at a time, in the order in which they asked; others need not wait', async () => {
  const lock = new RangeLock();
  const order: string[] = [];
  const endings = new Map<string, (how: 'well' | 'badly') => void>();
  const take = (name: string, start: number, end: number) => {
    const action = () =>
      new Promise<string>((resolve, reject) => {
        order.push(name);
        endings.set(name, (how) => (how === 'well' ? resolve(name) : reject(new Error(name))));
      });
    const taken = lock.while(start, end, action);
    taken.catch(() => {});
    return taken;
  };
  const a = take('a', 0, 10);
  const b = take('b', 5, 15);
  const c = take('c', 10, 20); // behind b, though it does not touch a
  take('d', 30, 31);
  const e = take('e', 9, 10);
  await turn();
  assert.deepEqual(order, ['a', 'd']);
  endings.get('a')?.('badly');
  await assert.rejects(a, /a/);
  await turn();
  assert.deepEqual(order, ['a', 'd', 'b']);
  endings.get('b')?.('well');
  assert.equal(await b, 'b');
  await turn();
  assert.deepEqual(order, ['a', 'd', 'b', 'c', 'e']);
  endings.get('c')?.('well');
  endings.get('e')?.('well');
  await Promise.all([c, e]);
});
