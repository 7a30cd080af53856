import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { slice } from '../../src/block/slice.js';
import { SpaceQueue } from '../../src/block/space-queue.js';
import { WaitingDevice } from '../../src/block/waiting-device.js';
import { watched } from '../../src/block/watched-device.js';
import { FakeClock } from '../support/fake-clock.js';

describe('a slice of a disk', () => {
  const disk = () => new MemoryDevice(Uint8Array.from({ length: 100 }, (_, index) => index));

  test('reads and writes at its own offsets', async () => {
    const whole = disk();
    const part = slice(whole, 10, 20);
    const target = new Uint8Array(3);
    await part.read(0, target);
    assert.deepEqual([...target], [10, 11, 12]);
    assert.equal(part.readNow(17, target), true);
    assert.deepEqual([...target], [27, 28, 29]);
    await part.write(19, Uint8Array.of(99), { durable: true });
    await part.zero(0, 2, { keepAllocated: true, durable: false });
    await part.discard(2, 1);
    await part.flush();
    assert.deepEqual([...whole.bytes.subarray(9, 14)], [9, 0, 0, 0, 13]);
    assert.equal(whole.bytes[29], 99);
  });

  test('turns if its disk does, as all that lies above a disk', () => {
    class TurningDevice extends MemoryDevice {
      override readonly rotational = true;
    }
    for (const [disk, expected] of [
      [new TurningDevice(100), true],
      [new MemoryDevice(100), false],
    ] as const) {
      const above = new WaitingDevice(watched(disk), new SpaceQueue(new FakeClock()));
      assert.equal(slice(above, 0, 10).rotational, expected);
    }
  });

  test('never reaches beyond its ends', async () => {
    const part = slice(disk(), 10, 20);
    await assert.rejects(part.read(18, new Uint8Array(3)), RangeError);
    await assert.rejects(part.write(20, new Uint8Array(1), { durable: false }), RangeError);
    await assert.rejects(part.zero(-1, 1, { keepAllocated: false, durable: false }), RangeError);
    await assert.rejects(part.discard(0, 21), RangeError);
    await assert.rejects(part.extents(1, 20), RangeError);
    assert.throws(() => part.readNow(20, new Uint8Array(1)), RangeError);
    assert.throws(() => slice(disk(), 90, 11), RangeError);
  });

  test('reports extents in its own offsets and leaves the disk open when closed', async () => {
    const whole = disk();
    const part = slice(whole, 10, 20);
    assert.deepEqual(await part.extents(5, 10), [{ offset: 5, lengthBytes: 10, kind: 'data' }]);
    await part.close();
    await whole.read(0, new Uint8Array(1));
  });
});
