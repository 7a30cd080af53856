import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { BoardDisks, type BoardDisksOptions } from '../../src/app/board-disks.js';
import { systemClock } from '../../src/base/clock.js';
import type { Log } from '../../src/base/log.js';
import type { DiskUser } from '../../src/boards/writer-lock/writer-lock.js';
import { boardOf } from '../support/boards.js';
import { type OwnerOptions, ownerBoard } from '../support/own-disks.js';
import { scratchFolder } from '../support/scratch.js';

type Promote = BoardDisksOptions['promote'];

const NO_FORCE = { force: false };
const FORCE = { force: true };

async function world(context: TestContext, { promote, ...options }: OwnerOptions & { promote?: Promote } = {}) {
  const said: string[] = [];
  const at = (level: string) => (facts: object, event: string) =>
    void said.push(`${level} ${event} ${JSON.stringify(facts)}`);
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  const board = await ownerBoard(context, scratchFolder(context), 'node1', options);
  const served = [board, boardOf('plain', '2')];
  const disks = new BoardDisks({
    ...{ boards: () => served, clock: systemClock, log },
    promote: promote ?? (async () => ({ answer: 'refused', because: 'not here' })),
  });
  const read = async () => {
    const bytes = Buffer.alloc(4);
    await board.disk.read(0, bytes);
    return bytes.toString('latin1');
  };
  const write = (text: string) => board.disk.write(0, Buffer.from(text, 'latin1'), { durable: true });
  return { board, disks, said, read, write, served };
}

/** A client that answers when it is probed, and stays until it is closed. */
async function connected({ board }: Awaited<ReturnType<typeof world>>) {
  const closed: string[] = [];
  const user: DiskUser = {
    peerAddress: '192.168.1.21',
    probe: async () => 'alive',
    close: async (because) => void closed.push(because),
  };
  assert.equal((await board.writerLock.acquire(user)).answer, 'granted');
  return { closed, user };
}

async function refusalOf(verdict: Promise<{ answer: string; because?: string }>): Promise<string> {
  const { answer, because = '' } = await verdict;
  assert.notEqual(answer, 'done');
  return because;
}

