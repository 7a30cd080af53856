import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { watched } from '../../src/block/watched-device.js';

describe('a watched device', () => {
  test('tells of writes, zeroes and discards that touch the range, before and after, and of no others', async () => {
    const told: string[] = [];
    const device = watched(new MemoryDevice(100));
    device.watch(10, 10, {
      changing(offset, length) {
        told.push(`changing ${offset}+${length}`);
        return undefined;
      },
      changed: () => told.push('changed'),
    });
    await device.write(0, new Uint8Array(10), { durable: false });
    await device.write(20, new Uint8Array(1), { durable: false });
    await device.read(10, new Uint8Array(1));
    assert.deepEqual(told, []);
    await device.write(9, new Uint8Array(2), { durable: false });
    await device.zero(19, 5, { keepAllocated: false, durable: false });
    await device.discard(12, 1);
    assert.deepEqual(told, ['changing 9+2', 'changed', 'changing 19+5', 'changed', 'changing 12+1', 'changed']);
  });

  test('a change waits for its watchers and happens after them', async () => {
    const memory = new MemoryDevice(100);
    const device = watched(memory);
    let release = () => {};
    device.watch(0, 100, {
      changing: () => new Promise((resolve) => (release = resolve)),
      changed() {},
    });
    const write = device.write(5, Uint8Array.of(7), { durable: false });
    await Promise.resolve();
    assert.equal(memory.bytes[5], 0);
    release();
    await write;
    assert.equal(memory.bytes[5], 7);
  });

  test('a failed change is over too, and a watch that ended hears nothing', async () => {
    let begun = 0;
    let over = 0;
    const device = watched(new MemoryDevice(100));
    const end = device.watch(0, 200, {
      changing() {
        begun += 1;
        return undefined;
      },
      changed() {
        over += 1;
      },
    });
    await assert.rejects(device.write(99, new Uint8Array(2), { durable: false }), RangeError);
    assert.deepEqual([begun, over], [1, 1]);
    end();
    await device.write(0, new Uint8Array(2), { durable: false });
    assert.equal(begun, 1);
  });
});
