import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { duplicate, lookAtSocket, takeHandedDescriptors } from '../../src/os/handed-descriptors.js';
import { placeText, socketPlace } from '../../src/os/socket-place.js';
import { descriptorOf } from '../../src/os/tcp-probe.js';
import { whenOver } from '../support/cleanup.js';
import { scratchFolder } from '../support/scratch.js';

describe('what the environment says of handed descriptors', () => {
  test('is taken with its names, and out of the environment', () => {
    // Numbers that nothing here has open: closing them on exec changes nobody.
    const environment = { LISTEN_FDS: '2', LISTEN_PID: '7', LISTEN_FDNAMES: 'nbd:', PATH: '/bin' };
    const verdict = takeHandedDescriptors(environment, 7);
    assert.deepEqual(verdict, {
      answer: 'descriptors',
      descriptors: [
        { descriptor: 3, name: 'nbd' },
        { descriptor: 4, name: 'unknown' },
      ],
    });
    assert.deepEqual(environment, { PATH: '/bin' });
    assert.deepEqual(takeHandedDescriptors(environment, 7), { answer: 'descriptors', descriptors: [] });
  });

  test('is refused where it is meant for another process, or is no number', () => {
    const because = (environment: NodeJS.ProcessEnv) => {
      const verdict = takeHandedDescriptors(environment, 7);
      assert.equal(environment['LISTEN_FDS'], undefined);
      return verdict.answer === 'refused' ? verdict.because : '';
    };
    assert.match(because({ LISTEN_FDS: '1', LISTEN_PID: '8' }), /LISTEN_PID is 8, and this is process 7: .*exec node/);
    assert.match(because({ LISTEN_FDS: '1' }), /LISTEN_PID is not set/);
    for (const count of ['', '-1', '1e3', '577', 'x']) {
      assert.match(because({ LISTEN_FDS: count, LISTEN_PID: '7' }), /^LISTEN_FDS is "/);
    }
  });
});

describe('a socket', () => {
  test('is known by kind and place', async (context) => {
    const path = join(scratchFolder(context), 'socket');
    const [ipv4, ipv6, unix] = [
      await listening(context, { host: '127.0.0.1', port: 0 }),
      await listening(context, { host: '::1', port: 0 }),
      await listening(context, { path }),
    ];
    assert.deepEqual(
      [ipv4, ipv6, unix].map((server) => lookAtSocket(descriptorOf(server) ?? -1)),
      [
        { type: 'stream', listens: true, place: { kind: 'ipv4', address: '127.0.0.1', port: portOf(ipv4) } },
        { type: 'stream', listens: true, place: { kind: 'ipv6', address: '::1', port: portOf(ipv6) } },
        { type: 'stream', listens: true, place: { kind: 'unix', path } },
      ],
    );
    const datagrams = createSocket('udp4').bind(0, '127.0.0.1');
    whenOver(context, () => void datagrams.close());
    await once(datagrams, 'listening');
    const descriptor = handleDescriptorOf(datagrams);
    const { type, listens } = lookAtSocket(descriptor) ?? {};
    assert.deepEqual([type, listens], ['datagram', false]);
  });

  test('is none where there is a file, or nothing', (context) => {
    const file = openSync('/dev/null', 'r');
    whenOver(context, () => closeSync(file));
    assert.equal(lookAtSocket(file), undefined);
    assert.equal(lookAtSocket(1_000_000), undefined);
  });

  test('outlives a listener that had a descriptor of its own, which no child gets', async (context) => {
    const keeper = await listening(context, { host: '127.0.0.1', port: 0 });
    const descriptor = descriptorOf(keeper) ?? -1;
    const copy = duplicate(descriptor);
    assert.match(readFileSync(`/proc/self/fdinfo/${copy}`, 'utf8'), /^flags:\t02\d{6}$/m);
    const second = createServer().listen({ fd: copy });
    await once(second, 'listening');
    await new Promise((resolve) => second.close(resolve));
    assert.equal(lookAtSocket(copy), undefined);
    assert.equal(lookAtSocket(descriptor)?.listens, true);
  });
});

test('a place is written for people', () => {
  assert.equal(placeText(socketPlace(Buffer.from('\x01\x00\x00name', 'latin1'))), '@name');
  assert.equal(placeText(socketPlace(Buffer.from([1, 0]))), '(no name)');
  assert.equal(placeText(socketPlace(Buffer.from([40, 0, 1, 2]))), 'address family 40');
  const ipv6 = Buffer.alloc(28);
  ipv6.writeUInt16LE(10, 0);
  ipv6.writeUInt16BE(10809, 2);
  assert.equal(placeText(socketPlace(ipv6)), ':: port 10809');
  Buffer.from('fe800000000000000000000000000001', 'hex').copy(ipv6, 8);
  assert.equal(placeText(socketPlace(ipv6)), 'fe80::1 port 10809');
});

async function listening(context: TestContext, where: object): Promise<Server> {
  const server = createServer().listen(where);
  whenOver(context, () => void server.close());
  await once(server, 'listening');
  return server;
}

function portOf(server: Server): number {
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : 0;
}

/** node:dgram keeps its handle behind a symbol. */
function handleDescriptorOf(socket: object): number {
  for (const symbol of Object.getOwnPropertySymbols(socket)) {
    const state: unknown = Reflect.get(socket, symbol);
    const handle: unknown = typeof state === 'object' && state !== null ? Reflect.get(state, 'handle') : undefined;
    if (typeof handle === 'object' && handle !== null) return Number(Reflect.get(handle, 'fd'));
  }
  return -1;
}
