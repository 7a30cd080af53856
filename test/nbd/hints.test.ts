import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { NBD_PREFETCH_BYTES_MAX } from '../../src/base/limits.js';
import { silentLog } from '../../src/base/log.js';
import type { ZeroOptions } from '../../src/block/block-device.js';
import { BlockError } from '../../src/block/block-error.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import type { NbdDisk } from '../../src/nbd/client/client-disk.js';
import { NbdFailed } from '../../src/nbd/client/client-errors.js';
import { diskBoard } from '../support/boards.js';
import { serveBoards } from '../support/nbd-server.js';

/** A disk that can zero quickly only where the space may be given back. */
class SlowZeroes extends MemoryDevice {
  readonly asked: ZeroOptions[] = [];

  override async zero(offset: number, lengthBytes: number, options: ZeroOptions): Promise<void> {
    this.asked.push(options);
    if (options.fast && options.keepAllocated) throw new BlockError('ENOTSUP');
    await super.zero(offset, lengthBytes, options);
  }
}

async function attach(context: TestContext, device: MemoryDevice, said: string[] = []): Promise<NbdDisk> {
  const log = { ...silentLog, warn: (_: object, event: string) => void said.push(event) };
  const { port } = await serveBoards(context, [diskBoard('node1', device)], { log });
  const disk = await (await connectNbd({ host: '127.0.0.1', port }, systemClock)).go('node1');
  context.after(() => disk.destroy());
  return disk;
}

test('zeroes that must be quick are refused where they are not, with the one errno that means it, and nothing changed', async (context) => {
  const device = new SlowZeroes(new Uint8Array(4096).fill(7));
  const said: string[] = [];
  const disk = await attach(context, device, said);
  const notQuick = (error: unknown) => error instanceof NbdFailed && error.errno === 'ENOTSUP';
  await assert.rejects(disk.writeZeroes(0, 512, { fast: true, keepAllocated: true }), notQuick);
  assert.equal(device.bytes[0], 7);
  assert.deepEqual(said, [], 'who asks is told; the log has nothing to say');
  await disk.writeZeroes(0, 512, { fast: true });
  await disk.writeZeroes(512, 512, { keepAllocated: true });
  assert.ok(device.bytes.subarray(0, 1024).every((byte) => byte === 0));
  assert.deepEqual(device.asked, [
    { keepAllocated: true, durable: false, fast: true },
    { keepAllocated: false, durable: false, fast: true },
    { keepAllocated: true, durable: false, fast: false },
  ]);
});

test('a device that cannot do what needs not be quick is never told as ENOTSUP', async (context) => {
  const device = new MemoryDevice(4096);
  device.zero = async () => {
    throw new BlockError('ENOTSUP');
  };
  const disk = await attach(context, device);
  await assert.rejects(disk.writeZeroes(0, 512), (error) => error instanceof NbdFailed && error.errno === 'EINVAL');
});

test('CACHE brings into memory what was asked for, up to a bound, and fails as the disk does', async (context) => {
  const device = new MemoryDevice(NBD_PREFETCH_BYTES_MAX + 4096);
  const asked: (readonly [number, number])[] = [];
  device.prefetch = async (...range: readonly number[]) => {
    const [offset = -1, lengthBytes = -1] = range;
    if (offset === 512) throw new BlockError('EIO');
    asked.push([offset, lengthBytes]);
  };
  const disk = await attach(context, device);
  await disk.cache(4096, 8192);
  await disk.cache(0, NBD_PREFETCH_BYTES_MAX + 4096);
  await assert.rejects(disk.cache(512, 1), (error) => error instanceof NbdFailed && error.errno === 'EIO');
  assert.deepEqual(asked, [
    [4096, 8192],
    [0, NBD_PREFETCH_BYTES_MAX],
  ]);
});
