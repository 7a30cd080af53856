// A filesystem that is really full, the real program on it, and real clients that write until it is.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile } from 'node:child_process';
import { closeSync, openSync, rmSync, statfsSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { outputOf, run, until } from '../support/commands.js';
import { type TestPorts, testPorts } from '../support/ports.js';
import { anyOf, without } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { noise } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';
import { type SmallFilesystem, smallFilesystem, withoutMounts } from '../support/small-filesystem.js';

const MEBI = 1024 * 1024;
const MAIN = projectFile('dist/main.js');
const skip = anyOf(withoutMounts(), without('nbdcopy', 'libnbd-bin'), without('curl', 'curl'));
/** Behind the partitions of the demo image, where a test may write as it likes. */
const FREE = { offset: 96 * MEBI, sizeBytes: 24 * MEBI };
const SIZE = FREE.offset + FREE.sizeBytes;

interface Setup {
  readonly disk: SmallFilesystem;
  readonly server: ChildProcess;
  readonly ports: TestPorts;
  /** What node1's image is to become: it needs more space than there is. */
  readonly wanted: string;
  readonly config: string;
}

/** Two sparse images on a filesystem that a third file fills but for 8 MiB. */
async function setup(context: TestContext, onFull: 'wait' | 'error'): Promise<Setup> {
  const disk = await smallFilesystem(context, 128 * MEBI);
  const wanted = join(scratchFolder(context), 'wanted.img');
  await makeDemoImage(wanted);
  truncateSync(wanted, SIZE);
  for (const name of ['one.img', 'two.img']) await run('cp', ['--sparse=always', wanted, disk.reach(name)]);
  const file = openSync(wanted, 'r+');
  writeSync(file, noise(FREE.sizeBytes), 0, FREE.sizeBytes, FREE.offset);
  closeSync(file);
  const ports = await testPorts(context);
  writeFileSync(disk.reach('config.yaml'), inventory(ports, onFull));
  const { bavail, bsize } = statfsSync(disk.reach());
  writeFileSync(disk.reach('filler'), Buffer.alloc(bavail * bsize - 8 * MEBI, 1));
  const config = join(disk.folder, 'config.yaml');
  const server = disk.spawn('node', [MAIN, 'serve', '--config', config]);
  const isLow = outputOf(server, 'storage.low');
  await until(outputOf(server, 'server.ready'), 'the server');
  assert.ok(isLow());
  return { disk, server, ports, wanted, config };
}

function inventory(ports: TestPorts, onFull: string): string {
  return `server: { interface: lo, state: ./state, on_full: ${onFull} }
dhcp: { port: ${ports.dhcp}, reply_port: ${ports.dhcpReply} }
tftp: { port: ${ports.tftp} }
nbd: { port: ${ports.nbd} }
http: { address: 127.0.0.1, port: ${ports.http} }
images: { one: { file: one.img }, two: { file: two.img } }
boards: { node1: { serial: bf9fed6f, image: one }, node2: { serial: bf9fed70, image: two } }
`;
}

/** A client that writes all of node1's disk: its exit status and what it said. */
function copying({ ports, wanted }: Setup): Promise<{ readonly status: number; readonly said: string }> {
  return new Promise((resolve) => {
    const words = ['--flush', wanted, `nbd://127.0.0.1:${ports.nbd}/node1`];
    const child = execFile('nbdcopy', words, { timeout: 60_000 }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? -1, said: stdout + stderr }),
    );
  });
}

async function boardOf({ ports }: Setup, name: string) {
  const answer = await fetch(`http://127.0.0.1:${ports.http}/api/boards`);
  const status = JSON.parse(await answer.text());
  return status.boards.find((board: { readonly name: string }) => board.name === name);
}

async function metricsOf({ ports }: Setup): Promise<string> {
  return (await fetch(`http://127.0.0.1:${ports.http}/metrics`)).text();
}

async function isHeld(subject: Setup): Promise<boolean> {
  return (await boardOf(subject, 'node1')).waitingForSpace !== undefined;
}

/** A disk is read, written where that takes no space, and flushed. */
async function use({ ports }: Setup, board: string): Promise<void> {
  const connection = await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock);
  const disk = await connection.go(board);
  const sector = await disk.read(0, 4096);
  assert.deepEqual([...sector.subarray(510, 512)], [0x55, 0xaa]);
  await disk.write(0, sector);
  await disk.flush();
  await disk.disconnect();
}

