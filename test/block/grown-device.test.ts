import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { grown } from '../../src/block/grown-device.js';
import { noise } from '../support/random.js';
import { SparseDevice } from '../support/sparse-device.js';

const SOFT = { keepAllocated: false, durable: false };

describe('a disk made larger', () => {
  const image = () => {
    const device = new SparseDevice(noise(1000));
    device.declare('hole', 900, 100);
    return device;
  };

  test('is followed by zeroes, wherever a read begins and ends', async () => {
    const disk = grown(image(), 1500);
    const model = Buffer.alloc(1500);
    model.set(noise(1000).fill(0, 900));
    for (const [offset, length] of [
      [0, 1500],
      [990, 20],
      [1000, 500],
      [1499, 1],
      [1500, 0],
      [10, 5],
    ] as const) {
      for (const read of [
        (target: Uint8Array) => disk.read(offset, target),
        (target: Uint8Array) => disk.readNow(offset, target),
      ]) {
        const target = new Uint8Array(length).fill(0xa5);
        await read(target);
        assert.ok(model.subarray(offset, offset + length).equals(target), `${length} at ${offset}`);
      }
      await disk.prefetch(offset, length);
    }
    assert.deepEqual(await disk.extents(800, 700), [
      { offset: 800, lengthBytes: 100, kind: 'data' },
      { offset: 900, lengthBytes: 600, kind: 'hole' },
    ]);
    assert.deepEqual(await disk.extents(1200, 100), [{ offset: 1200, lengthBytes: 100, kind: 'hole' }]);
    await assert.rejects(disk.read(1, new Uint8Array(1500)), RangeError);
  });

  test('is only read, is the disk itself where it grows by nothing, and never smaller', async () => {
    const device = image();
    const disk = grown(device, 1500);
    for (const change of [disk.write(0, noise(1), { durable: false }), disk.zero(0, 1, SOFT), disk.discard(0, 1)]) {
      await assert.rejects(change, { code: 'EROFS' });
    }
    await disk.flush();
    await disk.close();
    assert.equal(device.bytes.length, 1000);
    assert.equal(grown(device, 1000), device);
    assert.throws(() => grown(device, 999), RangeError);
  });
});
