import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { type WatchedDevice, watched } from '../../src/block/watched-device.js';

/** Watches changes that begin below `limit`, and writes down what it is told. */
function watchBelow(device: WatchedDevice, limit: number) {
  const told: string[] = [];
  const end = device.watch({
    changing(offset, lengthBytes) {
      if (offset >= limit) return undefined;
      told.push(`changing ${offset}+${lengthBytes}`);
      return { ready: undefined, over: () => void told.push('over') };
    },
  });
  return { told, end };
}

describe('a watched device', () => {
  test('tells of writes, zeroes and discards before and after, once each, and not of reads', async () => {
    const device = watched(new MemoryDevice(100));
    const { told } = watchBelow(device, 50);
    await device.read(10, new Uint8Array(1));
    await device.flush();
    await device.write(60, new Uint8Array(10), { durable: false });
    assert.deepEqual(told, []);
    await device.write(9, new Uint8Array(2), { durable: false });
    await device.zero(19, 5, { keepAllocated: false, durable: false });
    await device.discard(12, 1);
    assert.deepEqual(told, ['changing 9+2', 'over', 'changing 19+5', 'over', 'changing 12+1', 'over']);
  });

  test('a change waits for its watchers and happens after them', async () => {
    const memory = new MemoryDevice(100);
    const device = watched(memory);
    let release = () => {};
    const ready = new Promise<void>((resolve) => {
      release = resolve;
    });
    device.watch({ changing: () => ({ ready, over() {} }) });
    const write = device.write(5, Uint8Array.of(7), { durable: false });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(memory.bytes[5], 0);
    release();
    await write;
    assert.equal(memory.bytes[5], 7);
  });

  test('a failed change is over too, and a watch that ended hears nothing', async () => {
    const device = watched(new MemoryDevice(100));
    const { told, end } = watchBelow(device, 200);
    await assert.rejects(device.write(99, new Uint8Array(2), { durable: false }), RangeError);
    assert.deepEqual(told, ['changing 99+2', 'over']);
    end.stop();
    await device.write(0, new Uint8Array(2), { durable: false });
    assert.equal(told.length, 2);
  });
});
