// READs whose replies come in chunks, as the client sees them.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import { NBD_SPARSE_READ_BYTES_MIN, NBD_STREAMED_BYTES, NBD_UNFRAGMENTED_BYTES_MAX } from '../../../src/base/limits.js';
import { BlockError } from '../../../src/block/block-error.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { connectNbd } from '../../../src/nbd/client/client.js';
import type { NbdDisk } from '../../../src/nbd/client/client-disk.js';
import { NbdFailed } from '../../../src/nbd/client/client-errors.js';
import { Command, CommandFlag, Errno } from '../../../src/nbd/wire/constants.js';
import { diskBoard } from '../../support/boards.js';
import { requestBytes } from '../../support/nbd-bytes.js';
import { serveBoards } from '../../support/nbd-server.js';
import { noise } from '../../support/random.js';
import { type RawNbd, rawNbd } from '../../support/raw-nbd.js';
import { SparseDevice } from '../../support/sparse-device.js';

const MEBI = 1024 * 1024;

async function rawTo(context: TestContext, device: MemoryDevice): Promise<RawNbd> {
  const { port } = await serveBoards(context, [diskBoard('node1', device)]);
  return await rawNbd(context, port).transmittingInChunks();
}

async function attach(context: TestContext, device: MemoryDevice): Promise<NbdDisk> {
  const { port } = await serveBoards(context, [diskBoard('node1', device)]);
  const haggling = await connectNbd({ host: '127.0.0.1', port }, systemClock);
  await haggling.structuredReplies();
  const disk = await haggling.go('node1');
  context.after(() => disk.destroy());
  return disk;
}

/** Data that come in as many chunks as are sent at once, one behind the other, as one. */
function dataIn(
  offset: number,
  lengthBytes: number,
  endsReply = false,
): (readonly [string, number, number, boolean])[] {
  const count = lengthBytes / NBD_STREAMED_BYTES;
  return Array.from({ length: count }, (_, index) => {
    return ['data', offset + index * NBD_STREAMED_BYTES, NBD_STREAMED_BYTES, endsReply && index === count - 1];
  });
}

/** Kind, place, length and whether it is the last, of each chunk of one reply. */
async function chunksOf(raw: RawNbd): Promise<(readonly [string, number, number, boolean])[]> {
  const found: (readonly [string, number, number, boolean])[] = [];
  for (;;) {
    const chunk = await raw.chunk();
    assert.ok(chunk !== undefined);
    const { body } = chunk;
    const isLast = chunk.flags === 1;
    if (body.kind === 'data') found.push(['data', Number(body.offset), body.data.length, isLast]);
    else if (body.kind === 'hole') found.push(['hole', Number(body.offset), body.lengthBytes, isLast]);
    else if (body.kind === 'errorAt') found.push([`error ${body.error}`, Number(body.offset), 0, isLast]);
    else found.push([body.kind, 0, 0, isLast]);
    if (isLast) return found;
  }
}

function read(parts: { readonly offset: number; readonly lengthBytes: number; readonly flags?: number }): Uint8Array {
  return requestBytes({ ...parts, command: Command.Read, offset: BigInt(parts.offset) });
}

/** 4 MiB: data but for a hole of 1 MiB at 1 MiB and zeroes from 2.5 to 3 MiB. */
function sparse(): SparseDevice {
  const device = new SparseDevice(Uint8Array.from(noise(4 * MEBI)));
  device.declare('hole', MEBI, MEBI);
  device.declare('zero', 2.5 * MEBI, 0.5 * MEBI);
  return device;
}

