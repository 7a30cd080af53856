// The server is restarted under a Linux that works on its disk, again and again: the machine must notice nothing but that some I/O took longer.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import { run, until } from '../../support/commands.js';
import { makeLan } from '../../support/lan.js';
import { type ServedProgram, serveIn } from '../../support/program-in-namespace.js';
import { anyOf, without } from '../../support/programs.js';
import { projectFile } from '../../support/project.js';
import { scratchFolder } from '../../support/scratch.js';
import { diskFilesystem, withoutDiskFilesystem } from '../../support/small-filesystem.js';
import { bootMachine, type Machine, withoutMachine } from './machine.js';
import { copyMachineImage, ROOT_PARTITION } from './machine-image.js';

const NODE1 = { serial: 'bf9fed6f', mac: 'dc:a6:32:01:02:03' };
const missing = anyOf(
  withoutMachine(),
  withoutDiskFilesystem('ext4'),
  without('nft', 'nftables'),
  without('e2fsck', 'e2fsprogs'),
);

/** There is room for an image on it. */
const DISK_BYTES = 4 * 1024 ** 3;

/** Seconds that nobody is there: most are what a restart takes, some what a reboot of the container's host does. */
const GAPS_S = [0.3, 1, 0.3, 2, 5, 0.3, 1, 10, 0.3, 3, 0.5, 20, 0.3, 1, 2, 0.3];

/**
 * What the machine does all the time: writes a file with fsync, forgets what it knows of it, reads it back and compares; and beside that
 * reads of the device itself, past every cache, one after the other. Each notes how long its slowest turn took, in hundredths of a second.
 */
const WORK = `
uptime() { read now rest < /proc/uptime; echo \${now%.*}\${now#*.}; }
dd if=/dev/urandom of=/dev/shm/source bs=1M count=4 2>/dev/null
sum=$(sha256sum < /dev/shm/source)
note() { [ "$2" -gt "$(cat /dev/shm/$1 2>/dev/null || echo 0)" ] && echo $2 > /dev/shm/$1; }
files() {
  turn=0
  while :; do
    while [ -e /dev/shm/pause ]; do touch /dev/shm/paused; sleep 0.05; done
    turn=$((turn + 1)); began=$(uptime)
    dd if=/dev/shm/source of=/root/work.$((turn % 4)) bs=1M conv=fsync 2>/dev/null || echo "write failed in turn $turn" >> /dev/shm/wrong
    echo 3 > /proc/sys/vm/drop_caches
    [ "$(sha256sum < /root/work.$((turn % 4)))" = "$sum" ] || echo "wrong bytes in turn $turn" >> /dev/shm/wrong
    note slowest.files $(($(uptime) - began)); echo $turn > /dev/shm/turns
  done
}
blocks() {
  turn=0
  while :; do
    while [ -e /dev/shm/pause ]; do sleep 0.05; done
    turn=$((turn + 1)); began=$(uptime)
    dd if=/dev/nbd0 of=/dev/null bs=4096 count=1 skip=$((turn * 7919 % 700000)) iflag=direct 2>/dev/null || echo "read failed in turn $turn" >> /dev/shm/wrong
    note slowest.blocks $(($(uptime) - began))
  done
}
files & blocks & wait
`;

interface World {
  readonly machine: Machine;
  /** Starts it where it was, as what is given. */
  start(how?: { readonly inventory?: string; readonly program?: string }): Promise<void>;
  server: ServedProgram;
}

