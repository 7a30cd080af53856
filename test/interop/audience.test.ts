// Who is answered, by the program as it is run: a LAN, a router, and peers behind it (10.88.0.5 and, begun alike, 10.88.0.50).
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { until } from '../support/commands.js';
import {
  connectNamespaces,
  type NetworkNamespace,
  networkNamespace,
  withoutNamespaces,
} from '../support/network-namespace.js';
import { anyOf, without } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { scratchFolder } from '../support/scratch.js';
import { hostProgram } from '../support/two-hosts.js';

const MAIN = projectFile('dist/main.js');
const missing = anyOf(withoutNamespaces(), without('curl', 'curl'), without('nbdinfo', 'libnbd-bin'));
const NEIGHBOUR = '10.77.0.2';
const OUTSIDE = '10.88.0.5';
const OUTSIDE_ALIKE = '10.88.0.50';

interface Networks {
  readonly server: NetworkNamespace;
  /** Also a neighbour of the server, as 10.77.0.2. */
  readonly router: NetworkNamespace;
  readonly outside: NetworkNamespace;
  readonly folder: string;
}

describe('peers of the subnet and of other networks', { skip: missing }, () => {
  test('the neighbour is answered by TFTP, NBD and HTTP; who is behind a router by none', async (context) => {
    const networks = await threeNetworks(context);
    const server = await startServer(networks, '[]');
    assert.deepEqual(await reached(networks.router), ALL);
    assert.deepEqual(await reached(networks.outside), NOTHING);
    assert.deepEqual(server.turnedAway(), [`http ${OUTSIDE}`, `nbd ${OUTSIDE}`, `tftp ${OUTSIDE}`]);
    const { text } = await run(networks.outside, 'curl', '-s', 'http://10.77.0.1:9069/metrics');
    assert.match(text, /^10\.88\.0\.5 is neither .* to server\.allow\n$/);
  });

  test('who is behind a router hears not one byte', async (context) => {
    const networks = await threeNetworks(context);
    const server = await startServer(networks, '[]');
    const stranger = hostProgram(networks.outside, LISTENS);
    assert.equal(await stranger.line(), 'asked');
    assert.equal(await stranger.line(), 'nbd closed after 0 bytes');
    await until(() => server.turnedAway().includes(`tftp ${OUTSIDE}`), 'the request to be turned away');
    assert.deepEqual(await reached(networks.router), ALL);
    stranger.say('count');
    assert.equal(await stranger.line(), '0 datagrams');
  });

  test('who is allowed is answered, and boots; who only has an address that begins alike is not', async (context) => {
    const networks = await threeNetworks(context);
    await startServer(networks, `[${OUTSIDE}]`);
    assert.deepEqual(await reached(networks.outside), ALL);
    const words = ['pretend', '--serial', 'bf9fed6f', '--server', '10.77.0.1', '--json'];
    const { text } = await run(networks.outside, 'node', MAIN, ...words);
    assert.match(text, /"outcome": ?"booted"/);
    // nbd-server compared texts, and let it in (CVE-2013-6410, CVE-2013-7441).
    move(networks.outside, OUTSIDE_ALIKE, 'via', '10.88.0.1');
    assert.deepEqual(await reached(networks.outside), NOTHING);
  });

  test('an address that the server gets while it runs brings its subnet with it', async (context) => {
    const networks = await threeNetworks(context);
    await startServer(networks, '[]');
    const { router } = networks;
    networks.server.ip('route', 'add', '10.99.0.2/32', 'dev', 'eth0');
    move(router, '10.99.0.2', 'dev', 'eth0');
    assert.deepEqual(await reached(router), NOTHING);
    networks.server.ip('address', 'add', '10.99.0.1/24', 'dev', 'eth0');
    await until(async () => (await http(router)) === '200', 'the new subnet to be answered');
    assert.deepEqual(await reached(router), ALL);
  });
});

const ALL = { http: '200', tftp: 'read', nbd: 'attached' };
const NOTHING = { http: '403', tftp: 'failed', nbd: 'failed' };

