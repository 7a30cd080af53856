// The real program in a network that comes and goes: what listens follows, a board boots again, /readyz says what is missing.
import assert from 'node:assert/strict';
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
import { playIn, type ServedProgram, serveIn } from '../support/program-in-namespace.js';
import { scratchFolder } from '../support/scratch.js';

const SERIAL = 'bf9fed6f';

describe('a network that comes and goes', { skip: withoutNamespaces() }, () => {
  test('a container that starts before its interface, and that before its address', async (context) => {
    const { host, board, serve } = await setup(context);
    const program = await serve('interface: eth0, ');
    await program.ready('interface eth0: there is no such interface\n');
    connect(host, board, 'eth0');
    await program.ready('interface eth0: it is down, has no cable, or no IPv4 address\n');
    host.ip('address', 'add', '10.77.0.1/24', 'dev', 'eth0');
    await program.ready();
    await assertBoots(board, 'eth0', '10.77.0.1');
  });

  test('where no interface is named, none is something missing, and each that comes is served', async (context) => {
    const { host, board, serve } = await setup(context);
    const program = await serve('');
    await program.ready('interfaces: none is up and has an IPv4 address\n');
    connect(host, board, 'eth0', '10.77.0');
    await program.ready();
    await assertBoots(board, 'eth0', '10.77.0.1');
    // To the server a VLAN is an interface like any other; the kernel that tests run on may have no 802.1Q, so it is a cable.
    connect(host, board, 'eth0.10', '10.78.0');
    await until(() => dhcpPlaces(program).includes('eth0.10 10.78.0.1'), 'the VLAN');
    await program.ready();
    await assertBoots(board, 'eth0.10', '10.78.0.1');
    assert.equal(dhcpPlaces(program).length, 2, 'eth0 noticed nothing');
  });

  test('an interface that is deleted and made anew with the same name and address', async (context) => {
    const { host, board, program } = await served(context);
    host.ip('link', 'delete', 'eth0');
    connect(host, board, 'eth0', '10.77.0');
    await until(() => dhcpPlaces(program).length === 2, 'a new socket');
    await program.ready();
    await assertBoots(board, 'eth0', '10.77.0.1');

    host.ip('link', 'delete', 'eth0');
    await program.ready(/^interface eth0: there is no such interface\n/);
    connect(host, board, 'eth0', '10.77.0');
    await until(() => dhcpPlaces(program).length === 3, 'a third socket');
    await program.ready();
    await assertBoots(board, 'eth0', '10.77.0.1');
  });

  test('an interface that was lent to another network, and comes back with its old number', async (context) => {
    const { host, board, program } = await served(context);
    const elsewhere = networkNamespace(context);
    host.ip('link', 'set', 'eth0', 'netns', elsewhere.name);
    elsewhere.ip('link', 'set', 'eth0', 'netns', host.name);
    host.ip('address', 'add', '10.77.0.1/24', 'dev', 'eth0');
    host.ip('link', 'set', 'eth0', 'up');
    await until(() => dhcpPlaces(program).length === 2, 'a new socket');
    await program.ready();
    await assertBoots(board, 'eth0', '10.77.0.1');
    assert.equal(program.logged('listener.failed').length, 1);
  });

  test('an address that is changed: boards are told the new one', async (context) => {
    const { host, board, program } = await served(context);
    host.ip('address', 'add', '10.77.0.9/24', 'dev', 'eth0');
    host.ip('address', 'delete', '10.77.0.1/24', 'dev', 'eth0');
    host.ip('address', 'replace', '10.77.0.9/24', 'dev', 'eth0');
    await until(() => dhcpPlaces(program).includes('eth0 10.77.0.9'), 'the new address');
    await program.ready();
    await assertBoots(board, 'eth0', '10.77.0.9');
  });

  test('a cable that is pulled and put back, an interface that is taken down and up', async (context) => {
    const { host, board, program } = await served(context);
    for (const end of [board, host]) {
      end.ip('link', 'set', 'eth0', 'down');
      await program.ready('interface eth0: it is down, has no cable, or no IPv4 address\n');
      end.ip('link', 'set', 'eth0', 'up');
      await program.ready();
      await assertBoots(board, 'eth0', '10.77.0.1');
    }
    assert.equal(dhcpPlaces(program).length, 1, 'the socket is the one from before');
  });

  test('a cable that is out for longer than sockets are kept', async (context) => {
    const { host, board, program } = await served(context);
    host.ip('link', 'set', 'eth0', 'down');
    // Its sockets are let go after some looks: seen by their no longer being held.
    await until(async () => !(await program.listeners()).some((name) => name.startsWith('dhcp')), 'the end', 30_000);
    assert.equal(await program.readiness(), 'interface eth0: it is down, has no cable, or no IPv4 address\n');
    host.ip('link', 'set', 'eth0', 'up');
    await until(() => dhcpPlaces(program).length === 2, 'a new socket');
    await program.ready();
    await assertBoots(board, 'eth0', '10.77.0.1');
  });

  test('one port that somebody else has keeps no other from working, and is taken when it is free', async (context) => {
    const { host, board, serve } = await setup(context);
    connect(host, board, 'eth0', '10.77.0');
    connect(host, board, 'eth1', '10.78.0');
    const script = `require('node:dgram').createSocket('udp4').bind(69, '10.78.0.1', () => console.log('bound'))`;
    const other = host.spawn('node', '-e', script);
    await until(outputOf(other, 'bound'), 'the other server');
    const program = await serve('');
    await program.ready(/^tftp 10\.78\.0\.1 port 69: .* EADDRINUSE: another program has this port.*\n$/);
    await assertBoots(board, 'eth0', '10.77.0.1');
    other.kill('SIGKILL');
    await program.ready();
    await assertBoots(board, 'eth1', '10.78.0.1');
  });
});

async function setup(context: TestContext) {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'one.img'));
  const [host, board] = [networkNamespace(context), networkNamespace(context)];
  const serve = (server: string) =>
    serveIn(
      host,
      folder,
      `server: { ${server}state: ./state }
images: { one: { file: one.img } }
boards: { node1: { serial: ${SERIAL}, image: one, disk: direct } }
`,
    );
  return { host, board, serve };
}

/** Ready on eth0 of 10.77.0.1, with a board at the other end that has an address. */
async function served(context: TestContext) {
  const { host, board, serve } = await setup(context);
  connect(host, board, 'eth0', '10.77.0');
  const program = await serve('interface: eth0, ');
  await program.ready();
  return { host, board, program };
}

/** A cable; with a network, both ends have an address in it. */
function connect(host: NetworkNamespace, board: NetworkNamespace, interfaceName: string, network?: string): void {
  const address = (last: number) => (network === undefined ? {} : { address: `${network}.${last}/24` });
  connectNamespaces(
    { namespace: host, interfaceName, ...address(1) },
    { namespace: board, interfaceName, ...address(2) },
  );
  if (network === undefined) board.ip('address', 'add', '10.77.0.2/24', 'dev', interfaceName);
}

/** From DISCOVER to disk; and told to ask at `address`. */
async function assertBoots(board: NetworkNamespace, interfaceName: string, address: string): Promise<void> {
  const { json, text } = await playIn(board, '--serial', SERIAL, '--interface', interfaceName);
  assert.equal(json.outcome, 'booted', text);
  assert.ok(json.cmdline?.includes(`nbdroot=${address}/node1 `), json.cmdline);
}

/** Interface and address of each DHCP socket that was ever opened. */
function dhcpPlaces(program: ServedProgram): readonly string[] {
  return program.logged('dhcp.listening').map((facts) => `${facts['interface']} ${facts['address']}`);
}
