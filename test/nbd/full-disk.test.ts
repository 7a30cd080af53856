// Writes that wait for space, as the clients of the server see it.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import {
  NBD_BYTES_IN_FLIGHT_MAX,
  NBD_HELD_BYTES_MAX,
  NBD_HELD_BYTES_PER_CONNECTION_MAX,
  NBD_PIECE_BYTES,
} from '../../src/base/limits.js';
import { SpaceQueue } from '../../src/block/space-queue.js';
import type { Board } from '../../src/boards/board.js';
import { Command } from '../../src/nbd/wire/constants.js';
import { diskBoard } from '../support/boards.js';
import { FakeClock } from '../support/fake-clock.js';
import { FullDevice } from '../support/full-device.js';
import { requestBytes } from '../support/nbd-bytes.js';
import { serveBoards, until } from '../support/nbd-server.js';
import { rawNbd } from '../support/raw-nbd.js';

const MEBI = 1024 * 1024;

interface FullBoard extends Board {
  readonly full: FullDevice;
  readonly space: SpaceQueue;
}

/** A board on a full disk. Its retries follow a clock of their own, which a test moves. */
function fullBoard(name: string, sizeBytes: number, retries = new FakeClock()): FullBoard {
  const full = new FullDevice(sizeBytes);
  return { ...diskBoard(name, full), full, space: new SpaceQueue(retries) };
}

function write(cookie: number, offset: number, lengthBytes: number): Uint8Array {
  const header = requestBytes({ command: Command.Write, cookie: BigInt(cookie), offset: BigInt(offset), lengthBytes });
  return Buffer.concat([header, Buffer.alloc(lengthBytes, cookie)]);
}

function read(cookie: number): Uint8Array {
  return requestBytes({ command: Command.Read, cookie: BigInt(cookie), offset: 0n, lengthBytes: 512 });
}

async function served(context: TestContext, sizeBytes = 64 * MEBI) {
  const retries = new FakeClock();
  const board = fullBoard('node1', sizeBytes, retries);
  const { port, server } = await serveBoards(context, [board]);
  const held = () => board.space.waiting?.requests ?? 0;
  return { board, port, server, held, retries };
}

