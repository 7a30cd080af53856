// The ceiling of a connection's memory: bytes that the server holds are counted, not resident pages and not time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NBD_BYTES_IN_FLIGHT_MAX, NBD_PIECE_BYTES } from '../../src/base/limits.js';
import { Command } from '../../src/nbd/wire/constants.js';
import { diskBoard } from '../support/boards.js';
import { endlessDevice } from '../support/endless-device.js';
import { requestBytes } from '../support/nbd-bytes.js';
import { serveBoards } from '../support/nbd-server.js';
import { rawNbd } from '../support/raw-nbd.js';

const MEBI = 1024 * 1024;
/** In flight, one request more than that (a large read has two pieces), and the payload that is being collected. */
const CEILING_BYTES = NBD_BYTES_IN_FLIGHT_MAX + 3 * NBD_PIECE_BYTES + 256 * 1024;

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

test('64 reads of 48 MiB that a client never takes cost no more than the ceiling', async (context) => {
  const { port, server } = await serveBoards(context, [diskBoard('node1', endlessDevice(64 * MEBI))]);
  const raw = await rawNbd(context, port).transmitting();
  const asked = Array.from({ length: 64 }, (_, index) =>
    requestBytes({ command: Command.Read, cookie: BigInt(index), lengthBytes: 48 * MEBI }),
  );
  await raw.send(...asked);
  for (let round = 0; round < 20; round += 1) {
    await turns(20);
    assert.ok(server.bufferedBytes() <= CEILING_BYTES, `${server.bufferedBytes()} bytes`);
  }
  assert.deepEqual(await raw.reply(), { error: 0, cookie: 0n }, 'and they are answered when it does');
  assert.equal((await raw.receive(48 * MEBI))?.length, 48 * MEBI);
});

test('small reads that a client never takes stop being looked at', async (context) => {
  const { port, server } = await serveBoards(context, [diskBoard('node1', endlessDevice(64 * MEBI))]);
  const raw = await rawNbd(context, port).transmitting();
  const asked = Array.from({ length: 2000 }, (_, index) =>
    requestBytes({ command: Command.Read, cookie: BigInt(index), lengthBytes: 65_536 }),
  );
  await raw.send(...asked);
  await turns(200);
  assert.ok(server.bufferedBytes() <= CEILING_BYTES, `${server.bufferedBytes()} bytes`);
  for (let index = 0; index < 2000; index += 1) {
    assert.deepEqual(await raw.reply(), { error: 0, cookie: BigInt(index) });
    await raw.receive(65_536);
  }
});

test('64 clients that send a WRITE of 64 MiB slowly cost a piece each', async (context) => {
  const boards = Array.from({ length: 64 }, (_, index) => diskBoard(`node${index}`, endlessDevice(64 * MEBI)));
  const { port, server } = await serveBoards(context, boards);
  const slow = await Promise.all(boards.map(({ name }) => rawNbd(context, port).transmitting(name)));
  const header = requestBytes({ command: Command.Write, lengthBytes: 64 * MEBI });
  await Promise.all(slow.map((raw) => raw.send(header)));
  for (let sent = 0; sent < 20; sent += 1) {
    await Promise.all(slow.map((raw) => raw.send(Uint8Array.of(sent))));
    assert.ok(server.bufferedBytes() <= 64 * (NBD_PIECE_BYTES + 64), `${server.bufferedBytes()} bytes`);
  }
});

test('a WRITE of 64 MiB as fast as it comes stays under the ceiling and is done whole', async (context) => {
  const device = endlessDevice(64 * MEBI);
  const { port, server } = await serveBoards(context, [diskBoard('node1', device)]);
  const raw = await rawNbd(context, port).transmitting();
  void raw.send(
    requestBytes({ command: Command.Write, cookie: 3n, lengthBytes: 64 * MEBI }),
    new Uint8Array(64 * MEBI),
  );
  const answered = raw.reply();
  let highest = 0;
  let isAnswered = false;
  void answered.then(() => {
    isAnswered = true;
  });
  while (!isAnswered) {
    await turns(1);
    highest = Math.max(highest, server.bufferedBytes());
  }
  assert.deepEqual(await answered, { error: 0, cookie: 3n });
  assert.equal(device.writtenBytes, 64 * MEBI);
  assert.ok(highest <= CEILING_BYTES, `${highest} bytes`);
});

test('writes to a disk that does not answer stop being read', async (context) => {
  const device = endlessDevice(64 * MEBI);
  let release: () => void = () => {};
  const stuck = new Promise<void>((resolve) => {
    release = resolve;
  });
  device.write = () => stuck;
  const { port, server } = await serveBoards(context, [diskBoard('node1', device)]);
  const raw = await rawNbd(context, port).transmitting();
  const write = requestBytes({ command: Command.Write, cookie: 1n, lengthBytes: MEBI });
  void raw.send(...Array.from({ length: 40 }, () => [write, new Uint8Array(MEBI)]).flat());
  await turns(2000);
  assert.ok(server.bufferedBytes() <= CEILING_BYTES, `${server.bufferedBytes()} bytes`);
  release();
  for (let answered = 0; answered < 40; answered += 1) assert.equal((await raw.reply())?.error, 0);
});
