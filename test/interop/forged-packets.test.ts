// What a host on the LAN can send under names that are not its own, below UDP: against the real program, in networks of the test's own.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type Ipv4Address, ipv4ToBytes } from '../../src/base/addresses.js';
import { encodeUdpPacket, LINUX_STYLE } from '../../src/dhcp/ip-packet.js';
import { DescriptorWatch } from '../../src/os/descriptor-watch.js';
import { openPacketSocket } from '../../src/os/packet-socket.js';
import { openUdpSocket } from '../../src/os/udp-socket.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from '../support/cleanup.js';
import { outputOf, until } from '../support/commands.js';
import {
  connectNamespaces,
  type NetworkNamespace,
  networkNamespace,
  withoutNamespaces,
} from '../support/network-namespace.js';
import { outputIn, playIn, serveIn } from '../support/program-in-namespace.js';
import { scratchFolder } from '../support/scratch.js';
import { rrq } from '../support/tftp.js';

const SERVER = '10.77.0.1';
const BOARD = '10.77.0.2';
const SERIAL = 'bf9fed6f';
const skip = withoutNamespaces();

interface Lan {
  readonly server: NetworkNamespace;
  readonly board: NetworkNamespace;
  /** Puts an IP packet on the cable, whoever its source says that it is of. */
  forge(packet: Uint8Array): void;
  /** How the server's kernel would send to the board. */
  wayToBoard(): Promise<string>;
}

async function lanWith(context: TestContext, singlePort: boolean): Promise<Lan> {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'one.img'));
  const [server, board] = [networkNamespace(context), networkNamespace(context)];
  connectNamespaces(
    { namespace: server, interfaceName: 'eth0', address: `${SERVER}/16` },
    { namespace: board, interfaceName: 'eth0', address: `${BOARD}/16` },
  );
  const inventory = `server: { interface: eth0, state: ./state }
tftp: { single_port: ${singlePort} }
images: { one: { file: one.img } }
boards: { node1: { serial: ${SERIAL}, image: one } }
`;
  const program = await serveIn(server, folder, inventory);
  await program.ready();
  const filter = { destinationPort: 9, broadcastOnly: true };
  const cable = board.inside(() =>
    openPacketSocket({ interfaceName: 'eth0', filter }, new DescriptorWatch(), () => {}),
  );
  whenOver(context, () => cable.close());
  return {
    ...{ server, board },
    forge: (packet) => cable.broadcast(packet),
    wayToBoard: () => outputIn(server, 'ip', 'route', 'get', BOARD),
  };
}

describe('forged packets', { skip }, () => {
  test('RRQs of addresses that answer no ARP keep no board from booting', async (context) => {
    const lan = await lanWith(context, false);
    let sent = 0;
    const flood = setInterval(() => {
      for (let count = 0; count < 20; count += 1) lan.forge(requestFrom(sent++));
    }, 10);
    context.after(() => clearInterval(flood));
    const { json, text } = await boot(lan);
    assert.equal(json.outcome, 'booted', text);
    assert.ok(sent > 600, `${sent} requests`);
  });

  for (const singlePort of [false, true]) {
    const ports = singlePort ? 'a single port' : 'a port for each transfer';
    test(`an ICMP that tells of a smaller MTU on the way makes no block come in pieces, on ${ports}`, async (context) => {
      const lan = await lanWith(context, singlePort);
      const about = { source: SERVER, destination: BOARD, destinationPort: 50_000 };
      lan.forge(fragmentationNeeded({ ...about, sourcePort: 69 }));
      assert.doesNotMatch(await lan.wayToBoard(), /mtu/, 'no socket of ours believes it');
      // Another program's socket does, and the kernel with it, for all that goes to the board.
      const place = { address: SERVER, port: 9999, interfaceName: 'eth0' };
      const other = lan.server.inside(() => openUdpSocket(place));
      context.after(() => other.close());
      lan.forge(fragmentationNeeded({ ...about, sourcePort: 9999 }));
      assert.match(await lan.wayToBoard(), /mtu 552/);
      const before = fragmentsMade(lan.server);
      const { json, text } = await boot(lan);
      assert.equal(json.outcome, 'booted', text);
      assert.equal(fragmentsMade(lan.server), before);
    });
  }

  test('an ICMP about the connection of a disk is not believed, unless it knows where in the stream that is', async (context) => {
    const lan = await lanWith(context, false);
    const script = `require('node:net').connect({ host: '${SERVER}', port: 10809, localPort: 40000 }).on('data', () => console.log('greeted'))`;
    const disk = lan.board.spawn('node', '-e', script);
    await until(outputOf(disk, 'greeted'), 'the connection');
    const about = { source: SERVER, sourcePort: 10_809, destination: BOARD, destinationPort: 40_000 };
    for (let sequence = 0; sequence < 0x1_0000_0000; sequence += 0x0400_0000) {
      lan.forge(fragmentationNeeded(about, sequence));
    }
    assert.doesNotMatch(await lan.wayToBoard(), /mtu/);
  });
});

function boot({ board }: Lan) {
  return playIn(board, '--serial', SERIAL, '--server', SERVER);
}

/**
 * Fewer than Linux has room for neighbours (net.ipv4.neigh.default.gc_thresh3, 1024 for all namespaces together): beyond, the
 * kernel finds no new host for anybody.
 */
const ADDRESS_COUNT = 600;

/** Without options: the answer is a block at once, and it waits in our send buffer for a host that is not there. */
function requestFrom(index: number): Uint8Array {
  const source = `10.77.${8 + ((index % ADDRESS_COUNT) >> 8)}.${(index % ADDRESS_COUNT) & 0xff}`;
  const payload = Buffer.from(rrq(`${SERIAL}/kernel8.img`), 'latin1');
  const sourcePort = 1024 + (index % 60_000);
  return encodeUdpPacket({ source, sourcePort, destination: SERVER, destinationPort: 69, payload }, LINUX_STYLE);
}

/**
 * RFC 792, RFC 1191: type 3, code 4, the MTU of the next hop, and the beginning of the packet that is said to be too large: UDP, or
 * with a `sequence` TCP.
 */
function fragmentationNeeded(
  about: Omit<Parameters<typeof encodeUdpPacket>[0], 'payload'>,
  sequence?: number,
): Uint8Array {
  const quoted = Buffer.from(encodeUdpPacket({ ...about, payload: new Uint8Array(1472) }, LINUX_STYLE).subarray(0, 28));
  if (sequence !== undefined) {
    quoted.writeUInt8(6, 9);
    quoted.writeUInt32BE(sequence, 24);
  }
  const message = Buffer.concat([Buffer.from([3, 4, 0, 0, 0, 0, 552 >> 8, 552 & 0xff]), quoted]);
  message.writeUInt16BE(checksum(message), 2);
  const addresses = [...ipv4ToBytes(ROUTER), ...ipv4ToBytes(SERVER)];
  const header = Buffer.from([0x45, 0, 0, 20 + message.length, 0, 0, 0, 0, 64, 1, 0, 0, ...addresses]);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, message]);
}

const ROUTER: Ipv4Address = '10.77.0.254';

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Of /proc/net/snmp, in the network of this thread: a line of names, then a line of numbers. */
function fragmentsMade(host: NetworkNamespace): number {
  const text = host.inside(() => readFileSync('/proc/thread-self/net/snmp', 'latin1'));
  const [names = [], numbers = []] = text
    .split('\n')
    .filter((line) => line.startsWith('Ip:'))
    .map((line) => line.split(' '));
  return Number(numbers[names.indexOf('FragCreates')]);
}
