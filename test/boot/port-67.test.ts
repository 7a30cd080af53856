// Beside a real dnsmasq that gives out the LAN's addresses on our own machine: both serve, whoever started first, and dnsmasq's
// clients renew their leases by unicast.
import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { outputOf, until } from '../support/commands.js';
import {
  connectNamespaces,
  type NetworkNamespace,
  networkNamespace,
  withoutNamespaces,
} from '../support/network-namespace.js';
import { outputIn, playIn, type ServedProgram, serveIn } from '../support/program-in-namespace.js';
import { anyOf, without } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { scratchFolder } from '../support/scratch.js';

const MAIN = projectFile('dist/main.js');
const BOARDS = {
  node1: { serial: 'bf9fed6f', mac: 'dc:a6:32:01:02:03' },
  node3: { serial: '0a1b2c3d', mac: 'b8:27:eb:1b:2c:3d' },
};
const WAYS_OF_DNSMASQ = {
  'without bind-interfaces': [],
  'with bind-interfaces': ['--bind-interfaces'],
  'with bind-dynamic': ['--bind-dynamic'],
};
const missing = anyOf(
  withoutNamespaces(),
  without('dnsmasq', 'dnsmasq-base'),
  without('busybox', 'busybox'),
  without('setpriv', 'util-linux'),
);

describe('on the machine of a dnsmasq', { skip: missing }, () => {
  for (const [how, words] of Object.entries(WAYS_OF_DNSMASQ)) {
    test(`${how}, started before us`, async (context) => {
      const lan = await lanWith(context);
      const dnsmasq = await lan.startDnsmasq(words);
      const program = await lan.startServer();
      await assertBothServe(lan, program, dnsmasq);
      assert.deepEqual((await program.firstLogged('dhcp.listening'))['besideSocketsAt'], ['0.0.0.0']);
    });

    test(`${how}, started after us, and started again`, async (context) => {
      const lan = await lanWith(context);
      const program = await lan.startServer();
      const first = await lan.startDnsmasq(words);
      await assertBothServe(lan, program, first);
      const ended = new Promise((resolve) => first.once('exit', resolve));
      first.kill('SIGTERM');
      await ended;
      await assertBothServe(lan, program, await lan.startDnsmasq(words));
    });
  }

  test('without CAP_NET_RAW we share the port with one that shares it, in either order', async (context) => {
    for (const order of ['dnsmasq first', 'we first']) {
      const lan = await lanWith(context);
      const words = WAYS_OF_DNSMASQ['with bind-dynamic'];
      const early = order === 'dnsmasq first' ? await lan.startDnsmasq(words) : undefined;
      const program = await lan.startServer('', WITHOUT_RAW);
      const dnsmasq = early ?? (await lan.startDnsmasq(words));
      await assertBothServe(lan, program, dnsmasq, 'udp');
    }
  });

  test('without CAP_NET_RAW and beside one that does not share, it is said, and tried again until it works', async (context) => {
    const lan = await lanWith(context);
    const dnsmasq = await lan.startDnsmasq([]);
    const program = await lan.startServer(
      '',
      WITHOUT_RAW,
      /^dhcp br0 10\.77\.0\.1 port 67: UDP .*EADDRINUSE: another program/,
    );
    dnsmasq.kill('SIGKILL');
    await program.ready();
    await program.firstLogged('server.ready');
    assert.equal(program.logged('listener.missing').length, 1, 'said once, however often it is tried');
  });
});

describe('an address that is not the primary one', { skip: missing }, () => {
  test('is the source of the offer, which is whom a Pi 3 asks', async (context) => {
    const lan = await lanWith(context);
    lan.server.ip('address', 'add', '10.77.0.9/24', 'dev', 'br0');
    await lan.startServer('address: 10.77.0.9, ');
    lan.board.ip('link', 'set', 'eth0', 'address', BOARDS.node3.mac);
    lan.board.ip('address', 'add', '10.77.0.30/24', 'dev', 'eth0');
    const { json, text } = await playIn(
      lan.board,
      ...['--serial', BOARDS.node3.serial, '--profile', 'pi3', '--interface', 'eth0'],
    );
    assert.equal(json.outcome, 'booted', text);
    assert.match(json.cmdline ?? '', /nbdroot=10\.77\.0\.9\/node3 /);
  });
});

