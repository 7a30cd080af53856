// A disk that hangs, as the kernel has it: its board waits, and nobody else.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import type { NbdDisk } from '../../src/nbd/client/client-disk.js';
import { Command, CommandFlag } from '../../src/nbd/wire/constants.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { run, until } from '../support/commands.js';
import { joined, requestBytes } from '../support/nbd-bytes.js';
import { anyOf, without } from '../support/programs.js';
import { RawNbd } from '../support/raw-nbd.js';
import { LISTED_SERIAL, type RunningProgram, runProgram } from '../support/running-program.js';
import { scratchFolder } from '../support/scratch.js';
import { type SlowDisk, slowDisk, withoutSlowDisk } from '../support/slow-disk.js';

const MEBI = 1024 * 1024;
/** Of the demo image: behind the boot partition, and the end. */
const FREE = 66 * MEBI;
const END = 81 * MEBI;
const DELAY_MS = 100;
const CONNECTIONS = 4;
/** Of each connection: as much as the Linux driver has under way. */
const DEPTH = 128;
const WHAT = { skip: anyOf(withoutSlowDisk(), without('curl', 'curl')), timeout: 200_000 };

/** A client that asks for all that there is, as fast as it can, and counts the answers. */
class Asking {
  readonly #raw: RawNbd;
  answered = 0;
  failed = 0;
  asked = 0;

  constructor(port: number) {
    this.#raw = new RawNbd(port);
  }

  async begin(exportName: string): Promise<void> {
    await this.#raw.transmitting(exportName);
    void this.#count();
    for (; this.asked < DEPTH; this.asked += 1) void this.#raw.send(requestOf(this.asked));
  }

  get isDone(): boolean {
    return this.answered === this.asked;
  }

  destroy(): void {
    this.#raw.destroy();
  }

  async #count(): Promise<void> {
    for (let reply = await this.#raw.reply(); reply !== undefined; reply = await this.#raw.reply()) {
      const isRead = Number(reply.cookie) % KINDS.length < READS;
      if (reply.error !== 0) this.failed += 1;
      else if (isRead) await this.#raw.receive(readBytes(Number(reply.cookie)));
      this.answered += 1;
    }
  }
}

/** Per cookie, in turn. Reads come first. */
const KINDS = ['read', 'read', 'longRead', 'write', 'write', 'durable', 'flush', 'trim', 'zero', 'cache'] as const;
const READS = 3;

function readBytes(index: number): number {
  return KINDS[index % KINDS.length] === 'longRead' ? MEBI / 2 : 4096;
}

function requestOf(index: number): Uint8Array {
  const cookie = BigInt(index);
  const offset = BigInt(FREE + ((index * 40_503) % 3000) * 4096);
  const payload = new Uint8Array(4096);
  switch (KINDS[index % KINDS.length]) {
    case 'write':
      return joined(requestBytes({ command: Command.Write, cookie, offset, lengthBytes: 4096 }), payload);
    case 'durable':
      return joined(
        requestBytes({ command: Command.Write, flags: CommandFlag.Fua, cookie, offset, lengthBytes: 4096 }),
        payload,
      );
    case 'flush':
      return requestBytes({ command: Command.Flush, cookie });
    case 'trim':
      return requestBytes({ command: Command.Trim, cookie, offset, lengthBytes: 4096 });
    case 'zero':
      return requestBytes({ command: Command.WriteZeroes, cookie, offset, lengthBytes: 4096 });
    case 'cache':
      return requestBytes({ command: Command.Cache, cookie, offset, lengthBytes: MEBI });
    default:
      return requestBytes({ command: Command.Read, cookie, offset, lengthBytes: readBytes(index) });
  }
}

async function setup(context: TestContext) {
  const image = join(scratchFolder(context), 'slow.img');
  await makeDemoImage(image);
  const slow = await slowDisk(context, image, DELAY_MS);
  const program = await runProgram(context, { images: { slow: slow.file } });
  const asking = Array.from({ length: CONNECTIONS }, () => new Asking(program.ports.nbd));
  const { nbd: port } = program.ports;
  const quick = await (await connectNbd({ host: '127.0.0.1', port }, systemClock)).go('node1');
  context.after(() => {
    for (const each of [...asking, quick]) each.destroy();
  });
  await allOf(program, quick); // all that is there to be started is
  return { slow, program, quick, asking };
}

