import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { describe, test } from 'node:test';
import { openUdpSocket, UdpSocketError } from '../../src/os/udp-socket.js';
import { Datagrams } from '../support/datagrams.js';
import { connectNamespaces, networkNamespace, withoutNamespaces } from '../support/network-namespace.js';
import { withoutRoot } from '../support/programs.js';

const LOOPBACK = { address: '127.255.255.255', port: 0, interfaceName: 'lo' };

describe('openUdpSocket', () => {
  test('receives what is sent to the broadcast address, and sends to it', async (context) => {
    const left = openUdpSocket(LOOPBACK);
    const right = openUdpSocket(LOOPBACK);
    context.after(() => Promise.all([left.close(), right.close()]));
    const arriving = new Datagrams(right).next();
    left.send('hello', right.address().port, LOOPBACK.address);
    const { bytes, address, port } = await arriving;
    assert.deepEqual([Buffer.from(bytes).toString(), address, port], ['hello', '127.0.0.1', left.address().port]);
  });

  test('shares its address with another that shares, not with one that does not', async (context) => {
    const first = openUdpSocket(LOOPBACK);
    const second = openUdpSocket({ ...LOOPBACK, port: first.address().port });
    context.after(() => Promise.all([first.close(), second.close()]));

    const selfish = createSocket('udp4');
    context.after(() => selfish.close());
    await new Promise<void>((resolve) => selfish.bind(0, '0.0.0.0', resolve));
    const refused = failure(() => openUdpSocket({ ...LOOPBACK, port: selfish.address().port }));
    assert.equal(refused.code, 'EADDRINUSE');
    assert.match(refused.message, /^UDP 127\.255\.255\.255:\d+ on lo: EADDRINUSE: another program has this port/);
  });

  test('says what is missing', () => {
    assert.match(
      failure(() => openUdpSocket({ ...LOOPBACK, interfaceName: 'nosuch0' })).message,
      /ENODEV: there is no such/,
    );
    assert.match(
      failure(() => openUdpSocket({ ...LOOPBACK, address: '192.0.2.55' })).message,
      /EADDRNOTAVAIL: this address is on no interface/,
    );
  });

  test('needs a right for a low port', { skip: withoutRoot() }, () => {
    // Nobody's effective rights are root's no more; they come back with its id.
    process.seteuid?.(65534);
    try {
      const refused = failure(() => openUdpSocket({ ...LOOPBACK, port: 67 }));
      assert.match(refused.message, /EACCES: ports below 1024 need root or CAP_NET_BIND_SERVICE/);
    } finally {
      process.seteuid?.(0);
    }
  });

  test('a name too long for an interface names none', () => {
    assert.equal(failure(() => openUdpSocket({ ...LOOPBACK, interfaceName: 'x'.repeat(40) })).code, 'ENODEV');
  });

  test('does not leak the descriptor of a socket that could not be bound', () => {
    for (let times = 0; times < 5000; times += 1) {
      failure(() => openUdpSocket({ ...LOOPBACK, interfaceName: 'nosuch0' }));
    }
  });

  test('hears only its own interface', { skip: withoutNamespaces() }, async (context) => {
    const [host, lan] = [networkNamespace(context), networkNamespace(context)];
    const ends = (number: number) => {
      const network = `10.0.${number}`;
      connectNamespaces(
        { namespace: host, interfaceName: `host${number}`, address: `${network}.1/24` },
        { namespace: lan, interfaceName: `lan${number}`, address: `${network}.2/24` },
      );
      const place = { address: '255.255.255.255', port: 4067 };
      const socket = host.inside(() => openUdpSocket({ ...place, interfaceName: `host${number}` }));
      const peer = lan.inside(() => openUdpSocket({ ...place, interfaceName: `lan${number}` }));
      context.after(() => Promise.all([socket.close(), peer.close()]));
      return { heard: new Datagrams(socket), peer };
    };
    const [one, two] = [ends(1), ends(2)];
    one.peer.send('one', 4067, '255.255.255.255');
    assert.equal(Buffer.from((await one.heard.next()).bytes).toString(), 'one');
    two.peer.send('two', 4067, '255.255.255.255');
    assert.equal(Buffer.from((await two.heard.next()).bytes).toString(), 'two');
    assert.deepEqual([one.heard.waitingCount, two.heard.waitingCount], [0, 0]);
  });
});

function failure(action: () => unknown): UdpSocketError {
  try {
    action();
  } catch (error) {
    if (error instanceof UdpSocketError) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: 'it was opened' });
}
