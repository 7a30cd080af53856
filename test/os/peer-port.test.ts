import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { PeerPort } from '../../src/os/peer-port.js';
import { openUdpSocket } from '../../src/os/udp-socket.js';
import { whenOver } from '../support/cleanup.js';
import { type Datagram, Datagrams } from '../support/datagrams.js';
import { connectNamespaces, networkNamespace, withoutNamespaces } from '../support/network-namespace.js';
import { noise } from '../support/random.js';

async function bound(context: TestContext): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  whenOver(context, () => void socket.close());
  return socket;
}

async function portTo(context: TestContext) {
  const peer = await bound(context);
  const port = new PeerPort('127.0.0.1', { address: '127.0.0.1', port: peer.address().port });
  whenOver(context, () => port.close());
  return { port, peer, heard: new Datagrams(peer) };
}

/** What is sent on loopback is there when `send` is back, but Node sends in a turn of its own. */
async function untilReceived<Received>(receive: () => Received | undefined): Promise<Received> {
  for (;;) {
    const received = receive();
    if (received !== undefined) return received;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a port for one peer', () => {
  test('sends to the peer and receives from it', async (context) => {
    const { port, peer, heard } = await portTo(context);
    port.send(Buffer.from('hello, and no more'), 5);
    const { bytes, port: number } = await heard.next();
    assert.equal(bytes.toString(), 'hello');
    peer.send('answer', number, '127.0.0.1');
    const buffer = new Uint8Array(3);
    assert.equal(await untilReceived(() => port.receive(buffer)), 3, 'cut off where the buffer ends');
    assert.equal(Buffer.from(buffer).toString(), 'ans');
    assert.equal(port.receive(buffer), undefined);
  });

  test('what others send comes in apart, and can be answered', async (context) => {
    const { port, heard } = await portTo(context);
    port.send(Buffer.from('x'), 1);
    const { port: number } = await heard.next();
    const stranger = await bound(context);
    const strangerHeard = new Datagrams(stranger);
    stranger.send('let me in', number, '127.0.0.1');
    const buffer = new Uint8Array(100);
    const said = await untilReceived(() => port.strangers.receive(buffer));
    assert.deepEqual(said, { length: 9, from: { address: '127.0.0.1', port: stranger.address().port } });
    assert.equal(port.receive(buffer), undefined, 'the peer said nothing');
    port.strangers.send(Buffer.from('no'), said.from);
    const answer = await strangerHeard.next();
    assert.deepEqual([answer.bytes.toString(), answer.port], ['no', number]);
  });

  test('has a port of its own, whoever else has one', async (context) => {
    const numbers = new Set<number>();
    for (let count = 0; count < 200; count += 1) {
      const { port, heard } = await portTo(context);
      port.send(Buffer.from('x'), 1);
      numbers.add((await heard.next()).port);
    }
    assert.equal(numbers.size, 200);
  });

  test('a peer that is not there any more makes nothing fail', async (context) => {
    const peer = createSocket('udp4');
    peer.bind(0, '127.0.0.1');
    await once(peer, 'listening');
    const port = new PeerPort('127.0.0.1', { address: '127.0.0.1', port: peer.address().port });
    whenOver(context, () => port.close());
    await new Promise<void>((resolve) => peer.close(() => resolve()));
    for (let count = 0; count < 5; count += 1) {
      port.send(Buffer.from('x'), 1);
      port.sendSegments(noise(300), 300, 100);
      assert.equal(port.receive(new Uint8Array(10)), undefined);
    }
  });

  test('what a peer said before it went is heard, although it refuses our answer', async (context) => {
    const peer = createSocket('udp4');
    peer.bind(0, '127.0.0.1');
    await once(peer, 'listening');
    const port = new PeerPort('127.0.0.1', { address: '127.0.0.1', port: peer.address().port });
    whenOver(context, () => port.close());
    const heard = new Datagrams(peer);
    port.send(Buffer.from('x'), 1);
    const { port: number } = await heard.next();
    await new Promise<void>((resolve) => peer.send('I go', number, '127.0.0.1', () => resolve()));
    await new Promise<void>((resolve) => peer.close(() => resolve()));
    port.send(Buffer.from('x'), 1); // refused by ICMP before `send` is back
    assert.equal(port.receive(new Uint8Array(10)), 4);
    assert.equal(port.receive(new Uint8Array(10)), undefined);
  });

  test('says so if the address is not ours', () => {
    const toNobody = () => new PeerPort('192.0.2.1', { address: '127.0.0.1', port: 9 });
    assert.throws(toNobody, { code: 'EADDRNOTAVAIL' });
  });
});

describe('datagrams that lie one behind the other', () => {
  test('arrive one by one', async (context) => {
    const { port, heard } = await portTo(context);
    const packets = noise(1472 * 7 + 99);
    port.sendSegments(packets, packets.length, 1472);
    await arrives(heard, packets, 1472);
    port.sendSegments(packets, 1472, 1472);
    await arrives(heard, packets.subarray(0, 1472), 1472);
  });

  test('do not cut what is sent alone behind them', async (context) => {
    const { port, heard } = await portTo(context);
    const packets = noise(120);
    for (let round = 0; round < 2; round += 1) {
      port.sendSegments(packets, 36, 12);
      await arrives(heard, packets.subarray(0, 36), 12);
      port.send(packets, packets.length);
      await arrives(heard, packets, packets.length);
    }
  });

  test('arrive where each is too long for the cable', { skip: withoutNamespaces() }, async (context) => {
    const [near, far] = [networkNamespace(context), networkNamespace(context)];
    connectNamespaces(
      { namespace: near, interfaceName: 'cable0', address: '10.91.7.1/24' },
      { namespace: far, interfaceName: 'cable0', address: '10.91.7.2/24' },
    );
    const place = { address: '10.91.7.2', port: 0, interfaceName: 'cable0' };
    const peer = far.inside(() => openUdpSocket(place));
    whenOver(context, () => void peer.close());
    const heard = new Datagrams(peer);
    const to = { address: '10.91.7.2', port: peer.address().port };
    const port = near.inside(() => new PeerPort('10.91.7.1', to));
    whenOver(context, () => port.close());
    const packets = noise(4000 * 3);
    for (let round = 0; round < 2; round += 1) {
      port.sendSegments(packets, packets.length, 4000);
      await arrives(heard, packets, 4000);
    }
    port.sendSegments(packets, 1000 * 3, 1000);
    await arrives(heard, packets.subarray(0, 3000), 1000);
  });
});

async function arrives(heard: Datagrams, packets: Uint8Array, packetBytes: number): Promise<void> {
  for (let at = 0; at < packets.length; at += packetBytes) {
    const { bytes }: Datagram = await heard.next();
    assert.deepEqual(bytes, Buffer.from(packets.subarray(at, at + packetBytes)));
  }
}
