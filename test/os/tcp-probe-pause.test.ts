import assert from 'node:assert/strict';
import { createConnection, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { type Clock, systemClock } from '../../src/base/clock.js';
import { keepConnected, probePeer } from '../../src/os/tcp-probe.js';
import { whenOver } from '../support/cleanup.js';

test('a process that stood still for longer than the patience does not take an idle peer for dead', async (context) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  whenOver(context, () => void server.close());
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === 'object');
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = createConnection(bound.port, '127.0.0.1');
  whenOver(context, () => void client.destroy());
  const socket = await accepted;
  whenOver(context, () => void socket.destroy());
  keepConnected(socket);

  let calls = 0;
  const paused: Clock = {
    ...systemClock,
    // Between the first look and the second the machine slept for ten seconds.
    nowMs: () => systemClock.nowMs() + (calls++ < 2 ? 0 : 10_000),
  };
  assert.equal(await probePeer(socket, paused), 'alive');
});
