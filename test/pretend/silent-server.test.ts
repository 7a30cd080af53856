import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { NBD_CLIENT_PATIENCE_MS } from '../../src/base/limits.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { NbdDisconnected } from '../../src/nbd/client/client-errors.js';
import { Option, OptionReply } from '../../src/nbd/wire/constants.js';
import {
  CLIENT_FLAGS_BYTES,
  encodeGreeting,
  encodeInfoReply,
  encodeOptionReply,
} from '../../src/nbd/wire/handshake-wire.js';
import { attachDisk, withinPatience } from '../../src/pretend/disk-stage.js';
import { FakeClock } from '../support/fake-clock.js';

test('a server that attaches a disk and then says nothing is given up, at the first read and at the end', async (context) => {
  const port = await silentServer(context);
  const clock = new FakeClock();
  const said: string[] = [];
  const root = { host: '127.0.0.1', port, exportName: 'x', device: '/dev/nbd0p2' };
  const attached = attachDisk(root, '127.0.0.1', clock, (_stage, text) => {
    said.push(text);
    setImmediate(() => clock.advance(NBD_CLIENT_PATIENCE_MS));
  });
  await assert.rejects(attached, NbdDisconnected);
  assert.equal(said.length, 1, 'it was attached');

  const disk = await (await connectNbd({ host: '127.0.0.1', port }, clock)).go('x');
  const gone = withinPatience(disk, clock, () => disk.disconnect());
  clock.advance(NBD_CLIENT_PATIENCE_MS);
  await gone;
});

/** Answers GO, and nothing after it. */
async function silentServer(context: TestContext): Promise<number> {
  const server = createServer((socket) => {
    context.after(() => socket.destroy());
    socket.on('error', () => {});
    socket.write(encodeGreeting(3));
    let heardBytes = 0;
    let answered = false;
    socket.on('data', (chunk) => {
      heardBytes += chunk.length;
      if (answered || heardBytes <= CLIENT_FLAGS_BYTES) return;
      answered = true;
      const facts = encodeInfoReply({ kind: 'export', sizeBytes: 1024n * 1024n, transmissionFlags: 1 });
      socket.write(encodeOptionReply(Option.Go, OptionReply.Info, facts));
      socket.write(encodeOptionReply(Option.Go, OptionReply.Ack, new Uint8Array()));
    });
  });
  context.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return address !== null && typeof address === 'object' ? address.port : 0;
}
