import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClosedDevice } from '../../src/block/closed-device.js';

test('a disk that is not open answers every change and read with EIO, and none of it is a bug', async () => {
  const disk = new ClosedDevice('state/disks/node1', 100);
  const isClosed = { code: 'EIO', message: 'state/disks/node1: EIO: the disk is not open' };
  await assert.rejects(disk.read(), isClosed);
  await assert.rejects(disk.write(), isClosed);
  await assert.rejects(disk.zero(), isClosed);
  await assert.rejects(disk.discard(), isClosed);
  await assert.rejects(disk.extents(), isClosed);
  assert.equal(disk.readNow(), false);
  await disk.flush();
  await disk.prefetch();
  await disk.reopen();
  await disk.close();
  assert.deepEqual([disk.sizeBytes, disk.failure], [100, undefined]);
});
