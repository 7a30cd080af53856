import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import type { Ipv4Address } from '../../src/base/addresses.js';
import { playBoot } from '../../src/pretend/play.js';
import { PROFILES } from '../../src/pretend/profile.js';
import { FakeClock } from '../support/fake-clock.js';

const HERE: Ipv4Address = '127.0.0.1';
/** RFC 1350: ERROR 1, "none". */
const NOT_FOUND = Buffer.from('\0\x05\0\x01none\0', 'latin1');

test('where nobody answers it is said where, when it is given up and what may be the cause', async (context) => {
  const { result, said, port } = await play(context, () => undefined);
  assert.deepEqual(result, {
    outcome: 'stuck',
    stage: 'tftp',
    because: `nobody answers at 127.0.0.1 UDP port ${port}: is the server running there, on another port (--tftp-port), behind a firewall?`,
  });
  assert.deepEqual(said, [
    `asks 127.0.0.1 port ${port}`,
    `no answer from 127.0.0.1 port ${port}: asks without a prefix`,
  ]);
});

test('a server that has answered and then falls silent is not said to be missing', async (context) => {
  const { result, said, port } = await play(context, (request) =>
    request.includes('bf9fed6f/') ? NOT_FOUND : undefined,
  );
  assert.ok(result.outcome === 'stuck');
  assert.equal(result.because, `config.txt: no answer from 127.0.0.1 port ${port}`);
  assert.equal(said[1], 'no file under bf9fed6f/ ("none"): asks without a prefix');
});

/** Against a server that says what `answer` makes of a request, or nothing: then it is as late as the board waits. */
async function play(context: TestContext, answer: (request: string) => Buffer | undefined) {
  const clock = new FakeClock();
  const server = createSocket('udp4');
  context.after(() => server.close());
  server.on('message', (bytes, { port, address }) => {
    const reply = answer(bytes.toString('latin1'));
    if (reply === undefined) setImmediate(() => clock.advance(2_000));
    else server.send(reply, port, address);
  });
  server.bind(0, HERE);
  await once(server, 'listening');
  const { port } = server.address();
  const said: string[] = [];
  const result = await playBoot({
    profile: PROFILES.pi4,
    identity: { serial: 'bf9fed6f', mac: 'dc:a6:32:01:02:03', revisionCode: PROFILES.pi4.revisionCode },
    prefix: { kind: 'serial' },
    start: { kind: 'static', server: HERE },
    tftpPort: port,
    takeAddress: () => HERE,
    clock,
    report: (_stage, text) => said.push(text),
  });
  return { result, said, port };
}
