// The server is killed with -9 among writes, over and over: what it had acknowledged as durable is there each time it comes back.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readdirSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import type { NbdDisk } from '../../src/nbd/client/client-disk.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from '../support/cleanup.js';
import { outputOf, run, until } from '../support/commands.js';
import { testPorts } from '../support/ports.js';
import { anyOf, without, withoutAccess } from '../support/programs.js';
import { seeded } from '../support/random.js';
import { MAIN } from '../support/running-program.js';
import { scratchFolder } from '../support/scratch.js';
import { Expectation, filled, STAMPED_BYTES, stampOf } from '../support/stamps.js';

/** In this test; more by OVERLAY_KILLS=100 node --test build/test/interop/overlay-kill.test.js. */
const KILLS = Number(process.env['OVERLAY_KILLS'] ?? 15);

const MEBI = 1024 * 1024;
const IMAGE_BYTES = 128 * MEBI;
/** Of ours: its first half lies over the image, and is marked there; the rest behind it. */
const OURS = { offset: 127 * MEBI, sizeBytes: 2 * MEBI };
const HANDS = 8;
/** Hands meet in the middle of blocks. */
const SHARE_BYTES = Math.floor(OURS.sizeBytes / HANDS / STAMPED_BYTES - 3) * STAMPED_BYTES;
/** Of fio: each of its jobs has so much, one behind the other. */
const FIO = { offset: 160 * MEBI, jobs: 4, sizeBytes: 64 * MEBI };

const skip = anyOf(
  without('fio', 'fio'),
  without('nbdfuse', 'nbdfuse'),
  without('fusermount3', 'fuse3'),
  withoutAccess('/dev/fuse'),
);

test(`what an overlay has acknowledged as durable outlives kill -9 (${KILLS} times)`, {
  skip,
  timeout: 290_000 + KILLS * 20_000,
}, async (context) => {
  const world = await prepared(context);
  const counts = { changes: 0, flushes: 0, fioBlocks: 0 };
  for (let round = 0; round <= KILLS; round += 1) {
    const server = await serving(world);
    const fuse = await mounted(world);
    if (round > 0) {
      await checkOurs(world, round);
      counts.fioBlocks += await checkFios(world, round - 1);
    }
    if (round < KILLS) await killAmongWrites({ world, round, chance: seeded(round), counts, server });
    await unmounted(world, fuse);
  }
  const { settled } = world.expectation;
  assert.ok(settled > KILLS && counts.fioBlocks > KILLS);
  context.diagnostic(`${KILLS} kills: ${JSON.stringify({ ...counts, settled })}`);
});

async function killAmongWrites(round: Round): Promise<void> {
  const { world, chance, server } = round;
  const fio = spawn('fio', fioWords(world, round.round, ['--do_verify=0']), { cwd: world.folder });
  fio.stderr.resume();
  const fioOver = new Promise((resolve) => fio.once('close', resolve));
  const hasBegun = outputOf(fio, 'Starting');
  let left = 50 + chance.below(500);
  const changed = () => {
    if (hasBegun()) left -= 1;
    if (left === 0) server.kill('SIGKILL');
  };
  await Promise.all([hands({ ...round, changed }), ended(server)]);
  await fioOver;
}

interface World {
  readonly context: TestContext;
  readonly folder: string;
  readonly config: string;
  readonly mountPoint: string;
  readonly nbdPort: number;
  readonly expectation: Expectation;
}

async function prepared(context: TestContext): Promise<World> {
  const folder = scratchFolder(context);
  const image = join(folder, 'demo.img');
  await makeDemoImage(image);
  truncateSync(image, IMAGE_BYTES);
  const marked = filled(IMAGE_BYTES - OURS.offset, imageStamp);
  writeSync(openSync(image, 'r+'), marked, 0, marked.length, OURS.offset);
  const ports = await testPorts(context);
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: lo, state: ./state }
dhcp: { enabled: false }
tftp: { port: ${ports.tftp} }
nbd: { port: ${ports.nbd} }
http: { enabled: false }
images: { demo: { file: demo.img } }
boards: { node1: { serial: bf9fed6f, image: demo, disk: overlay, size: 512MiB } }
`,
  );
  const mountPoint = join(folder, 'mnt');
  mkdirSync(mountPoint);
  const first = (sector: number) => (OURS.offset + sector * STAMPED_BYTES < IMAGE_BYTES ? imageStamp(sector) : 0);
  return { context, folder, config, mountPoint, nbdPort: ports.nbd, expectation: new Expectation(first) };
}

/** What the image has in a sector of ours: no change has such a stamp. */
function imageStamp(sector: number): number {
  return -1 - sector;
}

async function serving({ context, config }: World): Promise<ChildProcess> {
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  whenOver(context, () => endedAtLast(child));
  const isReady = outputOf(child, 'server.ready');
  await until(() => isReady() || child.exitCode !== null, 'the server');
  assert.equal(child.exitCode, null);
  return child;
}

async function mounted({ context, mountPoint, nbdPort }: World): Promise<ChildProcess> {
  const child = spawn('nbdfuse', [mountPoint, `nbd://127.0.0.1:${nbdPort}/node1`], { stdio: 'ignore' });
  whenOver(context, () => endedAtLast(child));
  await until(() => existsSync(join(mountPoint, 'nbd')), 'nbdfuse');
  return child;
}