test('a real Linux while its server is restarted', { skip: missing }, async (context) => {
  const folder = scratchFolder(context);
  const disk = await diskFilesystem(context, 'ext4', DISK_BYTES);
  const image = disk.reach('node1.img');
  await copyMachineImage(image);
  const lan = await makeLan(context);
  const inventory = `server: { interface: br0, state: ./state }
images: { debian: { file: ${join(disk.folder, 'node1.img')} } }
boards:
  node1: { serial: ${NODE1.serial}, image: debian, disk: direct }
`;
  const server = await serveIn(lan.server, folder, inventory, disk.words);
  await server.ready();
  const machine = await bootMachine(context, { lan, identity: NODE1 });
  const world: World = {
    machine,
    server,
    async start({ inventory: text = inventory, program } = {}) {
      world.server = await serveIn(lan.server, folder, text, disk.words, program);
    },
  };
  await machine.run(`cat > /dev/shm/work.sh <<'WORK'\n${WORK}\nWORK`);
  await machine.run('/dev/shm/busybox sh /dev/shm/work.sh >/dev/shm/work.log 2>&1 &');
  await progress(machine);

  for (const gapS of GAPS_S) {
    await context.test(`is away for ${gapS} s`, (step) => restart(step, world, { gapS }));
  }
  await context.test('has one more board when it is back', async (step) => {
    const more = `${inventory}  node2: { serial: 2, image: spare, disk: direct }\n`.replace(
      '} }\nboards',
      '}, spare: { file: spare.img } }\nboards',
    );
    await copyMachineImage(join(folder, 'spare.img'));
    await restart(step, world, { inventory: more });
    assert.deepEqual(world.server.logged('inventory.faulty'), []);
  });
  await context.test('finds faults in its inventory when it is back', async (step) => {
    await restart(step, world, { inventory: inventory.replace('serial:', 'seriel:') });
    assert.equal(world.server.logged('inventory.faulty').length, 1);
  });
  await context.test('is another build when it is back', async (step) => {
    await restart(step, world, { program: otherBuild(folder) });
  });
  await context.test('is told to stop while the disk hangs', async (step) => {
    await machine.run('rm -f /dev/shm/slowest.*');
    await disk.hang();
    await passed(1000); // whatever the machine writes waits
    const beganMs = performance.now();
    const stopped = world.server.stop();
    await world.server.firstLogged('server.stopped');
    assert.deepEqual(world.server.logged('handover.lost'), []);
    await disk.goOn(); // what waits in the kernel keeps the process there
    await stopped;
    await world.start();
    await expectUnnoticed(step, world, performance.now() - beganMs);
  });
  await context.test('is told to stop while nothing is asked of it', async (step) => {
    await machine.run(
      'rm -f /dev/shm/paused; touch /dev/shm/pause; while [ ! -e /dev/shm/paused ]; do sleep 0.1; done; sync; sleep 1',
      300_000,
    );
    await world.server.stop();
    await passed(3000);
    await world.start();
    assert.equal(world.server.logged('handover.thawed')[0]?.['board'], 'node1');
    const began =
      'read a rest < /proc/uptime; dd if=/dev/nbd0 of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; read b rest < /proc/uptime; echo $a $b';
    const [before = 0, after = 0] = (await machine.run(began, 300_000)).split(' ').map(Number);
    step.diagnostic(
      `the first read after 3 s in which nothing was sent took ${Math.round((after - before) * 1000)} ms`,
    );
    await machine.run('rm /dev/shm/pause');
    await progress(machine);
  });
  await context.test('has left nothing behind', async () => {
    assert.equal(await machine.run('cat /dev/shm/wrong 2>/dev/null || true'), '');
    assert.equal(await machine.complaints(), '');
    assert.match(await machine.run('cat /proc/mounts'), /^\/dev\/nbd0p2 \/ ext4 rw/m);
    assert.equal(await world.server.metric('brambleboot_boots_total{board="node1"}'), 0);
    await machine.powerOff();
    await world.server.stop();
    await run('e2fsck', ['-f', '-n', `${image}?offset=${ROOT_PARTITION.offsetBytes}`]);
  });
});

interface Restart {
  readonly gapS?: number;
  readonly inventory?: string;
  readonly program?: string;
}

async function restart(step: TestContext, world: World, { gapS = 0.3, ...how }: Restart): Promise<void> {
  const { machine } = world;
  await machine.run('rm -f /dev/shm/slowest.*');
  const beganMs = performance.now();
  await world.server.stop();
  await passed(gapS * 1000);
  await world.start(how);
  await expectUnnoticed(step, world, performance.now() - beganMs);
}

async function expectUnnoticed(step: TestContext, world: World, awayMs: number): Promise<void> {
  const { machine } = world;
  await progress(machine);
  const slowest = await machine.run('cat /dev/shm/slowest.files /dev/shm/slowest.blocks');
  const [files = 0, blocks = 0] = slowest.split('\n').map((hundredths) => Number(hundredths) * 10);
  step.diagnostic(`away for ${Math.round(awayMs)} ms; slowest file ${files} ms, slowest read ${blocks} ms`);
  assert.equal(world.server.logged('handover.thawed')[0]?.['board'], 'node1');
  assert.equal(await machine.run('cat /dev/shm/wrong 2>/dev/null || true'), '');
}

/** It writes and reads: two turns more than before. */
async function progress(machine: Machine): Promise<void> {
  const turns = async () => Number(await machine.run('cat /dev/shm/turns 2>/dev/null || echo 0', 300_000));
  const before = await turns();
  await until(async () => (await turns()) >= before + 2, 'two turns of its work', 300_000);
}

/** The same program as if it were the next version: what one writes the other has to read. */
function otherBuild(folder: string): string {
  const build = join(folder, 'build');
  cpSync(projectFile('dist'), join(build, 'dist'), { recursive: true });
  symlinkSync(projectFile('node_modules'), join(build, 'node_modules'));
  const about = JSON.parse(readFileSync(projectFile('package.json'), 'utf8'));
  writeFileSync(join(build, 'package.json'), JSON.stringify({ ...about, version: '99.0.0' }));
  return join(build, 'dist', 'main.js');
}
