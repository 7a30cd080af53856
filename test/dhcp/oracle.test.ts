// Asks dnsmasq and us the same questions, in a network of their own, and compares the answers byte for byte.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { describe, type TestContext, test } from 'node:test';
import { silentLog } from '../../src/base/log.js';
import { Discovery } from '../../src/boards/identity/discovery.js';
import { type BootloaderKind, discoverOf } from '../../src/dhcp/discover.js';
import { startDhcpServer } from '../../src/dhcp/server.js';
import { type DhcpMessage, encodeDhcp } from '../../src/dhcp/wire.js';
import { openUdpSocket } from '../../src/os/udp-socket.js';
import { lookupOf } from '../support/boards.js';
import { Datagrams } from '../support/datagrams.js';
import { FakeClock } from '../support/fake-clock.js';
import {
  connectNamespaces,
  type NetworkNamespace,
  networkNamespace,
  withoutNamespaces,
} from '../support/network-namespace.js';
import { anyOf, without } from '../support/programs.js';

const SERVER = '192.0.2.1';
const ROM_DELAY_MS = 2000;

const identity = { mac: 'dc:a6:32:01:02:03', serial: 'bf9fed6f', revisionCode: 0x00d03114 };

interface Question {
  readonly name: string;
  readonly kind: BootloaderKind;
  readonly discover: DhcpMessage;
}

const QUESTIONS: readonly Question[] = [
  ...(['rom3', 'bootcode', 'pi4Of2020', 'pi4', 'pi5'] as const).map((kind) => ({
    name: kind,
    kind,
    discover: discoverOf(kind, identity, 0x0a485863),
  })),
  {
    name: 'a Pi 5 behind a slow switch, asking for broadcast, with fields that it has no business to fill',
    kind: 'pi5',
    discover: { ...discoverOf('pi5', identity, 0xffff_ffff), secs: 7, hops: 1, flags: 0x8000, sname: 'x', file: 'y' },
  },
];

describe('beside dnsmasq', { skip: anyOf(withoutNamespaces(), without('dnsmasq', 'dnsmasq-base')) }, () => {
  test('the offer is the same to the last byte', async (context) => {
    const { host, lan } = twoNamespaces(context);
    const board = lan.inside(() => openUdpSocket({ address: '255.255.255.255', port: 68, interfaceName: 'board' }));
    context.after(() => board.close());
    const offers = new Datagrams(board);
    const ask = async (discover: DhcpMessage) => {
      board.send(encodeDhcp(discover), 67, '255.255.255.255');
      return offers.next();
    };

    const theirs = new Map<string, Uint8Array>();
    for (const spaces of ['', '   ']) {
      const dnsmasq = await startDnsmasq(host, `Raspberry Pi Boot${spaces}`);
      for (const { name, kind, discover } of QUESTIONS) {
        if ((kind === 'rom3') !== (spaces !== '')) continue;
        theirs.set(name, (await ask(discover)).bytes);
      }
      await stop(dnsmasq);
    }

    const clock = new FakeClock();
    const server = host.inside(() =>
      startDhcpServer({
        interfaces: [{ name: 'host', address: SERVER, broadcast: '255.255.255.255' }],
        ...{ port: 67, replyPort: 68, answer: 'any', lookup: lookupOf(), discovery: new Discovery() },
        ...{ freeDisk: { image: 'noble', disk: 'direct' as const }, clock, log: silentLog },
        tell: () => clock.advance(ROM_DELAY_MS),
      }),
    );
    context.after(() => server.stop());
    for (const { name, discover } of QUESTIONS) {
      const { bytes, address, port } = await ask(discover);
      assert.deepEqual({ address, port }, { address: SERVER, port: 67 });
      assert.equal(hex(bytes), hex(theirs.get(name)), name);
    }
  });
});

function twoNamespaces(context: TestContext): { host: NetworkNamespace; lan: NetworkNamespace } {
  const [host, lan] = [networkNamespace(context), networkNamespace(context)];
  connectNamespaces(
    { namespace: host, interfaceName: 'host', address: `${SERVER}/24` },
    { namespace: lan, interfaceName: 'board', address: '192.0.2.2/24' },
  );
  return { host, lan };
}

async function startDnsmasq(namespace: NetworkNamespace, text: string): Promise<ChildProcess> {
  const dnsmasq = namespace.spawn(
    ...(['dnsmasq', '--no-daemon', '--conf-file=/dev/null', '--port=0', '--user=root', '--pid-file='] as const),
    ...['--dhcp-range=192.0.2.0,proxy', `--pxe-service=0,${text}`, '--interface=host'],
  );
  await new Promise<void>((resolve, reject) => {
    let said = '';
    dnsmasq.stderr?.on('data', (chunk) => {
      said += String(chunk);
      if (said.includes('DHCP, proxy on subnet')) resolve();
    });
    dnsmasq.once('exit', () => reject(new Error(`dnsmasq: ${said}`)));
  });
  return dnsmasq;
}

async function stop(child: ChildProcess): Promise<void> {
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}

function hex(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString('hex');
}