async function unmounted({ mountPoint }: World, fuse: ChildProcess): Promise<void> {
  fuse.kill('SIGTERM');
  await ended(fuse);
  await run('fusermount3', ['-u', '-q', mountPoint]).catch(() => {});
  assert.deepEqual(readdirSync(mountPoint), []);
}

/** Each write of fio is durable when it is answered (O_SYNC); which have been, it keeps in a file beside it. */
function fioWords({ mountPoint }: World, round: number, more: readonly string[]): string[] {
  const what = ['--name=kill', '--ioengine=psync', '--rw=randwrite', '--bsrange=4k-64k', '--sync=1', '--verify=crc32c'];
  const where = [`--offset=${FIO.offset}`, `--size=${FIO.sizeBytes}`, `--offset_increment=${FIO.sizeBytes}`];
  const who = [`--filename=${join(mountPoint, 'nbd')}`, `--numjobs=${FIO.jobs}`, `--randseed=${round + 1}`];
  return [...what, ...where, ...who, '--verify_fatal=1', '--allow_mounted_write=1', ...more];
}

interface Round {
  readonly world: World;
  readonly round: number;
  readonly chance: ReturnType<typeof seeded>;
  readonly counts: { changes: number; flushes: number };
  readonly server: ChildProcess;
}

interface Work extends Round {
  /** One more was answered. */
  changed(): void;
}

/** Resolves when the server is gone. Two hands share a connection; a flush of one is for all that was answered to anybody. */
async function hands(work: Work): Promise<void> {
  await Promise.all(
    Array.from({ length: HANDS / 2 }, async (_, index) => {
      const disk = await connected(work.world);
      const both = [2 * index, 2 * index + 1].map((hand) => goOn(work, disk, hand).catch(() => {}));
      await Promise.all(both);
    }),
  );
}

async function goOn(work: Work, disk: NbdDisk, hand: number): Promise<void> {
  const { world, round, chance, counts } = work;
  const { expectation } = world;
  const place = hand * SHARE_BYTES;
  for (let step = 0; ; step += 1) {
    const grain = chance.below(2) === 0 ? 4096 : STAMPED_BYTES;
    const first = Math.ceil(place / grain) * grain;
    const offset = first + chance.below(Math.floor((place + SHARE_BYTES - first) / grain)) * grain;
    const most = Math.floor((place + SHARE_BYTES - offset) / grain);
    const lengthBytes = (1 + chance.below(Math.min(most, 12))) * grain;
    const kind = chance.pick(['write', 'write', 'write', 'durable', 'zero', 'flush'] as const);
    const stamp = kind === 'zero' ? 0 : (round * 1_000_000 + step) * HANDS + hand + 1;
    if (kind !== 'flush') {
      const over = expectation.begin(offset, lengthBytes, stamp);
      const bytes = filled(lengthBytes, () => stamp);
      if (kind === 'zero') await disk.writeZeroes(OURS.offset + offset, lengthBytes);
      else await disk.write(OURS.offset + offset, bytes, { durable: kind === 'durable' });
      over({ durable: kind === 'durable' });
      counts.changes += 1;
      work.changed();
    } else {
      const acknowledged = expectation.flush();
      await disk.flush();
      acknowledged();
      counts.flushes += 1;
    }
  }
}

async function checkOurs(world: World, round: number): Promise<void> {
  const disk = await connected(world);
  const content = await disk.read(OURS.offset, OURS.sizeBytes);
  await disk.disconnect();
  for (let at = 0; at < OURS.sizeBytes; at += STAMPED_BYTES) {
    const stamp = stampOf(content.subarray(at, at + STAMPED_BYTES));
    world.expectation.assertAllows(at / STAMPED_BYTES, stamp, `after kill ${round}`);
    world.expectation.found(at / STAMPED_BYTES, stamp);
  }
}

/** How many blocks it found as it had written them. */
async function checkFios(world: World, round: number): Promise<number> {
  const words = fioWords(world, round, ['--verify_only', '--verify_state_load=1']);
  const report = (await run('fio', words, { cwd: world.folder })).toString();
  assert.doesNotMatch(report, /err= *[1-9]|verify: bad/);
  return [...report.matchAll(/issued rwts: total=(\d+),/g)].reduce((sum, [, reads]) => sum + Number(reads), 0);
}

async function connected({ nbdPort }: World): Promise<NbdDisk> {
  return (await connectNbd({ host: '127.0.0.1', port: nbdPort }, systemClock)).go('node1');
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve));
}

async function endedAtLast(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await ended(child);
}