describe('a READ in chunks', () => {
  test('is one chunk where it is small, and nobody looks for zeroes', async (context) => {
    const device = sparse();
    const raw = await rawTo(context, device);
    await raw.send(read({ offset: MEBI + 1, lengthBytes: NBD_SPARSE_READ_BYTES_MIN - 1 }));
    assert.deepEqual(await chunksOf(raw), [['data', MEBI + 1, NBD_SPARSE_READ_BYTES_MIN - 1, true]]);
    assert.equal(device.asked, 0);
  });

  test('tells zeroes instead of sending them, and comes in pieces', async (context) => {
    const raw = await rawTo(context, sparse());
    await raw.send(read({ offset: 0, lengthBytes: 4 * MEBI }));
    assert.deepEqual(await chunksOf(raw), [
      ...dataIn(0, MEBI),
      ['hole', MEBI, MEBI, false],
      ...dataIn(2 * MEBI, MEBI / 2),
      ['hole', 2.5 * MEBI, MEBI / 2, false],
      ...dataIn(3 * MEBI, MEBI, true),
    ]);
    await raw.send(read({ offset: MEBI + 512, lengthBytes: MEBI }));
    assert.deepEqual(await chunksOf(raw), [
      ['hole', MEBI + 512, MEBI - 512, false],
      ['data', 2 * MEBI, 512, true],
    ]);
  });

  test('of nothing is nothing', async (context) => {
    const raw = await rawTo(context, sparse());
    await raw.send(read({ offset: 7, lengthBytes: 0 }), read({ offset: 7, lengthBytes: 0, flags: CommandFlag.Df }));
    assert.deepEqual(await chunksOf(raw), [['none', 0, 0, true]]);
    assert.deepEqual(await chunksOf(raw), [['none', 0, 0, true]]);
  });

  test('that may not be fragmented is one chunk with its zeroes in it, or too long', async (context) => {
    const device = sparse();
    const raw = await rawTo(context, device);
    const flags = CommandFlag.Df;
    for (const lengthBytes of [65_536, NBD_UNFRAGMENTED_BYTES_MAX]) {
      await raw.send(read({ offset: 1.5 * MEBI, lengthBytes, flags }));
      assert.deepEqual(await chunksOf(raw), [['data', 1.5 * MEBI, lengthBytes, true]]);
    }
    assert.equal(device.asked, 0);
    await raw.send(read({ offset: 0, lengthBytes: NBD_UNFRAGMENTED_BYTES_MAX + 1, flags }));
    const refused = await raw.chunk();
    assert.ok(refused?.body.kind === 'error' && refused.body.error === Errno.EOVERFLOW && refused.flags === 1);
    assert.match(refused.body.sentence, /without DF/);
  });

  test('holds the same bytes as the disk, wherever it begins and ends', async (context) => {
    const device = sparse();
    const disk = await attach(context, device);
    for (const [offset, lengthBytes] of [
      [0, 4 * MEBI],
      [MEBI - 5, MEBI + 9],
      [MEBI - 1, 2],
      [2.5 * MEBI + 1, NBD_SPARSE_READ_BYTES_MIN],
      [3 * MEBI - 3, MEBI + 3],
      [4 * MEBI, 0],
    ] as const) {
      const expected = Buffer.from(device.bytes.subarray(offset, offset + lengthBytes));
      assert.ok(expected.equals(await disk.read(offset, lengthBytes)), `${lengthBytes} at ${offset}`);
    }
    assert.equal((await disk.read(MEBI, 65_536, { unfragmented: true })).length, 65_536);
  });

  test('is beside others, not in front of them', async (context) => {
    const device = new MemoryDevice(8 * MEBI);
    const raw = await rawTo(context, device);
    let release = () => {};
    const stuck = new Promise<void>((resolve) => {
      release = resolve;
    });
    device.readNow = (offset, target) =>
      offset !== NBD_STREAMED_BYTES && MemoryDevice.prototype.readNow.call(device, offset, target);
    device.read = async () => await stuck;
    await raw.send(requestBytes({ cookie: 1n, lengthBytes: 4 * MEBI }));
    assert.equal((await raw.chunk())?.cookie, 1n);
    await raw.send(requestBytes({ cookie: 2n, lengthBytes: 512 }));
    const other = await raw.chunk();
    assert.deepEqual([other?.cookie, other?.flags], [2n, 1]);
    release();
    for (let left = (4 * MEBI) / NBD_STREAMED_BYTES - 1; left > 0; left -= 1)
      assert.equal((await raw.chunk())?.cookie, 1n);
  });

  test('that fails in the middle says where, and the connection goes on', async (context) => {
    const device = new MemoryDevice(Uint8Array.from(noise(4 * MEBI)));
    const disk = await attach(context, device);
    device.readNow = () => false;
    device.read = async (offset, target) => {
      if (offset >= 2 * MEBI) throw new BlockError('EIO');
      target.set(device.bytes.subarray(offset, offset + target.length));
    };
    const failed = (at: number) => (error: unknown) =>
      error instanceof NbdFailed &&
      error.errno === 'EIO' &&
      error.at === at &&
      /nbd\.request\.failed/.test(error.sentence);
    await assert.rejects(disk.read(MEBI, 3 * MEBI), failed(2 * MEBI));
    await assert.rejects(disk.read(2 * MEBI + 5, 512), failed(2 * MEBI + 5));
    assert.ok(Buffer.from(device.bytes.subarray(0, MEBI)).equals(await disk.read(0, MEBI)));
  });

  test('does not fail because nobody can tell what is a hole', async (context) => {
    const device = sparse();
    device.extents = async () => {
      throw new BlockError('ENOTSUP');
    };
    const raw = await rawTo(context, device);
    await raw.send(read({ offset: MEBI, lengthBytes: MEBI }));
    assert.deepEqual(await chunksOf(raw), dataIn(MEBI, MEBI, true));
  });
});

test('every other reply is a simple one if it is good, and an error in words if it is not', async (context) => {
  const raw = await rawTo(context, new MemoryDevice(MEBI));
  await raw.send(requestBytes({ command: Command.Write, cookie: 3n, lengthBytes: 1 }), Uint8Array.of(1));
  assert.deepEqual(await raw.reply(), { error: 0, cookie: 3n });
  const refused = [
    { command: Command.Read, offset: BigInt(MEBI), lengthBytes: 1, error: Errno.EINVAL, words: /end of the disk/ },
    { command: Command.Trim, offset: BigInt(MEBI), lengthBytes: 1, error: Errno.EINVAL, words: /end of the disk/ },
    { command: Command.Flush, lengthBytes: 1, error: Errno.EINVAL, words: /must be 0/ },
    { command: Command.Read, flags: CommandFlag.NoHole, error: Errno.EINVAL, words: /flag/ },
    { command: 4711, error: Errno.EINVAL, words: /does not know the command/ },
  ];
  for (const { error, words, ...request } of refused) {
    await raw.send(requestBytes({ ...request, cookie: 4n }));
    const chunk = await raw.chunk();
    assert.ok(chunk?.cookie === 4n && chunk.flags === 1 && chunk.body.kind === 'error');
    assert.equal(chunk.body.error, error);
    assert.match(chunk.body.sentence, words);
  }
});

test('64 READs in chunks that a client never takes cost no more than simple ones', async (context) => {
  const device = new MemoryDevice(64 * MEBI);
  const { port, server } = await serveBoards(context, [diskBoard('node1', device)]);
  const raw = await rawNbd(context, port).transmittingInChunks();
  await raw.send(...Array.from({ length: 64 }, () => requestBytes({ lengthBytes: 48 * MEBI })));
  for (let round = 0; round < 400; round += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(server.bufferedBytes() <= 8 * MEBI, `${server.bufferedBytes()} bytes`);
  }
});