describe('check', { skip: missing }, () => {
  test('says which way DHCP would be heard, and who has the port', async (context) => {
    const lan = await lanWith(context);
    const config = lan.writeInventory('');
    const check = (...words: readonly string[]) =>
      outputIn(lan.server, 'env', ...words, 'node', MAIN, 'check', '--config', config);
    await until(async () => (await check()).includes(' DHCP: '), 'the bridge to be up');
    assert.match(
      await check(),
      / DHCP: heard and sent below IP, by AF_PACKET; UDP port 67 is left to others \(nobody has it now\)\n/,
    );
    const dnsmasq = await lan.startDnsmasq([]);
    assert.match(
      await check(),
      new RegExp(`left to others \\(dnsmasq \\(pid ${dnsmasq.pid}\\) has it at 0\\.0\\.0\\.0\\)\n`),
    );
    const plain = await check(...WITHOUT_RAW);
    assert.match(
      plain,
      / DHCP: by UDP port 67 \(dnsmasq \(pid \d+\) has it at 0\.0\.0\.0\), since who runs this has no CAP_NET_RAW\n/,
    );
    assert.match(plain, /warnings\n {2}UDP port 67: dnsmasq .*; without CAP_NET_RAW it has to be shared\n/);
  });

  test('warns of an address that nobody answers at, or that offers do not come from', async (context) => {
    const lan = await lanWith(context);
    lan.server.ip('address', 'add', '10.77.0.9/24', 'dev', 'br0');
    const check = (address: string, ...words: readonly string[]) => {
      const config = lan.writeInventory(`address: ${address}, `);
      return outputIn(lan.server, 'env', ...words, 'node', MAIN, 'check', '--config', config);
    };
    assert.match(
      await check('10.77.0.9'),
      /network\n {2}br0: 10\.77\.0\.1; boards are told to ask 10\.77\.0\.9\n[\s\S]*: no faults\n$/,
    );
    assert.match(
      await check('10.77.0.8'),
      /warnings\n {2}br0: boards are told to ask 10\.77\.0\.8, but no served interface has that address/,
    );
    const plain = await check('10.77.0.9', ...WITHOUT_RAW);
    assert.match(
      plain,
      /warnings\n {2}br0: boards are told to ask 10\.77\.0\.9, but without CAP_NET_RAW offers come from 10\.77\.0\.1/,
    );
  });
});

const WITHOUT_RAW = ['setpriv', '--bounding-set', '-net_raw'];

interface Lan {
  readonly server: NetworkNamespace;
  readonly board: NetworkNamespace;
  readonly client: NetworkNamespace;
  readonly folder: string;
  startDnsmasq(words: readonly string[]): Promise<ReturnType<NetworkNamespace['spawn']>>;
  writeInventory(server: string): string;
  startServer(server?: string, words?: readonly string[], readiness?: RegExp): Promise<ServedProgram>;
}

/** One machine for both servers, with a bridge; a board and another client at it. */
async function lanWith(context: TestContext): Promise<Lan> {
  const folder = scratchFolder(context);
  const [server, board, client] = [networkNamespace(context), networkNamespace(context), networkNamespace(context)];
  server.ip('link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0');
  server.ip('address', 'add', '10.77.0.1/24', 'broadcast', '+', 'dev', 'br0');
  for (const [namespace, port] of [
    [board, 'p-board'],
    [client, 'p-client'],
  ] as const) {
    connectNamespaces({ namespace: server, interfaceName: port }, { namespace, interfaceName: 'eth0' });
    server.ip('link', 'set', port, 'master', 'br0');
  }
  server.ip('link', 'set', 'br0', 'up');
  board.ip('link', 'set', 'eth0', 'address', BOARDS.node1.mac);
  for (const name of ['one', 'three']) await makeDemoImage(join(folder, `${name}.img`));
  return {
    ...{ server, board, client, folder },
    startDnsmasq: (words) => startDnsmasq(server, folder, words),
    writeInventory(words) {
      const config = join(folder, 'checked.yaml');
      writeFileSync(config, inventory(words));
      return config;
    },
    async startServer(settings = '', words = [], readiness) {
      const program = await serveIn(server, folder, inventory(settings), words);
      await program.ready(readiness);
      return program;
    },
  };
}

