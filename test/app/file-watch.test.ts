import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FileWatch } from '../../src/app/file-watch.js';
import { INVENTORY_LOOK_MS } from '../../src/base/limits.js';
import { FakeClock } from '../support/fake-clock.js';

function world() {
  const clock = new FakeClock();
  let sight = 'first';
  let told = 0;
  const watch = new FileWatch(async () => sight, {
    clock,
    changed: () => {
      told += 1;
    },
  });
  const look = async () => {
    clock.advance(INVENTORY_LOOK_MS);
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  };
  return {
    ...{ watch, look, told: () => told },
    is(next: string) {
      sight = next;
    },
  };
}

test('a file that has changed is told of once, when it is left alone', async () => {
  const { watch, look, told, is } = world();
  watch.set(true, 'first');
  await look();
  await look();
  assert.equal(told(), 0);
  is('emptied');
  await look();
  is('half');
  await look();
  is('whole');
  await look();
  assert.equal(told(), 0);
  await look();
  assert.equal(told(), 1);
  await look();
  assert.equal(told(), 1);
});

test('what was read by somebody else meanwhile is not told of', async () => {
  const { watch, look, told, is } = world();
  watch.set(true, 'first');
  is('second');
  await look();
  watch.set(true, 'second'); // `brambleboot reload`
  await look();
  await look();
  assert.equal(told(), 0);
  is('first');
  await look();
  await look();
  assert.equal(told(), 1);
});

test('nothing is told while it is off, and what changed then when it is on again', async () => {
  const { watch, look, told, is } = world();
  watch.set(true, 'first');
  await look();
  watch.set(false, 'first');
  is('second');
  await look();
  await look();
  assert.equal(told(), 0);
  watch.set(true, 'first');
  await look();
  await look();
  assert.equal(told(), 1);
  watch.stop();
  is('third');
  await look();
  await look();
  assert.equal(told(), 1);
});
