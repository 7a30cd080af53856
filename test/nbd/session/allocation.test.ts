import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import {
  NBD_STATUS_EXTENTS_MAX,
  NBD_STATUS_LOOKUPS_MAX,
  NBD_STATUS_WINDOW_BYTES_MIN,
} from '../../../src/base/limits.js';
import type { Extent } from '../../../src/block/block-device.js';
import { BlockError } from '../../../src/block/block-error.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { connectNbd, type NbdHaggling } from '../../../src/nbd/client/client.js';
import type { NbdDisk } from '../../../src/nbd/client/client-disk.js';
import { NbdFailed } from '../../../src/nbd/client/client-errors.js';
import { allocationAt } from '../../../src/nbd/session/allocation.js';
import { diskBoard } from '../../support/boards.js';
import { serveBoards } from '../../support/nbd-server.js';
import { SparseDevice } from '../../support/sparse-device.js';

const MEBI = 1024 * 1024;
const TEBI = 2 ** 40;

/** A disk of any size of which every block of `blockBytes` is data or a hole in turn; 0: all of it is a hole. */
function striped(sizeBytes: number, blockBytes: number) {
  const device = Object.assign(new MemoryDevice(0), { asked: 0 });
  Object.defineProperty(device, 'sizeBytes', { value: sizeBytes });
  device.extents = async (offset, lengthBytes) => {
    device.asked += 1;
    if (blockBytes === 0) return [{ offset, lengthBytes, kind: 'hole' }];
    const found: Extent[] = [];
    for (let at = offset; at < offset + lengthBytes; ) {
      const block = Math.floor(at / blockBytes);
      const end = Math.min((block + 1) * blockBytes, offset + lengthBytes);
      found.push({ offset: at, lengthBytes: end - at, kind: block % 2 === 0 ? 'data' : 'hole' });
      at = end;
    }
    return found;
  };
  return device;
}

function bytesOf(extents: readonly { readonly lengthBytes: number }[]): number {
  return extents.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
}

describe('the extents of a range', () => {
  test('are one where they are alike, over as many windows as it takes', async () => {
    const device = striped(4 * TEBI, 0);
    const lengthBytes = 2 ** 32 - 1;
    assert.deepEqual(await allocationAt(device, { offset: 5, lengthBytes }, 4096), [
      { offset: 5, lengthBytes, kind: 'hole' },
    ]);
    assert.ok(device.asked <= NBD_STATUS_LOOKUPS_MAX);
  });
  test('are fewer than asked for where the range is endless, but always some', async () => {
    const device = striped(4 * TEBI, 0);
    const [extent, ...others] = await allocationAt(device, { offset: 0, lengthBytes: 4 * TEBI }, 4096);
    assert.deepEqual(others, []);
    assert.ok((extent?.lengthBytes ?? 0) > 2 ** 32);
    assert.equal(device.asked, NBD_STATUS_LOOKUPS_MAX);
  });
  test('are no more than may be told, and the device is not asked for the rest', async () => {
    const device = striped(TEBI, 4096);
    const found = await allocationAt(device, { offset: 4096, lengthBytes: 2 ** 32 - 1 }, NBD_STATUS_EXTENTS_MAX);
    assert.equal(found.length, NBD_STATUS_EXTENTS_MAX);
    assert.equal(bytesOf(found), NBD_STATUS_EXTENTS_MAX * 4096);
    assert.ok(device.asked <= 2, `${device.asked} windows`);
  });
  test('end where one ends, if only one is wanted', async () => {
    const device = striped(TEBI, 20 * MEBI);
    const range = { offset: MEBI, lengthBytes: 2 ** 31 };
    assert.deepEqual(await allocationAt(device, range, 1), [{ offset: MEBI, lengthBytes: 19 * MEBI, kind: 'data' }]);
    assert.equal(device.asked, 2);
  });
  test('never go beyond the range', async () => {
    const device = striped(TEBI, NBD_STATUS_WINDOW_BYTES_MIN);
    for (const lengthBytes of [1, 511, NBD_STATUS_WINDOW_BYTES_MIN, 3 * NBD_STATUS_WINDOW_BYTES_MIN + 1]) {
      assert.equal(bytesOf(await allocationAt(device, { offset: 3, lengthBytes }, 4096)), lengthBytes);
    }
  });
});

