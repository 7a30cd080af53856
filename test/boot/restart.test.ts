// The real program, restarted under a pretend board that boots, and killed while it writes.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, readdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { decodePast } from '../../src/boards/journal/history-wire.js';
import { attachDisk, parseNbdRoot } from '../../src/pretend/disk-stage.js';
import { FileStage } from '../../src/pretend/file-stage.js';
import { PROFILES } from '../../src/pretend/profile.js';
import { encodeRequest } from '../../src/tftp/wire.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from '../support/cleanup.js';
import { background, outputOf, run, until } from '../support/commands.js';
import { type TestPorts, testPorts } from '../support/ports.js';
import { projectFile } from '../support/project.js';
import { scratchFolder } from '../support/scratch.js';

const MAIN = projectFile('dist/main.js');
const SERIAL = 'bf9fed6f';

interface Place {
  readonly config: string;
  /** `state/boots/node1.jsonl`. */
  readonly history: string;
  readonly ports: TestPorts;
}

async function place(context: TestContext): Promise<Place> {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const ports = await testPorts(context);
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: lo, state: ./state }
dhcp: { enabled: false }
tftp: { port: ${ports.tftp} }
nbd: { port: ${ports.nbd} }
http: { address: 127.0.0.1, port: ${ports.http} }
images: { demo: { file: demo.img } }
boards: { node1: { serial: ${SERIAL}, image: demo, disk: direct } }
`,
  );
  return { config, history: join(folder, 'state', 'boots', 'node1.jsonl'), ports };
}

async function serve(context: TestContext, config: string): Promise<ChildProcess> {
  const server = background(context, 'node', [MAIN, 'serve', '--config', config]);
  await until(outputOf(server, 'server.ready'), 'the server');
  return server;
}

function ended(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    server.once('exit', () => resolve());
    server.kill(signal);
  });
}

/** The loader's part of a boot; answers what the kernel is told. */
async function readFiles({ ports }: Place): Promise<string> {
  const server = { address: '127.0.0.1', port: ports.tftp };
  const stage = { server, localAddress: '127.0.0.1', clock: systemClock, report: () => {} };
  const read = await new FileStage(PROFILES.pi4, stage, `${SERIAL}/`).readAll();
  if (typeof read === 'string') throw new Error(read);
  return Buffer.from(read.files.get('cmdline.txt') ?? '')
    .toString('latin1')
    .trim();
}

/** A request that nobody waits for: it begins a boot, or goes on with one. */
function askForFile({ ports }: Place): void {
  const request = encodeRequest({ kind: 'rrq', path: `${SERIAL}/config.txt`, mode: 'octet', options: new Map() });
  const socket = createSocket('udp4');
  socket.send(request, ports.tftp, '127.0.0.1', () => socket.close());
}

/** Linux's part. */
async function takeDisk(context: TestContext, cmdline: string): Promise<void> {
  const root = parseNbdRoot(cmdline);
  if (typeof root === 'string') throw new Error(root);
  const disk = await attachDisk(root, '127.0.0.1', systemClock, () => {});
  // Whatever becomes of the server: a board's disk may be gone by then.
  whenOver(context, () => disk.disconnect().catch(() => {}));
}

async function boots({ config }: Place) {
  const { boots } = JSON.parse((await run('node', [MAIN, 'boards', 'node1', '--config', config, '--json'])).toString());
  return boots;
}

async function bootsCounted({ ports }: Place): Promise<string | undefined> {
  const metrics = await (await fetch(`http://127.0.0.1:${ports.http}/metrics`)).text();
  return /brambleboot_boots_total\{board="node1"\} (\d+)/.exec(metrics)?.[1];
}

describe('a restart', () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`by ${signal} between the kernel and the disk leaves one boot, with both its parts`, async (context) => {
      const there = await place(context);
      const first = await serve(context, there.config);
      const cmdline = await readFiles(there);
      // A killed process can tell of what is a second old; the test waits for that line, not for a time.
      if (signal === 'SIGKILL') await until(() => historyHas(there, '"stage":"kernel"'), 'the kernel in the history');
      await ended(first, signal);

      const second = await serve(context, there.config);
      await takeDisk(context, cmdline);
      await until(async () => (await bootsCounted(there)) === '1', 'the boot');
      const [boot, ...others] = await boots(there);
      assert.deepEqual([boot.state.at, others.length], ['booted', 0]);
      const kinds = boot.steps.map(({ kind }: { readonly kind: string }) => kind);
      assert.deepEqual(kinds.slice(-3), ['file', 'restart', 'attached']);
      const text = (await run('node', [MAIN, 'boards', 'node1', '--config', there.config])).toString();
      assert.match(
        text,
        /kernel8\.img[\s\S]*the server was restarted\n[\s\S]*disk attached by 127\.0\.0\.1\n\nnode1: running/,
      );

      // The board's disk is gone with the server, and it takes it again: no boot.
      await ended(second, 'SIGTERM');
      await serve(context, there.config);
      await takeDisk(context, cmdline);
      await until(async () => (await boots(there))[0].steps.at(-1).text.includes('which had it before'), 'the disk');
      assert.equal(await bootsCounted(there), '0');
    });
  }

  test('by kill -9 in the middle of writing leaves a history that can be read', async (context) => {
    const there = await place(context);
    for (let round = 0; round < 9; round += 1) {
      const server = await serve(context, there.config);
      // A file is made, filled and renamed: each round another of these is the last that the server lives to see.
      const killed = killedAtChange(server, dirname(there.history), 1 + (round % 3));
      askForFile(there);
      await killed;
      if (!existsSync(there.history)) continue;
      const verdict = decodePast('node1', readFileSync(there.history, 'utf8'));
      assert.ok(verdict.answer === 'past' && verdict.lost === 0);
    }
    const server = background(context, 'node', [MAIN, 'serve', '--config', there.config]);
    const faulty = outputOf(server, 'history.');
    await until(outputOf(server, 'server.ready'), 'the server');
    assert.equal(faulty(), false);
    assert.ok((await boots(there)).length > 0);
    assert.ok(!readdirSync(dirname(there.history)).includes('node1.jsonl.faulty'));
  });
});

/** Kills the server at the `count`th change in the folder. */
async function killedAtChange(server: ChildProcess, folder: string, count: number): Promise<void> {
  let left = count;
  const gone = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const watcher = watch(folder, () => {
    left -= 1;
    if (left === 0) server.kill('SIGKILL');
  });
  await gone;
  watcher.close();
}

function historyHas({ history }: Place, text: string): boolean {
  return existsSync(history) && readFileSync(history, 'utf8').includes(text);
}
