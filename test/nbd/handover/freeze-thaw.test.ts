// A connection that goes from one server to the next: its client is told nothing, loses nothing, and gets each answer once.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import { NBD_REQUESTS_IN_FLIGHT_MAX, NBD_STOP_HAGGLE_LOOK_MS, NBD_STOP_HAGGLE_MS } from '../../../src/base/limits.js';
import type { DiskUser } from '../../../src/boards/writer-lock/writer-lock.js';
import type { NbdServer } from '../../../src/nbd/server.js';
import { Command } from '../../../src/nbd/wire/constants.js';
import { diskBoard } from '../../support/boards.js';
import { FakeClock } from '../../support/fake-clock.js';
import { FaultDevice } from '../../support/fault-device.js';
import { GateDevice } from '../../support/gate-device.js';
import { fileBoard, serveFiles } from '../../support/lane-server.js';
import { joined, requestBytes } from '../../support/nbd-bytes.js';
import { serveBoards, until } from '../../support/nbd-server.js';
import { nextServer, told } from '../../support/next-server.js';
import { OwnKeeper } from '../../support/own-keeper.js';
import type { RawNbd } from '../../support/raw-nbd.js';
import { rawNbd } from '../../support/raw-nbd.js';

const MEBI = 1024 * 1024;

function write(cookie: number, offset: number, lengthBytes: number): Uint8Array {
  return joined(
    requestBytes({ command: Command.Write, cookie: BigInt(cookie), offset: BigInt(offset), lengthBytes }),
    new Uint8Array(lengthBytes).fill(cookie),
  );
}

function read(cookie: number, offset: number, lengthBytes: number): Uint8Array {
  return requestBytes({ command: Command.Read, cookie: BigInt(cookie), offset: BigInt(offset), lengthBytes });
}

async function expectDone(client: RawNbd, ...cookies: readonly number[]): Promise<void> {
  const seen = new Set<number>();
  for (const _ of cookies) {
    const reply = await client.reply();
    assert.equal(reply?.error, 0);
    seen.add(Number(reply.cookie));
  }
  assert.deepEqual([...seen].sort(), [...cookies].sort());
}

async function expectRead(client: RawNbd, cookie: number, expected: Uint8Array): Promise<void> {
  await expectDone(client, cookie);
  assert.deepEqual(Buffer.from((await client.receive(expected.length)) ?? []), Buffer.from(expected));
}

