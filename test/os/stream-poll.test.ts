// What many threads are told of sockets that all of them wait for: each word once, and only what was asked for.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WakeUp } from '../../src/os/event-poll.js';
import { addressOf, closeDescriptor, duplicate, receive } from '../../src/os/stream-calls.js';
import { NO_TOKEN, Readiness, StreamPoll } from '../../src/os/stream-poll.js';
import { descriptorOf } from '../../src/os/tcp-probe.js';

const END = -1;
const A = 41;
const B = 42;

/** A connection, of which one end is in the poll; `told` is all that is told without waiting. */
async function polled(context: TestContext) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const peer = connect({
    host: '127.0.0.1',
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    noDelay: true,
  });
  const [socket]: Socket[] = await once(server, 'connection');
  const descriptor = duplicate(descriptorOf(socket ?? {}) ?? -1) ?? -1;
  socket?.destroy();
  peer.on('error', () => {});
  const poll = new StreamPoll();
  poll.add(descriptor);
  context.after(() => {
    poll.remove(descriptor);
    closeDescriptor(descriptor);
    poll.close();
    peer.destroy();
    server.close();
  });
  const told = () => {
    const end = new WakeUp();
    poll.addForAll(end.descriptor, END);
    end.ring();
    const tokens: (number | undefined)[] = [];
    // Level-triggered, it would be told again and again behind all others: the second time nothing else is ready.
    for (let ends = 0; ends < 2; ) {
      const token = poll.wait();
      if (token === END) ends += 1;
      else tokens.push(token);
    }
    poll.remove(end.descriptor);
    end.close();
    return tokens;
  };
  const arrive = async (bytes: Uint8Array) => {
    await new Promise((resolve) => peer.write(bytes, resolve));
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { poll, peer, descriptor, told, arrive };
}

test('nothing is told that was not asked for, and what was is told once', async (context) => {
  const { poll, descriptor, told, arrive } = await polled(context);
  await arrive(Uint8Array.of(1));
  assert.deepEqual(told(), []);
  poll.ask(descriptor, Readiness.Read, A);
  assert.deepEqual(told(), [A]);
  assert.deepEqual(told(), []);
  poll.ask(descriptor, Readiness.Read, B);
  assert.deepEqual(told(), [B], 'what was not taken is told again where it is asked for again');
  const into = new Uint8Array(new SharedArrayBuffer(8));
  assert.equal(receive(descriptor, addressOf(into), 8), 1);
  poll.ask(descriptor, Readiness.Read, A);
  assert.deepEqual(told(), []);
  await arrive(Uint8Array.of(2));
  assert.deepEqual(told(), [A]);
});

test('room to write is told, and either', async (context) => {
  const { poll, descriptor, told } = await polled(context);
  poll.ask(descriptor, Readiness.Write, A);
  assert.deepEqual(told(), [A]);
  poll.ask(descriptor, Readiness.Either, B);
  assert.deepEqual(told(), [B]);
});

test('that a peer is gone is told once where nobody asked, and to who asks then', async (context) => {
  const { poll, peer, descriptor, told } = await polled(context);
  peer.resetAndDestroy();
  await once(peer, 'close');
  assert.deepEqual(told(), [NO_TOKEN]);
  assert.deepEqual(told(), []);
  poll.ask(descriptor, Readiness.Read, A);
  assert.deepEqual(told(), [A]);
  assert.deepEqual(told(), []);
});
