// Pretend boards boot on a LAN: a real router (dnsmasq) gives the addresses, our server the rest. Three network namespaces on one bridge.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { outputOf, until } from '../support/commands.js';
import { makeLan, withoutLan } from '../support/lan.js';
import type { NetworkNamespace } from '../support/network-namespace.js';
import { projectFile } from '../support/project.js';
import { scratchFolder } from '../support/scratch.js';

const SERIAL = 'bf9fed6f';
const MAC = 'dc:a6:32:01:02:03';
const PI_3 = { serial: '0a1b2c3d', mac: 'b8:27:eb:1b:2c:3d' };
const MAIN = projectFile('dist/main.js');

interface Place {
  readonly server: NetworkNamespace;
  readonly board: NetworkNamespace;
  readonly config: string;
}

describe('a LAN with a router', { skip: withoutLan() }, () => {
  for (const profile of ['pi4-2020', 'pi4-2021', 'pi4', 'pi5']) {
    test(`${profile} boots, with the router's address`, async (context) => {
      const lan = await lanWith(context, MAC);
      const outcome = await play(lan, '--serial', SERIAL, '--profile', profile, '--take-address');
      assert.equal(outcome.json.outcome, 'booted', outcome.text);
      assert.match(outcome.json.cmdline, /nbdroot=10\.77\.0\.1\/node1 .*root=\/dev\/nbd0p2/);
      await assertBooted(lan, 'node1');
    });
  }

  test('a Pi 3 boots: ROM, bootcode.bin, and no REQUEST ever', async (context) => {
    const lan = await lanWith(context, PI_3.mac);
    const outcome = await play(lan, '--serial', PI_3.serial, '--profile', 'pi3', '--take-address');
    assert.equal(outcome.json.outcome, 'booted', outcome.text);
    await assertBooted(lan, 'node3');
  });

  test('TFTP_PREFIX=2 and no prefix at all find the board by its MAC', async (context) => {
    const lan = await lanWith(context, MAC);
    for (const prefix of ['mac', 'none', 'some/other/place/']) {
      const outcome = await play(lan, '--serial', SERIAL, '--prefix', prefix, '--take-address');
      assert.equal(outcome.json.outcome, 'booted', `${prefix}: ${outcome.text}`);
    }
  });

  test('a fixed address and server need no DHCP', async (context) => {
    const lan = await lanWith(context, MAC);
    lan.board.ip('address', 'add', '10.77.0.30/24', 'dev', 'eth0');
    const outcome = await play(lan, '--serial', SERIAL, '--server', '10.77.0.1');
    assert.equal(outcome.json.outcome, 'booted', outcome.text);
  });

  for (const [profile, { serial, mac }] of [
    ['pi3', PI_3],
    ['pi4', { serial: SERIAL, mac: MAC }],
  ] as const) {
    test(`${profile}: a router that sends option 66 needs no DHCP of ours`, async (context) => {
      const lan = await lanWith(context, mac, { router: ['--dhcp-option=66,10.77.0.1'], dhcp: '{ enabled: false }' });
      const outcome = await play(lan, '--serial', serial, '--profile', profile, '--take-address');
      assert.equal(outcome.json.outcome, 'booted', outcome.text);
      await assertBooted(lan, profile === 'pi3' ? 'node3' : 'node1');
    });
  }

  test('a router that names another boot server is told of, since a real board may believe it', async (context) => {
    const lan = await lanWith(context, MAC, { router: ['--dhcp-option=66,10.77.0.99'] });
    const words = ['--serial', SERIAL, '--interface', 'eth0', '--take-address'];
    const playing = lan.board.spawn('node', MAIN, 'pretend', ...words);
    const named = '10\\.77\\.0\\.\\d+ names 10\\.77\\.0\\.(1|99) as boot server';
    let said = '';
    playing.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await until(() => new RegExp(`warning: ${named}, and .* a real board may believe the other`).test(said), 'it');
  });

  test('a board that is not in the inventory gets nothing, and is shown with the lines to add', async (context) => {
    const lan = await lanWith(context, 'dc:a6:32:09:09:09');
    const playing = lan.board.spawn(
      'node',
      MAIN,
      'pretend',
      '--serial',
      '99887766',
      '--interface',
      'eth0',
      '--take-address',
    );
    const shown = async () => (await boardsJson(lan)).unknownBoards.find((board) => board.serial === '99887766');
    await until(async () => (await shown()) !== undefined, 'the unknown board');
    playing.kill('SIGTERM');
    assert.match((await shown())?.suggestion ?? '', /serial: "?99887766/);
  });
});

interface LanOptions {
  /** For dnsmasq, which plays the router. */
  readonly router?: readonly string[];
  /** Of the inventory. */
  readonly dhcp?: string;
}

/** Server and router at a switch, and a board with this MAC. */
async function lanWith(
  context: TestContext,
  mac: string,
  { router = [], dhcp = '{}' }: LanOptions = {},
): Promise<Place> {
  const folder = scratchFolder(context);
  const { server, plugIn } = await makeLan(context, router);
  const config = await startServer(server, folder, dhcp);
  return { server, board: plugIn(mac), config };
}

async function startServer(server: NetworkNamespace, folder: string, dhcp: string): Promise<string> {
  await makeDemoImage(join(folder, 'one.img'));
  await makeDemoImage(join(folder, 'three.img'));
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: br0, state: ./state }
dhcp: ${dhcp}
images: { one: { file: one.img }, three: { file: three.img } }
boards:
  node1: { serial: ${SERIAL}, mac: "${MAC}", image: one, disk: direct }
  node3: { serial: ${PI_3.serial}, image: three, disk: direct }
`,
  );
  await until(outputOf(server.spawn('node', MAIN, 'serve', '--config', config), 'server.ready'), 'the server');
  return config;
}

async function play(lan: Place, ...words: readonly string[]) {
  const child = lan.board.spawn('node', MAIN, 'pretend', '--interface', 'eth0', '--json', ...words);
  const text = await new Promise<string>((resolve) => {
    let said = '';
    child.stdout?.on('data', (chunk) => (said += chunk));
    child.stderr?.on('data', (chunk) => (said += chunk));
    child.once('close', () => resolve(said));
  });
  const end = text.lastIndexOf('}');
  const json = end < 0 ? {} : JSON.parse(text.slice(0, end + 1));
  return { text, json };
}

async function boardsJson(lan: Place) {
  const child = lan.server.spawn('node', MAIN, 'boards', '--json', '--config', lan.config);
  const text = await new Promise<string>((resolve) => {
    let said = '';
    child.stdout?.on('data', (chunk) => (said += chunk));
    child.once('close', () => resolve(said));
  });
  const status: {
    readonly boards: readonly {
      readonly name: string;
      readonly lastBoot?: { readonly state: { readonly at: string } };
    }[];
    readonly unknownBoards: readonly { readonly serial: string; readonly suggestion: string }[];
  } = JSON.parse(text);
  return status;
}

async function assertBooted(lan: Place, name: string): Promise<void> {
  const board = (await boardsJson(lan)).boards.find((candidate) => candidate.name === name);
  assert.equal(board?.lastBoot?.state.at, 'booted', JSON.stringify(board, null, 1));
}
