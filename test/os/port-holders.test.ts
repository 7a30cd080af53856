import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { udpPortAddresses, udpPortHolders } from '../../src/os/port-holders.js';

test('who has a UDP port is told, by IPv4 and IPv6', async (context) => {
  const four = await bound(context, 'udp4', '127.0.0.1');
  const { port } = four.address();
  const own = { address: '127.0.0.1', program: `${processName()} (pid ${process.pid})` };
  assert.deepEqual(udpPortHolders(port), [own]);
  const six = await bound(context, 'udp6', '::1');
  assert.deepEqual(udpPortAddresses(six.address().port), ['0:0:0:0:0:0:0:1']);
  const all = await bound(context, 'udp6', '::');
  assert.deepEqual(udpPortAddresses(all.address().port), ['::']);
});

test('of a port that nobody has there is nobody to tell', async (context) => {
  const socket = await bound(context, 'udp4', '127.0.0.1');
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  assert.deepEqual([udpPortHolders(port), udpPortAddresses(port)], [[], []]);
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
