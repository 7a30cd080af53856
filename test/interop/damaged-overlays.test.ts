// The real program over a state folder in which something is wrong: the board concerned is told why, and all others have their disks.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { background, outputOf, until } from '../support/commands.js';
import { type TestPorts, testPorts } from '../support/ports.js';
import { noise } from '../support/random.js';
import { brambleboot, MAIN } from '../support/running-program.js';
import { scratchFolder } from '../support/scratch.js';
import { testSettings } from '../support/server.js';

const MEBI = 1024 * 1024;
const FREE_AT = 70 * MEBI;
const BOARDS = ['node1', 'node2', 'node3', 'node4', 'node5', 'node6', 'sound'] as const;
type Name = (typeof BOARDS)[number];

interface World {
  readonly folder: string;
  readonly config: string;
  readonly ports: TestPorts;
}

/** Seven boards on one image, each with something of its own, and no server any more. */
async function used(context: TestContext): Promise<World> {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const ports = await testPorts(context);
  const config = join(folder, 'config.yaml');
  const boards = BOARDS.map((name, index) => `  ${name}: { serial: '${index + 1}', image: demo, disk: overlay }`);
  writeFileSync(
    config,
    `${testSettings(ports)}images: { demo: { file: demo.img } }
boards:
${boards.join('\n')}
`,
  );
  const world = { folder, config, ports };
  const server = await serving(context, world);
  for (const name of BOARDS) await write(world, name);
  await server.ended();
  return world;
}

async function serving(context: TestContext, { config }: World) {
  const child = background(context, process.execPath, [MAIN, 'serve', '--config', config]);
  const said: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => said.push(chunk));
  const isReady = outputOf(child, 'server.ready');
  await until(() => isReady() || child.exitCode !== null, 'the server');
  assert.equal(child.exitCode, null, Buffer.concat(said).toString());
  return {
    output: () => Buffer.concat(said).toString(),
    ended: async (signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM') => {
      const over = new Promise((resolve) => child.once('exit', resolve));
      child.kill(signal);
      await over;
    },
  };
}

async function connected({ ports }: World, name: Name) {
  const connection = await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock);
  return connection.go(name).catch((error: unknown) => {
    connection.destroy();
    throw error;
  });
}

async function write(world: World, name: Name): Promise<void> {
  const disk = await connected(world, name);
  await disk.write(FREE_AT, noise(MEBI, BOARDS.indexOf(name) + 1), { durable: true });
  await disk.disconnect();
}

async function isWhole(world: World, name: Name): Promise<void> {
  const disk = await connected(world, name);
  assert.deepEqual(await disk.read(FREE_AT, MEBI), noise(MEBI, BOARDS.indexOf(name) + 1), name);
  await disk.disconnect();
}

function fetched({ ports }: World, name: Name) {
  const path = `0000000${BOARDS.indexOf(name) + 1}/start4.elf`;
  const server = { address: '127.0.0.1', port: ports.tftp };
  return fetchFile({ server, local: anyPort('127.0.0.1'), path, options: new Map(), clock: systemClock });
}

test('damaged, foreign, swapped and missing files of some boards keep no other board from its disk, and all comes back with them', {
  timeout: 200_000,
}, async (context) => {
  const world = await used(context);
  const disks = join(world.folder, 'state', 'disks');
  const folderOf = (name: Name) => join(disks, name);
  const layerOf = (name: Name) => {
    const [layer = ''] = readdirSync(folderOf(name)).filter((file) => file.endsWith('.overlay'));
    return join(folderOf(name), layer);
  };
  const kept = join(world.folder, 'kept');
  cpSync(disks, kept, { recursive: true });

  const header = openSync(layerOf('node1'), 'r+');
  writeSync(header, Buffer.from([0xff]), 0, 1, 40);
  const [third, fourth] = [join(folderOf('node3'), 'disk.json'), join(folderOf('node4'), 'disk.json')];
  renameSync(layerOf('node2'), join(world.folder, 'layer'));
  copyFileSync(third, join(world.folder, 'third'));
  renameSync(fourth, third);
  renameSync(join(world.folder, 'third'), fourth);
  rmSync(join(folderOf('node5'), 'disk.json'));
  const layer = layerOf('node6');
  rmSync(layer);
  symlinkSync('/dev/zero', layer);
  writeFileSync(join(disks, 'README'), 'somebody was here');
  mkdirSync(join(disks, 'lost+found'));
  writeFileSync(join(world.folder, 'state', 'images', 'nonsense.json'), 'nonsense');

  const server = await serving(context, world);
  await isWhole(world, 'sound');
  assert.equal((await fetched(world, 'sound')).verdict.outcome, 'complete');
  const words: Readonly<Partial<Record<Name, RegExp>>> = {
    node1: /its header is damaged/,
    node2: /it is missing/,
    node3: /it is that of "node4"/,
    node4: /it is that of "node3"/,
    node5: /disk\.json is missing, and there are 1 layers/,
    node6: /neither a regular file nor a block device/,
  };
  for (const [name, because] of Object.entries(words)) {
    const board = BOARDS.find((each) => each === name) ?? 'sound';
    await assert.rejects(connected(world, board), because, name);
    const { verdict } = await fetched(world, board);
    assert.ok(verdict.outcome === 'refused' && verdict.code === 0, `${name}: ${JSON.stringify(verdict)}`);
    assert.match(server.output(), new RegExp(`${name} can't have its disk: `));
    const { status, stderr } = await brambleboot('snapshot', name, 'x', '--config', world.config);
    assert.equal(status, 1);
    assert.match(stderr, because);
  }
  assert.deepEqual(readdirSync(folderOf('node5')).length, 1); // nothing was made in its place
  await server.ended();

  rmSync(disks, { recursive: true });
  cpSync(kept, disks, { recursive: true });
  const again = await serving(context, world);
  for (const name of BOARDS) await isWhole(world, name);
  await again.ended();
});

test('a second server on the same state folder is refused, and one after kill -9 of the first is not', async (context) => {
  const world = await used(context);
  const first = await serving(context, world);
  const other = join(world.folder, 'other.yaml');
  const ports = await testPorts(context);
  writeFileSync(
    other,
    `${testSettings(ports)}images: { demo: { file: demo.img } }
boards: { node1: { serial: '1', image: demo, disk: overlay } }
`,
  );
  const second = await brambleboot('serve', '--config', other);
  assert.equal(second.status, 1);
  assert.match(`${second.stdout}${second.stderr}`, /state.*(in use|another)/i);
  await isWhole(world, 'node1');
  await first.ended('SIGKILL');
  const third = await serving(context, world);
  for (const name of BOARDS) await isWhole(world, name);
  await third.ended();
});

test('an overlay under another image than its own is refused, and has its disk again with that', async (context) => {
  const world = await used(context);
  const image = join(world.folder, 'demo.img');
  renameSync(image, `${image}.old`);
  await makeDemoImage(image);
  // Of another size, which needs no digest: that would take its time on a busy machine.
  truncateSync(image, 82 * MEBI);
  const server = await serving(context, world);
  for (const name of BOARDS) await assert.rejects(connected(world, name), /can't be used: .*demo\.img.*put/);
  await server.ended();
  renameSync(`${image}.old`, image);
  const again = await serving(context, world);
  for (const name of BOARDS) await isWhole(world, name);
  await again.ended();
});
