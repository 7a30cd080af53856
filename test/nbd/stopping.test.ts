// What a client has of a server that is stopped: answers to all that was read, no error, and then the end.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NBD_REQUESTS_IN_FLIGHT_MAX, NBD_STOP_MS } from '../../src/base/limits.js';
import { Command } from '../../src/nbd/wire/constants.js';
import { diskBoard } from '../support/boards.js';
import { FakeClock } from '../support/fake-clock.js';
import { GateDevice } from '../support/gate-device.js';
import { joined, requestBytes } from '../support/nbd-bytes.js';
import { serveBoards, until } from '../support/nbd-server.js';
import { rawNbd } from '../support/raw-nbd.js';

const MEBI = 1024 * 1024;
const COUNT = NBD_REQUESTS_IN_FLIGHT_MAX + 72;

/** More writes than may be under way, of a byte each: they come in one piece. */
const writes = joined(
  ...Array.from({ length: COUNT }, (_, index) =>
    joined(
      requestBytes({ command: Command.Write, cookie: BigInt(index), offset: BigInt(index), lengthBytes: 1 }),
      Uint8Array.of(index & 0xff),
    ),
  ),
);

describe('a stop', () => {
  test('answers every request that was read, also those that there was no room for yet', async (context) => {
    const device = new GateDevice(MEBI);
    const { port, server } = await serveBoards(context, [diskBoard('node1', device)]);
    const client = await rawNbd(context, port).transmitting();
    await client.send(writes);
    await until(() => device.waiting === NBD_REQUESTS_IN_FLIGHT_MAX);
    const stopped = server.stop();
    device.open();
    const answered = new Set<bigint>();
    for (let count = 0; count < COUNT; count += 1) {
      const reply = await client.reply();
      assert.equal(reply?.error, 0);
      answered.add(reply?.cookie ?? -1n);
    }
    assert.equal(answered.size, COUNT);
    assert.equal(await client.reply(), undefined);
    await stopped;
    const written = new Uint8Array(COUNT);
    await device.read(0, written);
    assert.deepEqual(
      written,
      Uint8Array.from({ length: COUNT }, (_, index) => index & 0xff),
    );
  });

  test('reads nothing that is said later, and waits no longer than it says for a disk that hangs', async (context) => {
    const device = new GateDevice(MEBI);
    const clock = new FakeClock();
    const { port, server } = await serveBoards(context, [diskBoard('node1', device)], { clock });
    const client = await rawNbd(context, port).transmitting();
    await client.send(writes);
    await until(() => device.waiting === NBD_REQUESTS_IN_FLIGHT_MAX);
    const stopped = server.stop();
    await client.send(writes);
    clock.advance(NBD_STOP_MS);
    await client.ended();
    assert.equal(device.waiting, NBD_REQUESTS_IN_FLIGHT_MAX);
    device.open();
    await stopped;
  });
});