describe('a connection that is handed on', () => {
  test('goes on where it was, on a disk of the main thread', async (context) => {
    const device = new GateDevice(MEBI);
    device.open();
    const { port, server } = await serveBoards(context, [diskBoard('node1', device)]);
    const client = await rawNbd(context, port).transmitting();
    await client.send(write(1, 0, 512));
    await expectDone(client, 1);
    const board = diskBoard('node1', device);
    const second = await nextServer(context, server, board);
    assert.equal(board.writerLock.holder(), '127.0.0.1');
    await client.send(read(2, 0, 512));
    await expectRead(client, 2, new Uint8Array(512).fill(1));
    assert.deepEqual(second.connections(), [{ board: 'node1', peer: '127.0.0.1', isSecured: false }]);
  });

  for (const length of [1, 27, 28, 29, 28 + 4096, 28 + 70_000, 28 + 300_000, 28 + 400_000 - 1]) {
    test(`with ${length} bytes of a large write read`, async (context) => {
      const device = new GateDevice(MEBI);
      device.open();
      const { port, server } = await serveBoards(context, [diskBoard('node1', device)]);
      const client = await rawNbd(context, port).transmitting();
      const bytes = write(7, 4096, 400_000);
      await client.send(bytes.subarray(0, length));
      // What is read of it is done, and no more in memory, but for the last bytes; a header alone is in the kernel or here.
      await until(() => server.bufferedBytes() > 0 || device.attempts.length > 0);
      await nextServer(context, server, diskBoard('node1', device));
      await client.send(bytes.subarray(length));
      await expectDone(client, 7);
      await client.send(read(8, 4096, 400_000));
      await expectRead(client, 8, new Uint8Array(400_000).fill(7));
    });
  }

  test('what a disk has not done by then is done again, and answered once', async (context) => {
    const before = new GateDevice(MEBI);
    const { port, server } = await serveBoards(context, [diskBoard('node1', before)]);
    const client = await rawNbd(context, port).transmitting();
    await client.send(write(1, 0, 512), write(2, 512, 300_000), read(3, 0, 512));
    await expectRead(client, 3, new Uint8Array(512));
    const after = new GateDevice(MEBI);
    after.open();
    await nextServer(context, server, diskBoard('node1', after));
    before.open(); // it does them after all, and has nobody to tell
    await expectDone(client, 1, 2);
    await client.send(read(4, 0, 512 + 300_000));
    await expectRead(client, 4, joined(new Uint8Array(512).fill(1), new Uint8Array(300_000).fill(2)));
  });

  test('what was answered behind a large read that stands still goes out, and the read is done again', async (context) => {
    const before = new FaultDevice(4 * MEBI);
    const { port, server } = await serveBoards(context, [diskBoard('node1', before)]);
    const client = await rawNbd(context, port).transmitting();
    before.hold('read');
    await client.send(read(1, 0, 2 * MEBI), write(2, 3 * MEBI, 512));
    await until(() => before.waiting === 1 && before.attempts.length === 1);
    const after = new FaultDevice(4 * MEBI);
    await nextServer(context, server, diskBoard('node1', after));
    before.release();
    await expectDone(client, 2);
    await expectRead(client, 1, new Uint8Array(2 * MEBI));
  });

  test('what is handed on is not what comes into its buffers later', async (context) => {
    const before = new GateDevice(MEBI);
    const { port, server } = await serveBoards(context, [diskBoard('node1', before)]);
    const client = await rawNbd(context, port).transmitting();
    const count = NBD_REQUESTS_IN_FLIGHT_MAX + 40;
    await client.send(...Array.from({ length: count }, (_, index) => write(index % 251, index * 512, 512)));
    await until(() => before.waiting === NBD_REQUESTS_IN_FLIGHT_MAX);
    const keeper = new OwnKeeper();
    const { frozen } = await server.freeze(keeper);
    before.open(); // each that is done gives its buffer back, and the next one takes it
    await until(() => before.attempts.length >= NBD_REQUESTS_IN_FLIGHT_MAX);
    const after = new GateDevice(MEBI);
    after.open();
    const board = diskBoard('node1', after);
    const second = await serveBoards(context, [board]);
    for (const connection of told(frozen)) {
      await second.server.thaw(connection, board, keeper.fetch(connection.socket));
    }
    for (let index = 0; index < count; index += 1) assert.equal((await client.reply())?.error, 0);
    for (let index = 0; index < count; index += 1) {
      assert.deepEqual(after.bytes.subarray(index * 512, index * 512 + 512), new Uint8Array(512).fill(index % 251));
    }
  });

  test('is let choose its disk first', async (context) => {
    const device = new GateDevice(MEBI);
    device.open();
    const { port, server } = await serveBoards(context, [diskBoard('node1', device)]);
    const client = rawNbd(context, port);
    await client.greeted();
    const following = nextServer(context, server, diskBoard('node1', device));
    await passed(200);
    await client.gone();
    await following;
    await client.send(write(1, 0, 512));
    await expectDone(client, 1);
  });

  test('is waited for by a stop for half a second where it says nothing, and no longer', async (context) => {
    const clock = new FakeClock();
    const { port, server } = await serveBoards(context, [diskBoard('node1', new GateDevice(MEBI))], { clock });
    const silent = rawNbd(context, port);
    await silent.greeted();
    let isFrozen = false;
    const freezing = server.freeze(new OwnKeeper()).finally(() => {
      isFrozen = true;
    });
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    await turn();
    for (let waitedMs = 0; waitedMs < NBD_STOP_HAGGLE_MS; waitedMs += NBD_STOP_HAGGLE_LOOK_MS) {
      assert.equal(isFrozen, false);
      clock.advance(NBD_STOP_HAGGLE_LOOK_MS);
      await turn();
    }
    assert.deepEqual(await freezing, { frozen: [], lost: [], busy: new Set() });
  });

  test('is refused where its disk is another’s', async (context) => {
    const device = new GateDevice(MEBI);
    const { port, server } = await serveBoards(context, [diskBoard('node1', device)]);
    const client = await rawNbd(context, port).transmitting();
    const keeper = new OwnKeeper();
    const { frozen } = await server.freeze(keeper);
    const board = diskBoard('node1', device);
    const taken: DiskUser = { peerAddress: '10.0.0.9', probe: async () => 'alive', close: async () => {} };
    assert.deepEqual(await board.writerLock.acquire(taken), { answer: 'granted' });
    const second = await serveBoards(context, [board]);
    for (const connection of frozen) {
      await assert.rejects(
        second.server.thaw(connection, board, keeper.fetch(connection.socket)),
        /in use by 10\.0\.0\.9/,
      );
    }
    assert.equal(await client.reply(), undefined);
  });

  test('goes on in the lanes, where it was in the lanes, among writes that come in pieces', async (context) => {
    const disk = await fileBoard(context, 'node1', MEBI);
    const { server, raw } = await serveFiles(context, [disk]);
    const client = await raw();
    let current: NbdServer = server;
    for (let round = 1; round <= 6; round += 1) {
      const bytes = joined(write(round, 0, 4096), write(100 + round, 8192, 200_000));
      const cut = 1 + round * 30_000;
      await client.send(bytes.subarray(0, cut));
      if (cut > 28 + 4096) await expectDone(client, round);
      current = await nextServer(context, current, diskBoard('node1', disk.device));
      await client.send(bytes.subarray(cut));
      await expectDone(client, 100 + round);
      await client.send(read(50, 0, 4096));
      await expectRead(client, 50, new Uint8Array(4096).fill(round));
      await client.send(read(51, 8192, 200_000));
      await expectRead(client, 51, new Uint8Array(200_000).fill(100 + round));
    }
  });
});
