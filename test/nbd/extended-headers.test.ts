// The long headers: an experimental branch of proto.md, which no client of this distribution speaks. So it is our own.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import type { NbdDisk } from '../../src/nbd/client/client-disk.js';
import { NbdFailed } from '../../src/nbd/client/client-errors.js';
import { Option } from '../../src/nbd/wire/constants.js';
import { encodeExportRequest, encodeOption } from '../../src/nbd/wire/handshake-wire.js';
import { diskBoard } from '../support/boards.js';
import { hex } from '../support/nbd-bytes.js';
import { serveBoards } from '../support/nbd-server.js';
import { noise } from '../support/random.js';
import { type RawNbd, rawNbd } from '../support/raw-nbd.js';
import { SparseDevice } from '../support/sparse-device.js';

const MEBI = 1024 * 1024;
const COOKIE = '0000002a00000007';

async function attach(context: TestContext, device: MemoryDevice): Promise<NbdDisk> {
  const { port } = await serveBoards(context, [diskBoard('node1', device)]);
  const haggling = await connectNbd({ host: '127.0.0.1', port }, systemClock);
  await haggling.extendedHeaders();
  await haggling.setMetaContexts('node1', ['base:allocation']);
  const disk = await haggling.go('node1');
  context.after(() => disk.destroy());
  return disk;
}

async function raw(context: TestContext, device: MemoryDevice): Promise<RawNbd> {
  const { port } = await serveBoards(context, [diskBoard('node1', device)]);
  const client = await rawNbd(context, port).greeted();
  await client.send(
    encodeOption(Option.ExtendedHeaders, new Uint8Array(0)),
    encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [] })),
  );
  for (let left = 3; left > 0; left -= 1) await client.optionReply();
  return client;
}

/** A disk of 8 TiB that remembers what was asked of it, and keeps nothing. */
function hugeDevice(): MemoryDevice & { readonly asked: (readonly [string, number, number])[] } {
  const asked: (readonly [string, number, number])[] = [];
  const device = Object.assign(new MemoryDevice(0), { asked });
  Object.defineProperty(device, 'sizeBytes', { value: 2 ** 43 });
  device.zero = async (offset, lengthBytes) => void asked.push(['zero', offset, lengthBytes]);
  device.discard = async (offset, lengthBytes) => void asked.push(['discard', offset, lengthBytes]);
  device.extents = async (offset, lengthBytes) => [{ offset, lengthBytes, kind: 'hole' }];
  return device;
}

