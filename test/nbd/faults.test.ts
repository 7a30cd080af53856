// What a disk does wrong, as the clients of the server see it.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { BlockError } from '../../src/block/block-error.js';
import { SpaceQueue } from '../../src/block/space-queue.js';
import { watched } from '../../src/block/watched-device.js';
import type { Board } from '../../src/boards/board.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { Command, CommandFlag, Errno } from '../../src/nbd/wire/constants.js';
import { diskBoard } from '../support/boards.js';
import { FaultDevice } from '../support/fault-device.js';
import { requestBytes } from '../support/nbd-bytes.js';
import { serveBoards, until } from '../support/nbd-server.js';
import { seeded } from '../support/random.js';
import { type RawNbd, rawNbd } from '../support/raw-nbd.js';

const MEBI = 1024 * 1024;

type OnFull = 'wait' | 'error';

async function served(context: TestContext, options: { readonly onFull?: OnFull; readonly sizeBytes?: number } = {}) {
  const medium = new FaultDevice(options.sizeBytes ?? 4 * MEBI);
  const space = options.onFull === 'wait' ? new SpaceQueue(systemClock) : undefined;
  const board: Board = { ...diskBoard('node1', watched(medium)), space, medium };
  const other = new FaultDevice(MEBI);
  const { port, server } = await serveBoards(context, [board, diskBoard('node2', other)]);
  const client = (name = 'node1', from?: string) => rawNbd(context, port, from).transmitting(name);
  return { medium, other, server, port, client };
}

interface Parts {
  readonly offset?: number;
  readonly lengthBytes?: number;
  readonly durable?: boolean;
}

function request(command: number, cookie: number, { offset = 0, lengthBytes = 0, durable = false }: Parts = {}) {
  const flags = durable ? CommandFlag.Fua : 0;
  const header = requestBytes({ command, flags, cookie: BigInt(cookie), offset: BigInt(offset), lengthBytes });
  return command === Command.Write ? Buffer.concat([header, Buffer.alloc(lengthBytes, cookie)]) : header;
}

/** The errors of the next so many replies, by cookie: replies come in any order. */
async function errorsOf(raw: RawNbd, count: number): Promise<Readonly<Record<string, number | undefined>>> {
  const replies: [string, number][] = [];
  for (let index = 0; index < count; index += 1) {
    const reply = await raw.reply();
    if (reply !== undefined) replies.push([String(reply.cookie), reply.error]);
  }
  return Object.fromEntries(replies);
}

const CHANGES = [
  ['WRITE', Command.Write],
  ['WRITE_ZEROES', Command.WriteZeroes],
  ['TRIM', Command.Trim],
] as const;

/** The second half of the disk fails. */
function failsBehind(medium: FaultDevice, code: 'ENOSPC' | 'EIO'): void {
  medium.faultOf = (operation, offset) => (operation !== 'flush' && offset >= medium.sizeBytes / 2 ? code : undefined);
}

