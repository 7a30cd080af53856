// Clients of one board that go away at every moment there is, in every way there is, while another board's disk is in use
// (nbdkit 1.32 aborts with all its clients; qemu CVE-2017-9524). The real program, and a real fio that verifies what it wrote.
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { Command, Option } from '../../src/nbd/wire/constants.js';
import { encodeClientFlags, encodeExportRequest, encodeOption } from '../../src/nbd/wire/handshake-wire.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { background, outputOf, run, until } from '../support/commands.js';
import { runForeign } from '../support/foreign.js';
import { requestBytes } from '../support/nbd-bytes.js';
import { without } from '../support/programs.js';
import { rawNbd } from '../support/raw-nbd.js';
import { MAIN } from '../support/running-program.js';
import { scratchFolder } from '../support/scratch.js';

const MEBI = 1024 * 1024;
const TIMES = 50;
const IN_FLIGHT = 64;
const BLOCK = 4096;
/** Behind the partitions of the demo image, where a test may write as it likes. */
const FREE = 96 * MEBI;

type Ending = 'DISC' | 'RST' | 'half-close';
const ENDINGS: readonly Ending[] = ['DISC', 'RST', 'half-close'];
const DISC = requestBytes({ command: Command.Disc });

/** What a client says up to its first request. */
const HANDSHAKE = Buffer.concat([
  encodeClientFlags(3),
  encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [] })),
]);
const HEADER = requestBytes({ command: Command.Write, cookie: 1n, offset: BigInt(FREE), lengthBytes: BLOCK });

interface Subject {
  readonly port: number;
  readonly pid: number;
  metrics(): Promise<string>;
  /** Whether the server has said that something of ours is broken. */
  hasBug(): boolean;
}

async function startServer(context: TestContext): Promise<Subject> {
  const folder = scratchFolder(context);
  const demo = join(folder, 'demo.img');
  await makeDemoImage(demo);
  for (const name of ['one.img', 'two.img']) {
    await run('cp', ['--sparse=always', demo, join(folder, name)]);
    await run('truncate', ['-s', String(FREE + 16 * MEBI), join(folder, name)]);
  }
  const first = 20_000 + Math.floor(Math.random() * 1000) * 10; // below the ports that the system hands out
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: lo, state: ./state }
dhcp: { enabled: false }
tftp: { enabled: false }
nbd: { port: ${first + 3} }
http: { address: 127.0.0.1, port: ${first + 4} }
images: { one: { file: one.img }, two: { file: two.img } }
boards: { node1: { serial: bf9fed6f, image: one }, node2: { serial: bf9fed70, image: two } }
`,
  );
  const server = background(context, 'node', [MAIN, 'serve', '--config', config]);
  const hasBug = outputOf(server, '.bug"');
  await until(outputOf(server, 'server.ready'), 'the server');
  const metrics = async () => (await fetch(`http://127.0.0.1:${first + 4}/metrics`)).text();
  return { port: first + 3, pid: server.pid ?? 0, metrics, hasBug };
}

/** Another client, without a pause until it is told to end: answers how often it has written and verified its 8 MiB. */
function verifying({ port }: Subject, folder: string): { end(): Promise<number> } {
  let goesOn = true;
  const job = ['--ioengine=nbd', `--uri=nbd://127.0.0.1:${port}/node2`, '--rw=randrw', '--bsrange=512-65536'];
  const range = [`--offset=${FREE}`, '--size=8M', '--iodepth=16', '--fsync=32', '--verify=crc32c'];
  const all = (async () => {
    let times = 0;
    for (; goesOn; times += 1) {
      const seed = `--randseed=${times + 1}`;
      const outcome = await runForeign(
        'fio',
        '--name=verify',
        ...job,
        ...range,
        seed,
        `--aux-path=${folder}`,
        '--minimal',
      );
      assert.equal(outcome.status, 0, outcome.stdout + outcome.stderr);
      assert.doesNotMatch(outcome.stdout + outcome.stderr, /verify.*bad/i);
    }
    return times;
  })();
  return {
    end() {
      goesOn = false;
      return all;
    },
  };
}

async function serveOnce({ port }: Subject): Promise<void> {
  const disk = await (await connectNbd({ host: '127.0.0.1', port }, systemClock)).go('node2');
  await disk.read(0, 512);
  await disk.disconnect();
}