describe('with extended headers', () => {
  test('everything is as it was', async (context) => {
    const device = new SparseDevice(8 * MEBI);
    const disk = await attach(context, device);
    const payload = Buffer.from(noise(3 * MEBI + 5));
    await disk.write(7, payload, { durable: true });
    assert.ok(payload.equals(await disk.read(7, payload.length)));
    assert.ok(payload.subarray(0, 512).equals(await disk.read(7, 512, { unfragmented: true })));
    await disk.writeZeroes(7, 100, { fast: true });
    await disk.trim(MEBI, 4096);
    await disk.cache(0, MEBI);
    await disk.flush();
    assert.equal((await disk.read(0, 0)).length, 0);
    device.declare('hole', 4 * MEBI, 2 * MEBI);
    assert.ok((await disk.read(4 * MEBI, 4 * MEBI)).every((byte) => byte === 0));
    assert.deepEqual(await disk.blockStatus(4 * MEBI, 4 * MEBI), [
      { lengthBytes: 2 * MEBI, flags: 3 },
      { lengthBytes: 2 * MEBI, flags: 0 },
    ]);
    await assert.rejects(
      disk.read(8 * MEBI, 1),
      (error) => error instanceof NbdFailed && /end of the disk/.test(error.sentence),
    );
    await assert.rejects(
      disk.write(8 * MEBI, Uint8Array.of(1)),
      (error) => error instanceof NbdFailed && error.errno === 'ENOSPC',
    );
    await disk.disconnect();
  });

  test('a request may cover more than 4 GiB', async (context) => {
    const device = hugeDevice();
    const disk = await attach(context, device);
    await disk.writeZeroes(0, 2 ** 43);
    await disk.trim(2 ** 33, 2 ** 42);
    assert.deepEqual(device.asked, [
      ['zero', 0, 2 ** 43],
      ['discard', 2 ** 33, 2 ** 42],
    ]);
    const [extent] = await disk.blockStatus(0, 2 ** 43);
    assert.ok(extent?.flags === 3 && extent.lengthBytes > 2 ** 32);
    assert.deepEqual(await disk.blockStatus(0, 2 ** 32 + 1, { one: true }), [{ lengthBytes: 2 ** 32 + 1, flags: 3 }]);
    const einval = (error: unknown) => error instanceof NbdFailed && error.errno === 'EINVAL';
    for (const lengthBytes of [2 ** 43 + 1, 2 ** 53, 2 ** 63]) {
      await assert.rejects(disk.trim(0, lengthBytes), einval);
      await assert.rejects(disk.blockStatus(0, lengthBytes), einval);
    }
    await disk.flush();
  });

  test('bytes are as the branch of proto.md draws them', async (context) => {
    const client = await raw(context, new MemoryDevice(new Uint8Array(4096).fill(0xee)));
    const rows: readonly (readonly [string, string])[] = [
      // READ of 4 bytes at 16: OFFSET_DATA, DONE.
      [
        `21e41c71 0000 0000 ${COOKIE} 0000000000000010 0000000000000004`,
        `6e8a278c 0001 0001 ${COOKIE} 0000000000000010 000000000000000c 0000000000000010 eeeeeeee`,
      ],
      // WRITE with PAYLOAD_LEN: NONE, DONE.
      [
        `21e41c71 0020 0001 ${COOKIE} 0000000000000010 0000000000000002 abcd`,
        `6e8a278c 0001 0000 ${COOKIE} 0000000000000010 0000000000000000`,
      ],
      // FLUSH.
      [
        `21e41c71 0000 0003 ${COOKIE} 0000000000000000 0000000000000000`,
        `6e8a278c 0001 0000 ${COOKIE} 0000000000000000 0000000000000000`,
      ],
      [
        `21e41c71 0000 0000 ${COOKIE} 000000000000000f 0000000000000004`,
        `6e8a278c 0001 0001 ${COOKIE} 000000000000000f 000000000000000c 000000000000000f eeabcdee`,
      ],
    ];
    for (const [request, reply] of rows) {
      await client.send(hex(request));
      const expected = hex(reply);
      assert.deepEqual(Uint8Array.from((await client.receive(expected.length)) ?? []), expected);
    }
  });

  test('a payload where none belongs is read away and refused, one that is too long ends it', async (context) => {
    const client = await raw(context, new MemoryDevice(4096));
    const refused = async (request: string) => {
      await client.send(hex(request));
      const head = Buffer.from((await client.receive(32)) ?? []);
      assert.equal(head.readUInt16BE(6), 0x8001);
      const body = Buffer.from((await client.receive(Number(head.readBigUInt64BE(24)))) ?? []);
      return body.readUInt32BE(0);
    };
    // BLOCK_STATUS with the payload that the branch has for it, which is not offered; a READ with one; a WRITE without.
    assert.equal(
      await refused(`21e41c71 0020 0007 ${COOKIE} ${'0'.repeat(16)} 000000000000000c 0000000000001000 00000001`),
      22,
    );
    assert.equal(await refused(`21e41c71 0020 0000 ${COOKIE} ${'0'.repeat(16)} 0000000000000002 ffff`), 22);
    assert.equal(await refused(`21e41c71 0000 0001 ${COOKIE} ${'0'.repeat(16)} 0000000000000200`), 22);
    for (const length of ['0000000000000001', '8000000000000000', 'ffffffffffffffff']) {
      assert.equal(await refused(`21e41c71 0000 0004 ${COOKIE} ffffffffffffffff ${length}`), 22);
    }
    await client.send(hex(`21e41c71 0020 0001 ${COOKIE} ${'0'.repeat(16)} ffffffffffffffff`));
    await client.ended();
  });

  test('a compact request is none', async (context) => {
    const client = await raw(context, new MemoryDevice(4096));
    await client.send(hex(`25609513 0000 0003 ${COOKIE} ${'0'.repeat(16)} 00000000 00000000`));
    await client.ended();
  });
});