function inventory(server: string): string {
  return `server: { interface: br0, ${server}state: ./state }
images: { one: { file: one.img }, three: { file: three.img } }
boards:
  node1: { serial: ${BOARDS.node1.serial}, mac: "${BOARDS.node1.mac}", image: one, disk: direct }
  node3: { serial: ${BOARDS.node3.serial}, image: three, disk: direct }
`;
}

async function startDnsmasq(server: NetworkNamespace, folder: string, words: readonly string[]) {
  const dnsmasq = server.spawn(
    'dnsmasq',
    ...[
      '--keep-in-foreground',
      '--port=0',
      '--conf-file=/dev/null',
      '--interface=br0',
      '--log-facility=-',
      '--user=root',
    ],
    ...['--dhcp-range=10.77.0.50,10.77.0.99,1h', '--no-ping', `--dhcp-leasefile=${join(folder, 'leases')}`],
    ...[`--pid-file=${join(folder, 'dnsmasq.pid')}`, ...words],
  );
  const [started, failed] = [outputOf(dnsmasq, 'DHCP, IP range'), outputOf(dnsmasq, 'failed')];
  await until(() => started() || failed(), 'dnsmasq');
  assert.ok(!failed(), 'dnsmasq could not have port 67');
  return dnsmasq;
}

/** A board boots with dnsmasq's address from our server, and a client of dnsmasq gets a lease and renews it by unicast. */
async function assertBothServe(
  lan: Lan,
  program: ServedProgram,
  dnsmasq: Awaited<ReturnType<Lan['startDnsmasq']>>,
  way = 'packet',
): Promise<void> {
  assert.equal((await program.firstLogged('dhcp.listening'))['way'], way);
  await assertRenews(lan, dnsmasq);
  const { json, text } = await playIn(
    lan.board,
    ...['--serial', BOARDS.node1.serial, '--interface', 'eth0', '--take-address'],
  );
  assert.equal(json.outcome, 'booted', text);
  lan.board.ip('address', 'flush', 'dev', 'eth0');
}

async function assertRenews({ client, folder }: Lan, dnsmasq: Awaited<ReturnType<Lan['startDnsmasq']>>): Promise<void> {
  const script = join(folder, 'udhcpc.sh');
  writeFileSync(
    script,
    '#!/bin/sh\ncase $1 in bound|renew) ip address replace "$ip/24" dev "$interface"; echo "told $1" ;; esac\n',
  );
  chmodSync(script, 0o755);
  let acknowledged = 0;
  const count = (chunk: Buffer) => {
    acknowledged += chunk.toString('utf8').split('DHCPACK').length - 1;
  };
  dnsmasq.stderr.on('data', count);
  const udhcpc = client.spawn('busybox', 'udhcpc', '-f', '-i', 'eth0', '-s', script, '-t', '20', '-T', '1');
  await until(outputOf(udhcpc, 'told bound'), 'a lease');
  const [renewing, renewed] = [outputOf(udhcpc, 'sending renew to server 10.77.0.1'), outputOf(udhcpc, 'told renew')];
  // It renews at once, as it would after half of the lease: a REQUEST with ciaddr, by unicast from its UDP socket.
  udhcpc.kill('SIGUSR1');
  await until(() => renewing() && renewed(), 'the renewal');
  await until(() => acknowledged >= 2, 'both ACKs in the log of dnsmasq');
  const ended = new Promise((resolve) => udhcpc.once('exit', resolve));
  udhcpc.kill('SIGKILL');
  await ended;
  dnsmasq.stderr.off('data', count);
}
