import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { portHolders, udpPortAddresses } from '../../src/os/port-holders.js';

test('who has a UDP port is told, by IPv4 and IPv6', async (context) => {
  const four = await bound(context, 'udp4', '127.0.0.1');
  const { port } = four.address();
  const own = { address: '127.0.0.1', program: `${processName()} (pid ${process.pid})` };
  assert.deepEqual(portHolders('udp', port), [own]);
  const six = await bound(context, 'udp6', '::1');
  assert.deepEqual(udpPortAddresses(six.address().port), ['0:0:0:0:0:0:0:1']);
  const all = await bound(context, 'udp6', '::');
  assert.deepEqual(udpPortAddresses(all.address().port), ['::']);
});

test('who listens at a TCP port is told, and not who is connected to it', async (context) => {
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const client = connect(port, '127.0.0.1');
  context.after(() => client.destroy());
  await once(client, 'connect');
  const own = { address: '127.0.0.1', program: `${processName()} (pid ${process.pid})` };
  assert.deepEqual(portHolders('tcp', port), [own]);
  assert.deepEqual(portHolders('tcp', client.localPort ?? 0), []);
});

test('of a port that nobody has there is nobody to tell', async (context) => {
  const socket = await bound(context, 'udp4', '127.0.0.1');
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  assert.deepEqual([portHolders('udp', port), udpPortAddresses(port)], [[], []]);
});

async function bound(context: TestContext, type: 'udp4' | 'udp6', address: string): Promise<Socket> {
  const socket = createSocket(type);
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port: 0, address, exclusive: true }, resolve);
  });
  let open = true;
  socket.once('close', () => {
    open = false;
  });
  context.after(() => open && socket.close());
  return socket;
}

/** As the kernel has it: newer Nodes name their main thread. */
function processName(): string {
  return readFileSync('/proc/self/comm', 'utf8').trim();
}
