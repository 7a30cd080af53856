import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { DescriptorWatch } from '../../src/os/descriptor-watch.js';
import { SystemCallError } from '../../src/os/libc.js';
import { openPacketSocket, type PacketSocket, whyNoPacketSocket } from '../../src/os/packet-socket.js';
import { openUdpSocket } from '../../src/os/udp-socket.js';
import { whenOver } from '../support/cleanup.js';
import { run, until } from '../support/commands.js';
import { connectNamespaces, networkNamespace, withoutNamespaces } from '../support/network-namespace.js';
import { withoutRoot } from '../support/programs.js';

const BROADCAST = '255.255.255.255';

describe('a packet socket', { skip: withoutNamespaces() }, () => {
  test('hears broadcasts to its port, whole ones, and nothing else', async (context) => {
    const { host, lan, listen } = cable(context);
    const { heard } = listen({ destinationPort: 67, broadcastOnly: true });
    const peer = lan.inside(() => openUdpSocket({ address: '0.0.0.0', port: 4068, interfaceName: 'lan0' }));
    whenOver(context, () => void peer.close());
    peer.send('another port', 68, BROADCAST);
    peer.send('to us alone', 67, '192.0.2.1');
    peer.send('in the subnet', 67, '192.0.2.255');
    peer.send(Buffer.alloc(4000, 'in fragments'), 67, BROADCAST);
    // A frame for another MAC, as one of a VLAN that there is no interface for looks to us too.
    lan.ip('link', 'set', 'lan0', 'broadcast', '02:00:00:00:00:99');
    await sent(peer, 'for somebody else', 67, BROADCAST);
    lan.ip('link', 'set', 'lan0', 'broadcast', 'ff:ff:ff:ff:ff:ff');
    await sent(peer, 'this', 67, BROADCAST);
    await until(() => heard.length > 0, 'the broadcast');
    assert.deepEqual(heard.map(textOf), ['this']);
    assert.equal(
      host.inside(() => whyNoPacketSocket()),
      undefined,
    );
  });

  test('hears what is for anybody, if it is told so', async (context) => {
    const { lan, listen } = cable(context);
    const { heard } = listen({ destinationPort: 68, broadcastOnly: false });
    const peer = lan.inside(() => openUdpSocket({ address: '0.0.0.0', port: 4068, interfaceName: 'lan0' }));
    whenOver(context, () => void peer.close());
    await sent(peer, 'one', 68, '192.0.2.1');
    await sent(peer, 'two', 68, BROADCAST);
    await until(() => heard.length === 2, 'both');
    assert.deepEqual(heard.map(textOf), ['one', 'two']);
  });

  test('does not hear itself, but another of its kind on the other side', async (context) => {
    const { lan, listen } = cable(context);
    const ours = listen({ destinationPort: 67, broadcastOnly: true });
    const theirs: Uint8Array[] = [];
    const filter = { destinationPort: 67, broadcastOnly: true };
    const other = lan.inside(() =>
      openPacketSocket({ interfaceName: 'lan0', filter }, new DescriptorWatch(), (packet) => void theirs.push(packet)),
    );
    whenOver(context, () => other.close());
    ours.socket.broadcast(BROADCAST_PACKET);
    await until(() => theirs.length > 0, 'the packet');
    other.broadcast(BROADCAST_PACKET);
    await until(() => ours.heard.length > 0, 'the packet back');
    assert.deepEqual([ours.heard.length, theirs.length], [1, 1]);
  });

  test('outlives its interface’s being taken down, and says when that is gone', async (context) => {
    const { host, lan, listen } = cable(context);
    const { heard, socket } = listen({ destinationPort: 67, broadcastOnly: true });
    host.ip('link', 'set', 'host0', 'down');
    assert.throws(() => socket.broadcast(BROADCAST_PACKET), /ENETDOWN/);
    host.ip('link', 'set', 'host0', 'up');
    assert.equal(socket.failure(), undefined);
    const peer = lan.inside(() => openUdpSocket({ address: '0.0.0.0', port: 4068, interfaceName: 'lan0' }));
    whenOver(context, () => void peer.close());
    await until(async () => {
      await sent(peer, 'again', 67, BROADCAST);
      return heard.length > 0;
    }, 'a packet after the replug');

    // There and back: the same name, the same number even, but the kernel has taken the socket off.
    host.ip('link', 'set', 'host0', 'netns', lan.name);
    lan.ip('link', 'set', 'host0', 'netns', host.name);
    host.ip('link', 'set', 'host0', 'up');
    assert.equal(socket.failure(), 'its interface is gone');
    await socket.close();
    assert.equal(socket.failure(), undefined);
    assert.doesNotThrow(() => socket.broadcast(BROADCAST_PACKET));
  });

  test('shares one thread with others, which ends with the last of them', async (context) => {
    const { host } = cable(context);
    const watch = new DescriptorWatch();
    const filter = { destinationPort: 67, broadcastOnly: true };
    const open = () => host.inside(() => openPacketSocket({ interfaceName: 'host0', filter }, watch, () => {}));
    const before = await threadCount();
    const sockets = Array.from({ length: 20 }, open);
    await until(async () => (await threadCount()) > before, 'the thread');
    assert.equal(await threadCount(), before + 1);
    await Promise.all(sockets.map((socket) => socket.close()));
    await until(async () => (await threadCount()) === before, 'the end of the thread');
    const later = open();
    assert.equal(later.failure(), undefined);
    await later.close();
  });
});