describe("commands on a board's disk", () => {
  test('take snapshots, list them, go back to one and to the image, and say so in the log', async (context) => {
    const there = await world(context);
    const { disks, said, read, write } = there;
    const image = await read();
    await write('one.');
    assert.equal((await disks.snapshot('node1', 'first')).answer, 'done');
    await write('two.');
    assert.equal((await disks.rollback('node1', 'first', NO_FORCE)).answer, 'done');
    assert.equal(await read(), 'one.');
    const list = await disks.snapshots('node1');
    assert.ok(list.answer === 'done');
    assert.deepEqual(
      list.snapshots.map(({ name, inUse }) => [name, inUse]),
      [['first', true]],
    );
    assert.ok(list.currentBytes > 0 && list.snapshots[0] !== undefined && list.snapshots[0].ownBytes > 0);
    assert.deepEqual(await disks.reset('node1', NO_FORCE), { answer: 'done' });
    assert.equal(await read(), image);
    assert.equal((await disks.drop('node1', 'first', NO_FORCE)).answer, 'done');
    const events = said.map((line) => line.split(' ').slice(0, 2).join(' ').replace('warn', 'info'));
    assert.deepEqual(events, [
      'info disk.snapshot.taken',
      'info disk.rolled_back',
      'info disk.reset',
      'info disk.snapshot.dropped',
    ]);
    assert.match(said[0] ?? '', /"board":"node1","snapshot":"first","heldMs":\d+/);
  });

  test('that would destroy what a connected board has are refused with its address', async (context) => {
    const there = await world(context);
    const { disks, board } = there;
    await disks.snapshot('node1', 'first');
    const { closed } = await connected(there);
    const because = 'node1 is connected from 192.168.1.21: shut it down, or --force closes its connection first';
    assert.equal(await refusalOf(disks.rollback('node1', 'first', NO_FORCE)), because);
    assert.equal(await refusalOf(disks.reset('node1', NO_FORCE)), because);
    assert.equal(await refusalOf(disks.drop('node1', 'first', NO_FORCE)), because);
    assert.deepEqual([closed, board.writerLock.holder()], [[], '192.168.1.21']);
  });

  test('close its connection first where they are told to, and let it come back when they are done', async (context) => {
    const there = await world(context);
    const { disks, board, read, write, said } = there;
    await write('one.');
    await disks.snapshot('node1', 'first');
    await write('two.');
    const { closed } = await connected(there);
    assert.equal((await disks.rollback('node1', 'first', FORCE)).answer, 'done');
    assert.deepEqual(closed, ["by an operator's word: it is being rolled back to its snapshot first"]);
    assert.equal(await read(), 'one.');
    assert.equal(board.writerLock.holder(), undefined);
    assert.match(said.at(-1) ?? '', /disk\.rolled_back .*"closed":"192\.168\.1\.21"/);
  });

  test('that can not be done close no connection', async (context) => {
    const there = await world(context);
    const { closed } = await connected(there);
    const because = await refusalOf(there.disks.rollback('node1', 'frist', FORCE));
    assert.equal(because, 'node1: it has no snapshot "frist": there is none');
    assert.match(await refusalOf(there.disks.drop('node1', 'frist', FORCE)), /no snapshot "frist"/);
    assert.deepEqual(closed, []);
  });

  test('that harm nobody are done while the board is connected', async (context) => {
    const there = await world(context);
    const { disks, write } = there;
    await write('one.');
    await disks.snapshot('node1', 'side');
    await disks.reset('node1', NO_FORCE);
    await connected(there);
    assert.equal((await disks.snapshot('node1', 'now')).answer, 'done');
    assert.equal((await disks.drop('node1', 'side', NO_FORCE)).answer, 'done', 'the disk does not lie on it');
  });

  test('say of a disk that is the image itself what can be done instead', async (context) => {
    const { disks } = await world(context);
    for (const verdict of [
      disks.snapshots('plain'),
      disks.snapshot('plain', 'x'),
      disks.rollback('plain', 'x', FORCE),
      disks.reset('plain', FORCE),
      disks.drop('plain', 'x', FORCE),
    ]) {
      const because = await refusalOf(verdict);
      assert.match(because, /^plain: its disk is the image itself .*`brambleboot promote plain FILE` makes a copy$/);
    }
  });

  test('of a board that is not there name the others', async (context) => {
    const { disks } = await world(context);
    assert.deepEqual(await disks.reset('nod1', FORCE), {
      answer: 'unknown',
      because: 'there is no board "nod1": did you mean node1?',
    });
  });

  test('refuse names that are none, and one that is taken', async (context) => {
    const { disks } = await world(context);
    await disks.snapshot('node1', 'first');
    assert.match(await refusalOf(disks.snapshot('node1', 'first')), /^node1: there is a snapshot first already/);
    for (const name of ['', '..', '.hidden', 'a/b', '../../etc', 'x'.repeat(64), '\u001b[2J', 'a b']) {
      assert.match(await refusalOf(disks.snapshot('node1', name)), /is no name for a snapshot/);
    }
  });

  test('do not go back to a snapshot of a disk that is thrown away at the next boot', async (context) => {
    const { disks } = await world(context, { isVolatile: true });
    assert.equal((await disks.snapshot('node1', 'lesson')).answer, 'done');
    assert.match(await refusalOf(disks.rollback('node1', 'lesson', FORCE)), /`volatile`.*`disk: overlay`/);
  });

  test('put a disk aside that can not be used, and say where', async (context) => {
    let version = 'ba5e'.repeat(8);
    const { board, disks, said } = await world(context, { version: () => version });
    version = 'ba5f'.repeat(8);
    assert.match(board.own.unusable ?? '', /the image was changed/);
    assert.match(await refusalOf(disks.rollback('node1', 'x', FORCE)), /^node1: the image was changed; put it back$/);
    assert.match(await refusalOf(disks.promote('node1', '/x', quietCopy())), /^node1: the image was changed/);
    const verdict = await disks.reset('node1', NO_FORCE);
    assert.equal(verdict.answer, 'done', JSON.stringify(verdict));
    assert.equal(board.own.unusable, undefined);
    assert.match(said.at(-1) ?? '', /disk\.reset/);
  });

  test('tell a fault of ours in the log, and not as an outcome', async (context) => {
    const { disks, said } = await world(context, {
      promote: async () => {
        throw new TypeError('oh');
      },
    });
    assert.match(await refusalOf(disks.promote('plain', '/x', quietCopy())), /a fault of the server/);
    assert.match(said.at(-1) ?? '', /^error disk\.command\.bug/);
  });
});

function quietCopy(signal = new AbortController().signal) {
  return { progress: () => {}, signal };
}