describe('a change that fails', () => {
  for (const [name, command] of CHANGES) {
    for (const [code, onFull] of [
      ['ENOSPC', 'error'],
      ['EIO', 'error'],
      ['EIO', 'wait'],
    ] as const) {
      test(`${name} with ${code}, on_full: ${onFull}: told to who asked, and to nobody else`, async (context) => {
        const { medium, client } = await served(context, { onFull });
        failsBehind(medium, code);
        const [asking, beside, elsewhere] = [await client(), await client(), await client('node2')];
        const bad = { offset: 3 * MEBI, lengthBytes: 8192 };
        const good = { offset: MEBI, lengthBytes: 8192 };
        for (const raw of [beside, elsewhere]) await raw.send(request(command, 10, { lengthBytes: 512 }));
        await asking.send(request(command, 1, good), request(command, 2, bad), request(command, 3, good));
        for (const raw of [beside, elsewhere]) await raw.send(request(command, 11, { lengthBytes: 512 }));
        assert.deepEqual(await errorsOf(asking, 3), { 1: 0, 2: Errno[code], 3: 0 });
        for (const raw of [beside, elsewhere]) assert.deepEqual(await errorsOf(raw, 2), { 10: 0, 11: 0 });
        // And its connection is as good as before.
        await asking.send(request(command, 4, good), request(Command.Flush, 5));
        assert.deepEqual(await errorsOf(asking, 2), { 4: 0, 5: 0 });
      });
    }
  }

  test('a large WRITE of which one piece fails is answered once, with the error', async (context) => {
    const { medium, client } = await served(context, { onFull: 'error' });
    failsBehind(medium, 'ENOSPC');
    const raw = await client();
    await raw.send(request(Command.Write, 1, { lengthBytes: 4 * MEBI }), request(Command.Flush, 2));
    assert.deepEqual(await errorsOf(raw, 2), { 1: Errno.ENOSPC, 2: 0 });
  });

  test('a READ that fails is told to who asked, and the others read on', async (context) => {
    const { medium, client } = await served(context);
    failsBehind(medium, 'EIO');
    const [asking, beside] = [await client(), await client()];
    await asking.send(request(Command.Read, 1, { offset: 3 * MEBI, lengthBytes: 4096 }));
    await beside.send(request(Command.Read, 2, { lengthBytes: 4096 }));
    assert.deepEqual(await asking.reply(), { error: Errno.EIO, cookie: 1n });
    assert.deepEqual(await beside.reply(), { error: 0, cookie: 2n });
  });
});

describe('a disk that stands still', () => {
  test('stops nobody else, and is read from while its writes stand still', async (context) => {
    const { medium, client } = await served(context);
    medium.hold('write', 'flush');
    const [asking, elsewhere] = [await client(), await client('node2')];
    await asking.send(
      request(Command.Write, 1, { lengthBytes: 4096 }),
      request(Command.Flush, 2),
      request(Command.Read, 3, { offset: MEBI, lengthBytes: 512 }),
    );
    assert.deepEqual(await asking.reply(), { error: 0, cookie: 3n });
    await asking.receive(512);
    await elsewhere.send(request(Command.Write, 1, { lengthBytes: 4096, durable: true }));
    assert.deepEqual(await elsewhere.reply(), { error: 0, cookie: 1n });
    medium.release();
    assert.deepEqual(await errorsOf(asking, 2), { 1: 0, 2: 0 });
  });
});

describe('a flush that fails', () => {
  test('is told to every FLUSH and FUA that waits for it, and to every later one until the disk is reopened', async (context) => {
    const { medium, client } = await served(context);
    let isBroken = true;
    medium.faultOf = (operation) => (operation === 'flush' && isBroken ? 'EIO' : undefined);
    medium.hold('flush');
    const [one, two, elsewhere] = [await client(), await client(), await client('node2')];
    const durable = { lengthBytes: 512, durable: true };
    await one.send(request(Command.Flush, 1), request(Command.Write, 2, durable), request(Command.Flush, 3));
    await two.send(
      request(Command.WriteZeroes, 4, durable),
      request(Command.Trim, 5, durable),
      request(Command.Flush, 6),
    );
    // What comes behind them and is answered shows that all of them have come.
    for (const raw of [one, two]) await raw.send(request(Command.Write, 7, { lengthBytes: 512 }));
    for (const raw of [one, two]) assert.deepEqual(await errorsOf(raw, 1), { 7: 0 });
    await until(() => medium.waiting === 1);
    medium.release();
    assert.deepEqual(await errorsOf(one, 3), { 1: Errno.EIO, 2: Errno.EIO, 3: Errno.EIO });
    assert.deepEqual(await errorsOf(two, 3), { 4: Errno.EIO, 5: Errno.EIO, 6: Errno.EIO });

    isBroken = false; // as the kernel, which says it once
    const flushes = medium.flushes;
    await two.send(request(Command.Flush, 1), request(Command.Write, 2, durable));
    assert.deepEqual(await errorsOf(two, 2), { 1: Errno.EIO, 2: Errno.EIO });
    const next = await client();
    await next.send(request(Command.Flush, 3), request(Command.Read, 4));
    assert.deepEqual(await errorsOf(next, 2), { 3: Errno.EIO, 4: 0 });
    assert.equal(medium.flushes, flushes, 'it is not even tried');
    await elsewhere.send(request(Command.Flush, 1));
    assert.deepEqual(await errorsOf(elsewhere, 1), { 1: 0 });

    await medium.reopen();
    await one.send(request(Command.Flush, 1), request(Command.Write, 2, durable));
    assert.deepEqual(await errorsOf(one, 2), { 1: 0, 2: 0 });
  });
});