test('a packet socket needs a right, and an interface', { skip: withoutRoot() }, () => {
  const filter = { destinationPort: 67, broadcastOnly: true };
  const open = (interfaceName: string) => openPacketSocket({ interfaceName, filter }, new DescriptorWatch(), () => {});
  assert.throws(
    () => open('nosuch0'),
    (error) => error instanceof SystemCallError && error.code === 'ENODEV',
  );
  process.seteuid?.(65534);
  try {
    assert.throws(
      () => open('lo'),
      (error) => error instanceof SystemCallError && error.code === 'EPERM',
    );
    assert.equal(whyNoPacketSocket(), 'no CAP_NET_RAW');
  } finally {
    process.seteuid?.(0);
  }
});

/** An empty datagram from 192.0.2.1:67 to everybody's port 67. */
const BROADCAST_PACKET = Buffer.from('4500001c00000000401100000a000001ffffffff0043004300080000', 'hex');

function cable(context: TestContext) {
  const [host, lan] = [networkNamespace(context), networkNamespace(context)];
  connectNamespaces(
    { namespace: host, interfaceName: 'host0', address: '192.0.2.1/24' },
    { namespace: lan, interfaceName: 'lan0', address: '192.0.2.2/24' },
  );
  // Known beforehand, or a unicast waits for ARP and comes in after what was sent later.
  host.ip('link', 'set', 'host0', 'address', '02:00:00:00:00:01');
  lan.ip('neighbour', 'add', '192.0.2.1', 'lladdr', '02:00:00:00:00:01', 'dev', 'lan0');
  const listen = (filter: Parameters<typeof openPacketSocket>[0]['filter']) => {
    const heard: Uint8Array[] = [];
    const socket: PacketSocket = host.inside(() =>
      openPacketSocket({ interfaceName: 'host0', filter }, new DescriptorWatch(), (packet) => void heard.push(packet)),
    );
    whenOver(context, () => socket.close());
    return { heard, socket };
  };
  return { host, lan, listen };
}

function sent(socket: ReturnType<typeof openUdpSocket>, text: string, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(text, port, address, (error) => (error ? reject(error) : resolve()));
  });
}

function textOf(packet: Uint8Array): string {
  return Buffer.from(packet.subarray(28)).toString();
}

async function threadCount(): Promise<number> {
  return (await run('ls', [`/proc/${process.pid}/task`])).toString().trim().split('\n').length;
}
