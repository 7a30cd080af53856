// Our client against servers that lie. Against our own server it is used by all the other tests.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import { Malformed } from '../../../src/base/malformed.js';
import { connectNbd, type NbdHaggling } from '../../../src/nbd/client/client.js';
import { NbdDisconnected, NbdFailed } from '../../../src/nbd/client/client-errors.js';
import { Option, OptionReply } from '../../../src/nbd/wire/constants.js';
import {
  CLIENT_FLAGS_BYTES,
  encodeAck,
  encodeGreeting,
  encodeInfoReply,
  encodeOptionReply,
} from '../../../src/nbd/wire/handshake-wire.js';
import { FakeClock } from '../../support/fake-clock.js';
import { hex, joined } from '../../support/nbd-bytes.js';

const GREETING = encodeGreeting(3);
const NOTHING = new Uint8Array(0);
const EXPORT = encodeInfoReply({ kind: 'export', sizeBytes: 4096n, transmissionFlags: 1 });
const GONE = joined(encodeOptionReply(Option.Go, OptionReply.Info, EXPORT), encodeAck(Option.Go));

/** A server that says `first` at once, and the next of `answers` whenever it hears more than client flags; then it closes. */
async function liar(context: TestContext, first: Uint8Array, ...answers: readonly Uint8Array[]): Promise<number> {
  const server = createServer((socket) => {
    const left = [...answers];
    let heardBytes = 0;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      heardBytes += chunk.length;
      if (heardBytes <= CLIENT_FLAGS_BYTES) return;
      const next = left.shift();
      if (next === undefined) socket.end();
      else socket.write(next);
    });
    context.after(() => socket.destroy());
    socket.write(first);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  return portOf(server);
}

function portOf(server: Server): number {
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : 0;
}

function connected(port: number): Promise<NbdHaggling> {
  return connectNbd({ host: '127.0.0.1', port }, systemClock);
}

async function haggling(context: TestContext, ...answers: readonly Uint8Array[]): Promise<NbdHaggling> {
  return await connected(await liar(context, GREETING, ...answers));
}

describe('the client', () => {
  test('tells a server that is none, one of old, and nobody', async (context) => {
    await assert.rejects(connected(await liar(context, hex('00'.repeat(18)))), Malformed);
    await assert.rejects(connected(await liar(context, hex('4e42444d41474943 0000420281861253 0000'))), /oldstyle/);
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const port = portOf(server);
    await new Promise((resolve) => server.close(resolve));
    await assert.rejects(connected(port), /ECONNREFUSED/);
  });

  test('gives a server that says nothing no more than its patience', async (context) => {
    const clock = new FakeClock();
    const port = await liar(context, NOTHING);
    const client = connectNbd({ host: '127.0.0.1', port, patienceMs: 500 }, clock);
    clock.advance(500);
    await assert.rejects(client, /no answer in time/);
  });

  test('takes no memory for a reply that announces 4 GiB', async (context) => {
    const announced = hex('0003e889045565a9 00000007 00000003 ffffffff');
    await assert.rejects((await haggling(context, announced)).go('node1'), Malformed);
  });

  test('does not take the answer to another option for its own', async (context) => {
    await assert.rejects((await haggling(context, encodeAck(Option.List))).go('node1'), Malformed);
  });

  test('does not take an acknowledgement without a size for an export', async (context) => {
    await assert.rejects((await haggling(context, encodeAck(Option.Go))).go('node1'), Malformed);
  });

  test('fails what is under way when the server closes, errs, or answers what nobody asked', async (context) => {
    const closing = await (await haggling(context, GONE)).go('node1');
    await assert.rejects(closing.read(0, 512), NbdDisconnected);
    await assert.rejects(closing.flush(), NbdDisconnected);
    const erring = await (await haggling(context, GONE, hex('67446698 0000006c 0000000000000001'))).go('node1');
    await assert.rejects(erring.flush(), (error) => error instanceof NbdFailed && error.errno === 'ESHUTDOWN');
    const confused = await (await haggling(context, GONE, hex('67446698 00000000 0000000000000063'))).go('node1');
    await assert.rejects(confused.flush(), Malformed);
  });
});