test('writes wait while their filesystem is full, all else goes on, and with space every byte is right', {
  skip,
}, async (context) => {
  const subject = await setup(context, 'wait');
  const { disk, server, ports, wanted, config } = subject;
  const saidFull = outputOf(server, 'disk.full');
  const saidFound = outputOf(server, 'disk.space.found');
  const copy = copying(subject);
  await until(() => isHeld(subject), 'a write that waits');
  await until(saidFull, 'the log');

  await use(subject, 'node1');
  await use(subject, 'node2');
  const fetched = await run('curl', ['-s', '-m', '30', `tftp://127.0.0.1:${ports.tftp}/bf9fed6f/start4.elf`]);
  assert.equal(fetched.length, 400_000);
  assert.match(await metricsOf(subject), /brambleboot_disk_held_requests\{board="node1"\} [1-9]/);
  assert.match(await metricsOf(subject), /brambleboot_disk_held_requests\{board="node2"\} 0/);
  assert.match(await metricsOf(subject), new RegExp(`storage_free_bytes\\{filesystem="${disk.folder}"\\} 0\n`));
  const page = await (await fetch(`http://127.0.0.1:${ports.http}/`)).text();
  assert.match(page, /waiting for space/);
  const listed = disk.spawn('node', [MAIN, 'boards', '--config', config]);
  const inBoards = outputOf(listed, 'Waiting for space: node1');
  await until(inBoards, 'brambleboot boards');
  const checked = disk.spawn('node', [MAIN, 'check', '--config', config]);
  const [warned, noted] = [outputOf(checked, `${disk.folder}: only `), outputOf(checked, 'which is more than is free')];
  await until(() => warned() && noted(), 'brambleboot check');
  assert.equal(await isHeld(subject), true);

  rmSync(disk.reach('filler'));
  assert.deepEqual(await copy, { status: 0, said: '' });
  await run('cmp', [wanted, disk.reach('one.img')]);
  await until(saidFound, 'the log');
  const { waitingForSpace } = await boardOf(subject, 'node1');
  assert.equal(waitingForSpace, undefined);
});

test('a server that is told to stop gives up writes that wait: in time, and without an error for their client', {
  skip,
}, async (context) => {
  const subject = await setup(context, 'wait');
  const { server } = subject;
  const saidGivenUp = outputOf(server, 'disk.space.given_up');
  const copy = copying(subject);
  await until(() => isHeld(subject), 'a write that waits');
  const ended = new Promise<number | null>((resolve) => server.once('close', resolve));
  const beganMs = performance.now();
  server.kill('SIGTERM');
  assert.equal(await ended, 0);
  assert.ok(performance.now() - beganMs < 8000);
  assert.ok(saidGivenUp());
  const { status, said } = await copy;
  assert.notEqual(status, 0);
  assert.doesNotMatch(said, /No space left/);
});

test('a client that goes away leaves nothing behind that would be written later', { skip }, async (context) => {
  const subject = await setup(context, 'wait');
  const connection = await connectNbd({ host: '127.0.0.1', port: subject.ports.nbd }, systemClock);
  const board = await connection.go('node1');
  const written = Array.from({ length: 24 }, (_, index) =>
    board.write(FREE.offset + index * MEBI, noise(MEBI, index + 1)).then(
      () => 'answered',
      () => 'unanswered',
    ),
  );
  await until(() => isHeld(subject), 'a write that waits');
  void board.disconnect();
  await until(async () => !(await isHeld(subject)), 'the writes to be given up');
  rmSync(subject.disk.reach('filler'));
  await use(subject, 'node1');
  const outcomes = await Promise.all(written);
  assert.ok(outcomes.includes('answered') && outcomes.includes('unanswered'));
});

test('with on_full: error the client that wrote is told, and nobody else', { skip }, async (context) => {
  const subject = await setup(context, 'error');
  const { status, said } = await copying(subject);
  assert.notEqual(status, 0);
  assert.match(said, /No space left on device/);
  assert.equal(await isHeld(subject), false);
  const metrics = await metricsOf(subject);
  assert.match(metrics, /brambleboot_nbd_errors_total\{board="node1",errno="ENOSPC"\} [1-9]/);
  assert.doesNotMatch(metrics, /brambleboot_nbd_errors_total\{board="node2"/);
  await use(subject, 'node2');
});