/** Copies that go on until they are told to end, or that they are done. */
function slowCopy() {
  const copies: { finish(): void; tell(doneBytes: number): void; readonly isAborted: () => boolean }[] = [];
  const promote: Promote = (_disk, _file, { progress, signal }) =>
    new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve({ answer: 'refused', because: 'it was broken off' }));
      copies.push({
        finish: () => resolve({ answer: 'done', bytes: 1000, heldMs: 2 }),
        tell: (doneBytes) => progress(doneBytes, 1000),
        isAborted: () => signal.aborted,
      });
    });
  return { copies, promote };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe("a copy of a board's disk", () => {
  test('keeps nobody from taking snapshots, and what would change it from being done', async (context) => {
    const { copies, promote } = slowCopy();
    const { disks, said } = await world(context, { promote });
    const told: number[] = [];
    const copying = disks.promote('node1', '/srv/copy.img', {
      ...quietCopy(),
      progress: (doneBytes) => void told.push(doneBytes),
    });
    await turns();
    copies[0]?.tell(420);
    assert.equal((await disks.snapshot('node1', 'meanwhile')).answer, 'done');
    const because = /^node1: its disk is being copied \(42 % of 1 kB\): wait until that is through, or end it$/;
    assert.match(await refusalOf(disks.rollback('node1', 'meanwhile', FORCE)), because);
    assert.match(await refusalOf(disks.reset('node1', FORCE)), because);
    assert.match(await refusalOf(disks.promote('node1', '/srv/other.img', quietCopy())), because);
    copies[0]?.finish();
    assert.deepEqual(await copying, { answer: 'done', bytes: 1000, heldMs: 2 });
    assert.deepEqual(told, [420]);
    assert.match(said.at(-1) ?? '', /info disk\.promoted .*"file":"\/srv\/copy\.img","bytes":1000/);
    assert.equal((await disks.reset('node1', NO_FORCE)).answer, 'done');
  });

  test('is made of a direct disk too', async (context) => {
    const { copies, promote } = slowCopy();
    const { disks } = await world(context, { promote });
    const copying = disks.promote('plain', '/srv/copy.img', quietCopy());
    await turns();
    copies[0]?.finish();
    assert.equal((await copying).answer, 'done');
  });

  test('ends with who asked for it, and with the server', async (context) => {
    const { copies, promote } = slowCopy();
    const { disks } = await world(context, { promote });
    const gone = new AbortController();
    const one = disks.promote('node1', '/srv/one.img', quietCopy(gone.signal));
    await turns();
    gone.abort();
    assert.equal(await refusalOf(one), 'node1: it was broken off');
    const other = disks.promote('node1', '/srv/other.img', quietCopy());
    await turns();
    await disks.stop();
    assert.deepEqual(
      copies.map(({ isAborted }) => isAborted()),
      [true, true],
    );
    assert.equal((await other).answer, 'refused');
    assert.match(await refusalOf(disks.reset('node1', FORCE)), /being stopped/);
  });

  test('goes to an absolute path only', async (context) => {
    const { disks } = await world(context);
    assert.match(await refusalOf(disks.promote('node1', 'copy.img', quietCopy())), /"copy\.img" is no absolute path/);
  });
});

describe('a disk that the inventory takes away', () => {
  const doing = 'the inventory has it no longer';

  test('is closed when nobody has it, and nobody gets it after that', async (context) => {
    const { disks, board, served } = await world(context);
    const close = async () => void served.splice(served.indexOf(board), 1);
    assert.deepEqual(await disks.retire('node1', { doing, force: false }, close), { answer: 'done' });
    assert.equal(board.writerLock.holder(), 'this server');
    assert.equal((await disks.reset('node1', NO_FORCE)).answer, 'unknown');
    assert.deepEqual(await disks.retire('node1', { doing, force: false }, close), { answer: 'done' });
  });

  test('is left to who has it, who is not even asked, or taken from him by force', async (context) => {
    const fixture = await world(context);
    const { closed, user } = await connected(fixture);
    let isClosed = false;
    const close = async () => {
      isClosed = true;
    };
    const verdict = await fixture.disks.retire('node1', { doing, force: false }, close);
    assert.deepEqual(verdict, { answer: 'refused', because: 'it is connected from 192.168.1.21' });
    assert.deepEqual([isClosed, closed], [false, []]);
    const forced = fixture.disks.retire('node1', { doing, force: true }, close);
    await turns();
    fixture.board.writerLock.release(user);
    assert.deepEqual(await forced, { answer: 'done' });
    assert.deepEqual([isClosed, closed], [true, [doing]]);
  });

  test('is not taken from under a copy or a command; a command that came too late is told', async (context) => {
    const { copies, promote } = slowCopy();
    const { disks, board, served } = await world(context, { promote });
    const copying = disks.promote('node1', '/srv/copy.img', quietCopy());
    await turns();
    const close = async () => void served.splice(served.indexOf(board), 1);
    const verdict = await disks.retire('node1', { doing, force: true }, close);
    assert.match(verdict.answer === 'refused' ? verdict.because : '', /being copied/);
    copies[0]?.finish();
    await copying;
    const resetting = disks.reset('node1', NO_FORCE);
    const busy = await disks.retire('node1', { doing, force: false }, close);
    assert.deepEqual(busy, { answer: 'refused', because: 'something is being done with its disk' });
    assert.equal((await resetting).answer, 'done');
    await turns();
    const retiring = disks.retire('node1', { doing, force: false }, close);
    const late = disks.snapshot('node1', 'x');
    assert.equal((await retiring).answer, 'done');
    assert.match(await refusalOf(late), /the inventory has no such board any more/);
  });
});