/** Says this much, ends in this way, and resolves when nothing is left of the connection. */
function vanish(port: number, words: Uint8Array, ending: Ending): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ host: '127.0.0.1', port, noDelay: true });
    const late = setTimeout(() => reject(new Error(`${ending} after ${words.length} bytes: not closed`)), 10_000);
    socket.on('error', () => {}); // the server may be quicker
    socket.once('close', () => {
      clearTimeout(late);
      resolve();
    });
    socket.resume();
    socket.once('connect', () => {
      if (ending === 'RST') socket.write(words, () => socket.resetAndDestroy());
      else socket.end(ending === 'DISC' ? Buffer.concat([words, DISC]) : words);
    });
  });
}

/** All of them, so many at a time. */
async function each<T>(all: readonly T[], action: (one: T) => Promise<void>, atATime = 24): Promise<void> {
  const left = [...all];
  const worker = async () => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) await action(one);
  };
  await Promise.all(Array.from({ length: atATime }, worker));
}

function write(index: number, fill: number): Uint8Array {
  const header = { command: Command.Write, cookie: BigInt(index), offset: BigInt(FREE + index * BLOCK) };
  return Buffer.concat([requestBytes({ ...header, lengthBytes: BLOCK }), Buffer.alloc(BLOCK, fill)]);
}

function read(index: number, lengthBytes: number): Uint8Array {
  return requestBytes({ command: Command.Read, cookie: BigInt(index), offset: BigInt(FREE), lengthBytes });
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index);

/** Nothing may be left of those who are gone, and the other client has noticed nothing. */
async function withOther(context: TestContext, attack: (subject: Subject) => Promise<void>): Promise<void> {
  const subject = await startServer(context);
  const descriptors = () => readdirSync(`/proc/${subject.pid}/fd`).length;
  await serveOnce(subject); // what the server needs for its first client it keeps
  const atFirst = descriptors();
  const other = verifying(subject, scratchFolder(context));
  await attack(subject);
  const times = await other.end();
  assert.ok(times > 0);
  const isFree = async () => /nbd_connections\{board="node1"\} 0\n/.test(await subject.metrics());
  await until(isFree, 'the disk to be free');
  await until(() => descriptors() <= atFirst + 2, 'the descriptors to be closed');
  assert.doesNotMatch(await subject.metrics(), /nbd_errors_total\{board="node2"/);
  assert.equal(subject.hasBug(), false);
}

describe('clients that go away', { skip: without('fio', 'fio') }, () => {
  for (const ending of ENDINGS) {
    test(`by ${ending}, at every byte of the handshake and of a request`, async (context) => {
      await withOther(context, async ({ port }) => {
        const words = Buffer.concat([HANDSHAKE, HEADER, Buffer.alloc(1)]);
        const cuts = range(words.length + 1).flatMap((cut) => range(TIMES).map(() => cut));
        await each(cuts, (cut) => vanish(port, words.subarray(0, cut), ending));
      });
    });
  }

  test(`by RST, with ${IN_FLIGHT} requests in flight`, async (context) => {
    await withOther(context, async ({ port }) => {
      for (const round of range(TIMES)) {
        const raw = await rawNbd(context, port).transmitting();
        const requests = range(IN_FLIGHT).map((index) => (index % 2 === 0 ? write(index, round) : read(index, 65_536)));
        await raw.send(...requests, requestBytes({ command: Command.Flush, cookie: 99n }));
        if (round % 2 === 0) await raw.reply();
        raw.reset();
      }
    });
  });

  test(`by DISC, with ${IN_FLIGHT} writes in flight: all of them are done`, async (context) => {
    await withOther(context, async ({ port }) => {
      for (const round of range(TIMES)) {
        const raw = await rawNbd(context, port).transmitting();
        await raw.send(...range(IN_FLIGHT).map((index) => write(index, round + 1)), DISC);
        await raw.ended();
        const after = await rawNbd(context, port).transmitting();
        await after.send(read(0, IN_FLIGHT * BLOCK));
        assert.deepEqual(await after.reply(), { error: 0, cookie: 0n });
        const content = await after.receive(IN_FLIGHT * BLOCK);
        assert.ok(content?.every((byte) => byte === round + 1));
        after.reset();
      }
    });
  });

  test(`by half-close, with ${IN_FLIGHT} requests in flight: each is answered`, async (context) => {
    await withOther(context, async ({ port }) => {
      for (const round of range(TIMES)) {
        const raw = await rawNbd(context, port).transmitting();
        await raw.send(...range(IN_FLIGHT).map((index) => write(index, round + 1)));
        raw.socket.end();
        const cookies = new Set<bigint>();
        for (const _ of range(IN_FLIGHT)) {
          const reply = await raw.reply();
          assert.equal(reply?.error, 0);
          if (reply !== undefined) cookies.add(reply.cookie);
        }
        assert.equal(cookies.size, IN_FLIGHT);
        assert.equal(await raw.reply(), undefined, 'and then it is closed');
      }
    });
  });
});