/** Everything that another board and its operator may ask for, what the page cache has and what it has not. */
async function allOf({ folder, ports }: RunningProgram, disk: NbdDisk): Promise<void> {
  const image = join(folder, 'demo.img');
  await disk.flush();
  await run('dd', [`if=${image}`, 'iflag=nocache', 'count=0', 'status=none']); // out of the page cache
  await Promise.all(Array.from({ length: 16 }, (_, index) => disk.read(((index * 7919) % 80) * MEBI, 4096)));
  await disk.read(0, MEBI);
  await disk.write(FREE, new Uint8Array(4096).fill(1));
  await disk.write(FREE, new Uint8Array(4096).fill(2), { durable: true });
  await disk.write(END - MEBI, new Uint8Array(MEBI).fill(3));
  await disk.write(MEBI, await disk.read(MEBI, 512)); // of the boot partition
  await disk.trim(FREE, MEBI);
  await disk.writeZeroes(FREE, MEBI, { durable: true });
  await disk.cache(0, MEBI);
  await disk.flush();
  const config = await run('curl', ['-s', `tftp://127.0.0.1:${ports.tftp}/${LISTED_SERIAL}/config.txt`]);
  assert.ok(config.length > 0);
  for (const path of ['/metrics', '/api/boards', '/']) {
    assert.equal((await fetch(`http://127.0.0.1:${ports.http}${path}`)).status, 200);
  }
}

function answers(asking: readonly Asking[]): number {
  return asking.reduce((sum, { answered }) => sum + answered, 0);
}

async function hangWithAllUnderWay(slow: SlowDisk, asking: readonly Asking[]): Promise<number> {
  slow.hang();
  for (const each of asking) await each.begin('slow');
  // A few may be answered from memory; then nothing moves any more.
  let before = -1;
  await until(async () => {
    const now = answers(asking);
    const isStill = now === before;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return isStill;
  }, 'the disk to hang');
  return before;
}

test('a disk that hangs keeps nobody waiting but its board, and loses nothing', WHAT, async (context) => {
  const { slow, program, quick, asking } = await setup(context);
  const answered = await hangWithAllUnderWay(slow, asking);
  assert.ok(answered < (CONNECTIONS * DEPTH) / 2);
  for (let round = 0; round < 5; round += 1) await allOf(program, quick);
  assert.equal(answers(asking), answered, 'it hangs still');
  slow.goOn();
  await until(() => asking.every(({ isDone }) => isDone), 'the answers');
  assert.deepEqual(
    asking.map(({ failed }) => failed),
    asking.map(() => 0),
  );
});

test('a disk that is slow keeps nobody else waiting for what is asked of it', WHAT, async (context) => {
  const { program, quick, asking } = await setup(context);
  for (const each of asking) await each.begin('slow');
  for (let round = 0; round < 3; round += 1) await allOf(program, quick);
  const done = answers(asking);
  assert.ok(done < (CONNECTIONS * DEPTH) / 2, `${done} of ${CONNECTIONS * DEPTH} were answered before`);
  await until(() => asking.every(({ isDone }) => isDone), 'the answers', 150_000);
});

test(
  'a server that is told to stop lets the others go in time, and ends itself as soon as the kernel lets it',
  WHAT,
  async (context) => {
    const { slow, program, quick, asking } = await setup(context);
    await hangWithAllUnderWay(slow, asking);
    const ended = new Promise((resolve) => program.child.once('exit', (_, signal) => resolve(signal)));
    program.child.kill('SIGTERM');
    await until(
      () =>
        quick.read(0, 512).then(
          () => false,
          () => true,
        ),
      'the other board to be let go',
    );
    await until(() => program.output().includes('server.stop.timeout'), 'the server to give up');
    // Nothing, and no signal, ends a process that waits for a filesystem of FUSE to answer.
    slow.goOn();
    assert.equal(await ended, 'SIGKILL');
  },
);
