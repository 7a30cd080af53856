// The thread that reads images, and with it the whole way of an image that was touched or written.
import assert from 'node:assert/strict';
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { IMAGE_DIGEST_PIECE_BYTES } from '../../../src/base/limits.js';
import { Disks } from '../../../src/block/disks.js';
import { Digests } from '../../../src/boards/images/digests.js';
import type { ImageEvent } from '../../../src/boards/images/image-events.js';
import { factsOf } from '../../../src/boards/images/image-facts.js';
import { PinFolder } from '../../../src/boards/images/pin-folder.js';
import { PinnedImages } from '../../../src/boards/images/pinned-images.js';
import { whenOver } from '../../support/cleanup.js';
import { until } from '../../support/commands.js';
import { FakeClock } from '../../support/fake-clock.js';
import { digestText } from '../../support/hand-digester.js';
import { scratchFolder } from '../../support/scratch.js';

/** So long that nobody waits for its end. */
const ENDLESS_BYTES = 2 ** 42;

function image(context: TestContext, bytes: Uint8Array, name = 'noble.img') {
  const path = join(scratchFolder(context), name);
  writeFileSync(path, bytes);
  const descriptor = openSync(path, 'r');
  whenOver(context, () => closeSync(descriptor));
  const task = (isUrgent = false) => {
    const status = fstatSync(descriptor, { bigint: true });
    return { descriptor, facts: factsOf(status, Number(status.size)), isUrgent };
  };
  return { path, descriptor, task };
}

describe('the digest of an image', () => {
  for (const [what, bytes] of [
    ['that is empty', new Uint8Array()],
    ['of less than a page', new Uint8Array(100).fill(3)],
    ['of some pieces and a bit', Uint8Array.from({ length: 3 * IMAGE_DIGEST_PIECE_BYTES + 77 }, (_, at) => at % 251)],
  ] as const) {
    test(`${what} is that of its bytes`, async (context) => {
      const reading = new Digests().take(image(context, bytes).task());
      assert.deepEqual(await reading.result, { answer: 'digest', digest: digestText(bytes) });
      assert.equal(reading.doneBytes, bytes.length);
    });
  }

  test('shows how far it is, comes last in the process, and is stopped at once', async (context) => {
    const { path, task } = image(context, new Uint8Array());
    truncateSync(path, ENDLESS_BYTES);
    const reading = new Digests().take(task());
    await until(() => reading.doneBytes > 0, 'the first piece');
    const niceness = readdirSync('/proc/self/task').map((thread) => nicenessOf(thread));
    assert.deepEqual(niceness.filter((nice) => nice === 19).length, 1);
    assert.equal(
      nicenessOf(String(process.pid)),
      niceness.find((nice) => nice !== 19),
    );
    const before = reading.doneBytes;
    await until(() => reading.doneBytes > before, 'the next');
    reading.stop();
    assert.deepEqual(await reading.result, { answer: 'stopped' });
  });

  test('of a file that is cut, or written, meanwhile is none', async (context) => {
    const { path, task } = image(context, new Uint8Array());
    truncateSync(path, ENDLESS_BYTES);
    const reading = new Digests().take(task());
    await until(() => reading.doneBytes > 0, 'the first piece');
    truncateSync(path, 0);
    assert.deepEqual(await reading.result, { answer: 'written' });
    const other = image(context, new Uint8Array(1000));
    const old = other.task();
    const file = openSync(other.path, 'r+');
    writeSync(file, 'x');
    closeSync(file);
    utimesSync(other.path, 1_700_000_000, 1_700_000_000);
    assert.deepEqual(await new Digests().take(old).result, { answer: 'written' });
  });

  test('of what can not be read is a failure with its reason', async () => {
    const facts = factsOf(fstatSync(0, { bigint: true }), 4096);
    const { answer } = await new Digests().take({ descriptor: 0x7fff_0000, facts, isUrgent: false }).result;
    assert.equal(answer, 'failed');
  });

  test('is taken of one at a time, first of those that boards wait for', async (context) => {
    const digests = new Digests();
    const ended: string[] = [];
    const long = image(context, new Uint8Array());
    truncateSync(long.path, ENDLESS_BYTES);
    const take = (name: string, isUrgent: boolean) => {
      const reading = digests.take(image(context, new Uint8Array(10)).task(isUrgent));
      void reading.result.then(({ answer }) => ended.push(`${name} ${answer}`));
      return reading;
    };
    const first = digests.take(long.task());
    await until(() => first.doneBytes > 0, 'the first piece');
    const all = [take('a', false), take('b', true), take('c', false), take('d', true), take('e', false)];
    all[2]?.stop();
    await all[2]?.result;
    assert.deepEqual(ended, ['c stopped']);
    first.stop();
    await Promise.all(all.map(({ result }) => result));
    assert.deepEqual(ended, ['c stopped', 'b digest', 'd digest', 'a digest', 'e digest']);
  });
});

function nicenessOf(thread: string): number {
  // proc_pid_stat(5): the 19th field; the second is a name in brackets, which may hold anything.
  const fields = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return Number(fields[16]);
}

test('an image is pinned, touched and compared, written and refused, by the thread that reads it', async (context) => {
  const folder = scratchFolder(context);
  const file = join(folder, 'noble.img');
  writeFileSync(file, new Uint8Array(3_000_000).fill(1));
  const events: ImageEvent[] = [];
  const told = (kind: ImageEvent['kind']) => until(() => events.some((event) => event.kind === kind), kind);
  const images = new PinnedImages({
    folder: new PinFolder(join(folder, 'images')),
    disks: new Disks(),
    digester: new Digests(),
    clock: new FakeClock(),
    boardsOn: () => ['node1'],
    tell: (event) => events.push(event),
  });
  let isOpen = true;
  whenOver(context, () => (isOpen ? images.close() : undefined));
  const opened = await images.open('noble', file);
  assert.equal(opened.answer, 'image');
  const base = await opened.image.base();
  assert.equal(base.answer, 'version');
  await told('digested');
  utimesSync(file, 1_700_000_000, 1_700_000_000);
  await images.look();
  assert.equal(opened.image.verdict(base.id).answer, 'verifying');
  await told('verified');
  assert.equal(opened.image.verdict(base.id).answer, 'same');
  writeFileSync(file, new Uint8Array(3_000_000).fill(2));
  await images.look();
  await told('changed');
  assert.equal(opened.image.verdict(base.id).answer, 'refused');
  // While it is being read: the descriptor is not closed before the thread is gone.
  utimesSync(file, 1_700_000_000, 1_700_000_000);
  await images.look();
  await images.close();
  isOpen = false;
});