describe('on a full disk', () => {
  test('a write is not answered until it is done; reads and flushes behind it are', async (context) => {
    const { board, port, held, retries } = await served(context);
    const raw = await rawNbd(context, port).transmitting();
    await raw.send(write(1, 0, 4096), requestBytes({ command: Command.Flush, cookie: 2n }), read(3));
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 3n });
    await raw.receive(512);
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 2n });
    assert.equal(held(), 1);
    board.full.state = 'space';
    retries.advance(1000);
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 1n });
    assert.ok(board.full.bytes.subarray(0, 4096).every((byte) => byte === 1));
  });

  test('reads get through behind more waiting writes than a connection may have in flight', async (context) => {
    const { board, port, held, retries, server } = await served(context);
    const raw = await rawNbd(context, port).transmitting();
    const count = (NBD_BYTES_IN_FLIGHT_MAX + 8 * MEBI) / 131_072;
    for (let index = 0; index < count; index += 1) await raw.send(write(index, index * 131_072, 131_072));
    await raw.send(read(999));
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 999n });
    await raw.receive(512);
    assert.equal(held(), count);
    board.full.state = 'space';
    retries.advance(1000);
    for (let index = 0; index < count; index += 1) assert.equal((await raw.reply())?.error, 0);
    assert.ok(server.bufferedBytes() < MEBI);
    assert.equal(held(), 0);
  });

  test('past its bound a connection is not read any more, and all is done when there is space', async (context) => {
    const { board, port, server, held, retries } = await served(context);
    const raw = await rawNbd(context, port).transmitting();
    const count = 40;
    const sent = Array.from({ length: count }, (_, index) => raw.send(write(index, index * MEBI, MEBI)));
    const atMost = NBD_HELD_BYTES_PER_CONNECTION_MAX + NBD_BYTES_IN_FLIGHT_MAX;
    await until(() => held() * MEBI >= atMost);
    for (let turn = 0; turn < 100; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      assert.ok(server.bufferedBytes() <= atMost + 3 * NBD_PIECE_BYTES, `${server.bufferedBytes()} bytes`);
    }
    board.full.state = 'space';
    retries.advance(1000);
    for (let index = 0; index < count; index += 1) assert.equal((await raw.reply())?.error, 0);
    await Promise.all(sent);
  });

  test('all connections together are bounded too', async (context) => {
    const retries = new FakeClock();
    const boards = Array.from({ length: 9 }, (_, index) => fullBoard(`node${index}`, MEBI, retries));
    const { port, server } = await serveBoards(context, boards);
    const clients = await Promise.all(boards.map(({ name }) => rawNbd(context, port).transmitting(name)));
    const pieces = (NBD_HELD_BYTES_PER_CONNECTION_MAX + 2 * NBD_BYTES_IN_FLIGHT_MAX) / MEBI;
    for (const raw of clients) for (let index = 0; index < pieces; index += 1) void raw.send(write(index, 0, MEBI));
    const heldBytes = () => boards.reduce((sum, { space }) => sum + (space.waiting?.bytes ?? 0), 0);
    const inFlight = boards.length * NBD_BYTES_IN_FLIGHT_MAX;
    await until(() => heldBytes() >= NBD_HELD_BYTES_MAX + inFlight);
    for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(server.bufferedBytes() <= NBD_HELD_BYTES_MAX + inFlight + boards.length * 3 * NBD_PIECE_BYTES);
    for (const { full } of boards) full.state = 'space';
    retries.advance(1000);
    for (const raw of clients)
      for (let index = 0; index < pieces; index += 1) assert.equal((await raw.reply())?.error, 0);
    assert.ok(server.bufferedBytes() < MEBI);
  });

  test('a client that is gone leaves no write behind, and its disk is free', async (context) => {
    const { board, port, held, retries } = await served(context);
    const raw = await rawNbd(context, port).transmitting();
    await raw.send(write(1, 0, 4096));
    await until(() => held() === 1);
    raw.reset();
    await until(() => board.writerLock.holder() === undefined);
    const attempts = board.full.attempts.length;
    board.full.state = 'space';
    retries.advance(10_000);
    assert.deepEqual([held(), board.full.attempts.length], [0, attempts]);
    const next = await rawNbd(context, port, '127.0.0.2').transmitting();
    await next.send(write(2, 0, 4096));
    assert.deepEqual(await next.reply(), { error: 0, cookie: 2n });
  });

  test('a large write that comes in pieces waits with some of them, and is answered once', async (context) => {
    const { board, port, held, retries } = await served(context);
    const raw = await rawNbd(context, port).transmitting();
    await raw.send(write(7, 0, 3 * MEBI));
    await until(() => held() === 3);
    await raw.send(read(8));
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 8n });
    await raw.receive(512);
    board.full.state = 'space';
    retries.advance(1000);
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 7n });
    assert.ok(board.full.bytes.subarray(0, 3 * MEBI).every((byte) => byte === 7));
  });

  test('a stop gives up what waits in time, and answers no error', async (context) => {
    const clock = new FakeClock();
    const board = fullBoard('node1', MEBI);
    const { port, server } = await serveBoards(context, [board], { clock });
    const raw = await rawNbd(context, port).transmitting();
    await raw.send(write(1, 0, 4096));
    await until(() => board.space.waiting !== undefined);
    let hasStopped = false;
    const stopped = server.stop().then(() => {
      hasStopped = true;
    });
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(hasStopped, false, 'there might be space in time');
    clock.advance(2_000);
    await stopped;
    assert.equal(await raw.reply(), undefined);
    assert.equal(board.space.waiting, undefined);
  });

  test('without a place to wait the client is told', async (context) => {
    const board = { ...fullBoard('node1', MEBI), space: undefined };
    const { port } = await serveBoards(context, [board]);
    const raw = await rawNbd(context, port).transmitting();
    await raw.send(write(1, 0, 4096));
    assert.deepEqual(await raw.reply(), { error: 28, cookie: 1n });
  });
});