describe('a loss of power', () => {
  const SECTOR = 512;
  const SECTORS = 256;

  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    test(`takes nothing that was answered as durable (seed ${seed})`, async (context) => {
      const { medium, port } = await served(context, { sizeBytes: SECTORS * SECTOR });
      const chance = seeded(seed);
      medium.pause = () => turns(chance.below(4));
      const connection = await connectNbd({ host: '127.0.0.1', port }, systemClock);
      const disk = await connection.go('node1');
      // Of each sector: what was last sent, and what was answered; a worker has sectors of its own, so that there is an order.
      const sent = new Array<number>(SECTORS).fill(0);
      const answered = new Array<number>(SECTORS).fill(0);
      const safe = new Array<number>(SECTORS).fill(0);

      const flush = async () => {
        const before = [...answered];
        await disk.flush();
        for (const [sector, generation] of before.entries()) safe[sector] = Math.max(safe[sector] ?? 0, generation);
      };
      const write = async (sector: number, durable: boolean) => {
        const generation = (sent[sector] ?? 0) + 1;
        sent[sector] = generation;
        const bytes = Buffer.alloc(SECTOR);
        bytes.writeUInt32LE(generation);
        await disk.write(sector * SECTOR, bytes, { durable });
        answered[sector] = generation;
        if (durable) safe[sector] = generation;
      };
      const worker = async (index: number) => {
        for (let round = 0; round < 60; round += 1) {
          const kind = chance.below(10);
          if (kind === 0) await flush();
          else await write(index + 8 * chance.below(SECTORS / 8), kind < 3);
          if (kind === 9) assertKept(medium.afterPowerLoss(() => chance.below(2) === 0));
        }
      };
      const assertKept = (content: Uint8Array) => {
        const view = new DataView(content.buffer);
        for (let sector = 0; sector < SECTORS; sector += 1) {
          const generation = view.getUint32(sector * SECTOR, true);
          const [atLeast = 0, atMost = 0] = [safe[sector], sent[sector]];
          assert.ok(generation >= atLeast && generation <= atMost, `sector ${sector}: ${generation}, not ${atLeast}`);
        }
      };
      await Promise.all(Array.from({ length: 8 }, (_, index) => worker(index)));
      await flush();
      assertKept(medium.afterPowerLoss(() => false));
      assert.deepEqual(safe, sent);
      await disk.disconnect();
    });
  }

  test('after a flush that failed may take what that flush was for, which the client was told', async (context) => {
    const { medium, client } = await served(context);
    const raw = await client();
    await raw.send(request(Command.Write, 7, { lengthBytes: 512 }));
    assert.deepEqual(await errorsOf(raw, 1), { 7: 0 });
    medium.faultOf = (operation) => (operation === 'flush' ? 'EIO' : undefined);
    await raw.send(request(Command.Flush, 1));
    assert.deepEqual(await errorsOf(raw, 1), { 1: Errno.EIO });
    assert.equal(medium.afterPowerLoss(() => true)[0], 0);
    assert.ok(medium.failure instanceof BlockError);
  });
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