describe('BLOCK_STATUS', () => {
  /** 4 MiB: data, a hole of 1 MiB at 1 MiB, data, zeroes from 2.5 to 3 MiB, data. */
  function sparse(): SparseDevice {
    const device = new SparseDevice(4 * MEBI);
    device.declare('hole', MEBI, MEBI);
    device.declare('zero', 2.5 * MEBI, MEBI / 2);
    return device;
  }

  async function haggling(context: TestContext, device: MemoryDevice): Promise<NbdHaggling> {
    const { port } = await serveBoards(context, [diskBoard('node1', device), diskBoard('node2', MEBI)]);
    const client = await connectNbd({ host: '127.0.0.1', port }, systemClock);
    context.after(() => client.destroy());
    await client.structuredReplies();
    return client;
  }

  async function attach(context: TestContext, device: MemoryDevice): Promise<NbdDisk> {
    const client = await haggling(context, device);
    assert.deepEqual(await client.listMetaContexts('node1'), [{ id: 0, name: 'base:allocation' }]);
    const [selected] = await client.setMetaContexts('node1', ['x-nobody:knows', 'base:allocation']);
    assert.equal(selected?.name, 'base:allocation');
    return await client.go('node1');
  }

  const einval = (error: unknown) => error instanceof NbdFailed && error.errno === 'EINVAL';

  test('tells data, zeroes and holes apart', async (context) => {
    const disk = await attach(context, sparse());
    assert.deepEqual(await disk.blockStatus(0, 4 * MEBI), [
      { lengthBytes: MEBI, flags: 0 },
      { lengthBytes: MEBI, flags: 3 },
      { lengthBytes: MEBI / 2, flags: 0 },
      { lengthBytes: MEBI / 2, flags: 2 },
      { lengthBytes: MEBI, flags: 0 },
    ]);
    assert.deepEqual(await disk.blockStatus(4 * MEBI - 1, 1), [{ lengthBytes: 1, flags: 0 }]);
  });

  test('tells one extent to who wants one, and no more than was asked', async (context) => {
    const disk = await attach(context, sparse());
    assert.deepEqual(await disk.blockStatus(0, 4 * MEBI, { one: true }), [{ lengthBytes: MEBI, flags: 0 }]);
    assert.deepEqual(await disk.blockStatus(MEBI + 7, 512, { one: true }), [{ lengthBytes: 512, flags: 3 }]);
  });

  test('of a range that is beyond the end, or nothing, is invalid', async (context) => {
    const disk = await attach(context, sparse());
    for (const [offset, lengthBytes] of [
      [4 * MEBI, 1],
      [0, 4 * MEBI + 1],
      [2 ** 32 - 1, 2 ** 32 - 1],
      [2 ** 52, 1],
      [0, 0],
      [4 * MEBI, 0],
    ] as const) {
      await assert.rejects(disk.blockStatus(offset, lengthBytes), einval, `${lengthBytes} at ${offset}`);
    }
    assert.equal((await disk.blockStatus(0, 1)).length, 1);
  });

  test('without a context, or with one of another export, is invalid', async (context) => {
    const none = await (await haggling(context, sparse())).go('node1');
    await assert.rejects(none.blockStatus(0, 512), einval);
    const other = await haggling(context, sparse());
    await other.setMetaContexts('node1', ['base:allocation']);
    await assert.rejects((await other.go('node2')).blockStatus(0, 512), einval);
    const forgotten = await haggling(context, sparse());
    await forgotten.setMetaContexts('node1', ['base:allocation']);
    await forgotten.setMetaContexts('node1', ['base:']);
    await assert.rejects((await forgotten.go('node1')).blockStatus(0, 512), einval);
  });

  test('of a disk that fails is an error, and the connection goes on', async (context) => {
    const device = sparse();
    const disk = await attach(context, device);
    device.extents = async () => {
      throw new BlockError('EIO');
    };
    await assert.rejects(disk.blockStatus(0, 512), (error) => error instanceof NbdFailed && error.errno === 'EIO');
    await disk.flush();
  });
});