/** Asks for a file and for a disk, and counts what comes. */
const LISTENS = `
  import { createSocket } from 'node:dgram';
  import { connect } from 'node:net';
  let datagrams = 0;
  const socket = createSocket('udp4').on('message', () => (datagrams += 1));
  socket.bind(0, '${OUTSIDE}', () => {
    socket.send('\\0\\x01bf9fed6f/config.txt\\0octet\\0', 69, '10.77.0.1', () => console.log('asked'));
    socket.send('\\0\\x05\\0\\0an error\\0', 69, '10.77.0.1');
    let bytes = 0;
    const disk = connect(10809, '10.77.0.1').on('data', (chunk) => (bytes += chunk.length)).on('error', () => {});
    disk.on('close', () => console.log('nbd closed after ' + bytes + ' bytes'));
  });
  process.stdin.on('data', () => console.log(datagrams + ' datagrams'));
`;

/** The server on a LAN with a router, and a network behind that. */
async function threeNetworks(context: TestContext): Promise<Networks> {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'one.img'));
  const [server, router, outside] = [networkNamespace(context), networkNamespace(context), networkNamespace(context)];
  connectNamespaces(
    { namespace: server, interfaceName: 'eth0', address: '10.77.0.1/24' },
    { namespace: router, interfaceName: 'eth0', address: `${NEIGHBOUR}/24` },
  );
  connectNamespaces(
    { namespace: router, interfaceName: 'eth1', address: '10.88.0.1/24' },
    { namespace: outside, interfaceName: 'eth0', address: `${OUTSIDE}/24` },
  );
  outside.ip('route', 'add', 'default', 'via', '10.88.0.1');
  server.ip('route', 'add', '10.88.0.0/24', 'via', NEIGHBOUR);
  router.inside(() => writeFileSync('/proc/sys/net/ipv4/ip_forward', '1'));
  return { server, router, outside, folder };
}

async function startServer({ server, folder }: Networks, allow: string) {
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: eth0, allow: ${allow} }
images: { one: { file: one.img } }
boards: { node1: { serial: bf9fed6f, image: one } }
`,
  );
  const child = server.spawn('node', MAIN, 'serve', '--config', config);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await until(() => said.includes('server.ready'), 'the server');
  const turnedAway = () => {
    const lines = said.split('\n').filter((line) => line.includes('peer.turned_away'));
    const facts: { readonly service: string; readonly peer: string }[] = lines.map((line) => JSON.parse(line));
    return facts.map(({ service, peer }) => `${service} ${peer}`).sort();
  };
  return { turnedAway };
}

/** What real clients get from a namespace. */
async function reached(from: NetworkNamespace) {
  const [status, tftp, nbd] = await Promise.all([
    http(from),
    run(from, 'curl', '-s', '-m', '3', 'tftp://10.77.0.1/bf9fed6f/config.txt'),
    run(from, 'nbdinfo', '--size', 'nbd://10.77.0.1/node1'),
  ]);
  return {
    http: status,
    tftp: tftp.status === 0 && tftp.text.includes('arm_64bit') ? 'read' : 'failed',
    nbd: nbd.status === 0 ? 'attached' : 'failed',
  };
}

async function http(from: NetworkNamespace): Promise<string> {
  const words = ['-s', '-o', '/dev/null', '-w', '%{http_code}', 'http://10.77.0.1:9069/healthz'];
  return (await run(from, 'curl', ...words)).text;
}

/** Gives a host another address on eth0 in place of those it had. */
function move(host: NetworkNamespace, address: string, ...way: readonly string[]): void {
  host.ip('address', 'flush', 'dev', 'eth0');
  host.ip('address', 'add', `${address}/24`, 'dev', 'eth0');
  host.ip('route', 'replace', '10.77.0.1/32', ...way);
}

async function run(host: NetworkNamespace, program: string, ...words: readonly string[]) {
  const child = host.spawn(program, ...words);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { status, text };
}
