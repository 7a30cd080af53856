import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { BootHistories, type HistoryStore } from '../../src/app/boot-histories.js';
import { HistoryFolder } from '../../src/app/history-folder.js';
import { BOOT_HISTORIES_LEFT_BEHIND_MAX, BOOT_HISTORY_BYTES_MAX } from '../../src/base/limits.js';
import type { BoardEvent } from '../../src/boards/journal/events.js';
import { decodePast } from '../../src/boards/journal/history-wire.js';
import { Journal } from '../../src/boards/journal/journal.js';
import { FakeClock } from '../support/fake-clock.js';
import { keptLog } from '../support/log-lines.js';
import { scratchFolder } from '../support/scratch.js';

const discover = (board = 'node1'): BoardEvent => ({
  ...{ board, kind: 'discover', mac: 'dc:a6:32:01:02:03', serial: 'bf9fed6f' },
  ...{ model: 'Pi 4', interfaceName: 'eth0', answer: 'offered' },
});
const asks = (board = 'node1'): BoardEvent => ({ board, kind: 'bootFileRequested', peer: '10.0.0.5', path: 'x' });
const kernel = (board = 'node1', role: 'kernel' | 'other' = 'kernel'): BoardEvent => ({
  ...{ board, kind: 'transferEnded', peer: '10.0.0.5', path: 'kernel8.img', role, outcome: 'complete' },
  ...{ sizeBytes: 9, sentBytes: 9, durationMs: 1 },
});
const attached = (board = 'node1'): BoardEvent => ({ board, kind: 'attached', peer: '10.0.0.5' });

/** One process's part: a journal that is kept in the folder, in which this board lies. */
function processOn(store: HistoryStore | string, boards: readonly string[] = ['node1'], uptimeMs = 0) {
  const clock = new FakeClock();
  const { log, lines, events } = keptLog();
  const journal: Journal = new Journal(clock, (board, weight) => kept.changed(board, weight));
  const folder = typeof store === 'string' ? new HistoryFolder(store) : store;
  const hostTime = () => ({ hostBoot: 'b007', uptimeMs: uptimeMs + clock.nowMs() });
  const kept = new BootHistories({ journal, folder, hostTime, clock, log });
  const histories = { restore: () => kept.restore(boards), stop: () => kept.stop() };
  const tell = (...all: readonly BoardEvent[]) => all.flatMap((event) => journal.record(event)).map(({ kind }) => kind);
  const stop = () => {
    journal.stopping();
    return histories.stop();
  };
  return { clock, journal, histories, kept, tell, stop, lines, events };
}

function bootsFolder(context: TestContext): string {
  return join(scratchFolder(context), 'boots');
}

/** A store whose writes end when the test says so. */
function slowStore(failure: () => Error | undefined = () => undefined) {
  const written: string[] = [];
  let waiting: (() => void)[] = [];
  let busiest = 0;
  const store: HistoryStore = {
    open: async () => {},
    read: async () => ({ answer: 'none' }),
    async write(board) {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        busiest = Math.max(busiest, waiting.length);
      });
      const error = failure();
      if (error !== undefined) throw error;
      written.push(board);
    },
    settle: async () => {},
    putAside: async () => '',
    sweep: async () => 0,
  };
  /** Lets all writes end that are under way or follow at once. */
  const settle = async () => {
    for (let turn = 0; turn < 500; turn += 1) {
      const now = waiting;
      waiting = [];
      for (const end of now) end();
      await Promise.resolve();
    }
  };
  return { store, written, settle, busiest: () => busiest };
}

describe('boots on disk', () => {
  test('are there in the next process, one under way goes on', async (context) => {
    const path = bootsFolder(context);
    const first = processOn(path);
    await first.histories.restore();
    first.tell(discover(), asks(), kernel(), attached(), discover(), asks(), kernel());
    await first.stop();

    const second = processOn(path, ['node1'], 20_000);
    const news = await second.histories.restore();
    assert.deepEqual(news, [{ kind: 'resumed', board: 'node1', stage: 'kernel' }]);
    assert.deepEqual(second.tell(attached()), []); // who had it before has it again: that ends no boot
    const states = second.journal.life('node1').boots.map(({ state }) => state.at);
    assert.deepEqual(states, ['underWay', 'booted']);
    assert.deepEqual(second.events(), []);
  });

  test('are for our own eyes, and lie in files named as the boards', async (context) => {
    const path = bootsFolder(context);
    const { histories, tell, stop } = processOn(path, ['node1', 'node2']);
    await histories.restore();
    tell(discover('node2'));
    await stop();
    assert.deepEqual(readdirSync(path), ['node2.jsonl']);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.equal(statSync(join(path, 'node2.jsonl')).mode & 0o777, 0o600);
  });

  test('have a bounded size after ten thousand boots', async (context) => {
    const path = bootsFolder(context);
    const { histories, tell, stop, clock, journal } = processOn(path);
    await histories.restore();
    for (let boot = 0; boot < 10_000; boot += 1) {
      clock.advance(60_000);
      tell(discover(), asks(), ...Array.from({ length: 10 }, () => kernel()), attached());
    }
    await stop();
    assert.equal(journal.life('node1').boots.length, 20);
    const { size } = statSync(join(path, 'node1.jsonl'));
    assert.ok(size < 50_000, `${size} bytes`);
    assert.deepEqual(readdirSync(path), ['node1.jsonl']);
  });
});

describe('writing', () => {
  test('of a hundred boards that boot at once is one file at a time, and each once for what happens within a second', async () => {
    const { store, written, settle, busiest } = slowStore();
    const boards = Array.from({ length: 100 }, (_, index) => `node${index}`);
    const { histories, tell, clock } = processOn(store, boards);
    await histories.restore();
    for (const board of boards) tell(discover(board), asks(board), kernel(board));
    await settle();
    assert.deepEqual(written, []);
    clock.advance(1000);
    await settle();
    assert.deepEqual(written, boards);
    assert.equal(busiest(), 1);
    clock.advance(60_000);
    await settle();
    assert.equal(written.length, 100);
  });

  test('is as often as once a second where stages change, and every ten where only files are read', async () => {
    const { store, written, settle } = slowStore();
    const { histories, tell, clock } = processOn(store);
    await histories.restore();
    tell(discover());
    for (let second = 0; second < 31; second += 1) {
      tell(kernel('node1', 'other'));
      clock.advance(1000);
      await settle();
    }
    assert.equal(written.length, 4);
    for (let second = 0; second < 10; second += 1) {
      for (let times = 0; times < 100; times += 1) tell(attached());
      clock.advance(1000);
      await settle();
    }
    assert.equal(written.length, 14);
  });

  test('on a full disk is said once, tried again, and said when it works; boots go on', async () => {
    let full = true;
    const { store, written, settle } = slowStore(() =>
      full ? new Error('ENOSPC: no space left on device, write') : undefined,
    );
    const { histories, tell, clock, lines } = processOn(store);
    await histories.restore();
    tell(discover());
    for (let second = 0; second < 100; second += 1) {
      clock.advance(1000);
      await settle();
    }
    assert.deepEqual(lines, [{ event: 'history.write.failed', boards: 1, because: 'ENOSPC: no space left on device' }]);
    assert.deepEqual(tell(asks(), kernel(), attached()), ['stage', 'stage', 'booted']);
    full = false;
    clock.advance(30_000);
    await settle();
    assert.deepEqual([lines.length, lines[1]?.event, written], [2, 'history.write.works', ['node1']]);
  });

  test('keeps no stop waiting where the disk hangs', async () => {
    const { store } = slowStore();
    const { histories, tell, clock, stop, events } = processOn(store);
    await histories.restore();
    tell(discover());
    const stopped = stop();
    clock.advance(3000);
    await stopped;
    assert.deepEqual(events(), ['history.write.failed']);
  });
});

describe('what lies in the folder', () => {
  const file = (path: string) => join(path, 'node1.jsonl');

  /** A start on this folder, one boot, and a stop. */
  async function startOn(path: string) {
    const started = processOn(path);
    await started.histories.restore();
    assert.deepEqual(started.tell(discover(), asks(), kernel(), attached()).at(-1), 'booted');
    await started.stop();
    return started;
  }

  for (const [what, make] of [
    ['a pipe that nobody writes to', (path: string) => execFileSync('mkfifo', [file(path)])],
    ['a folder', (path: string) => mkdirSync(join(file(path), 'in'), { recursive: true })],
    ['a link to something without end', (path: string) => symlinkSync('/dev/zero', file(path))],
    ['a terabyte of zeroes', (path: string) => execFileSync('truncate', ['-s', '1T', file(path)])],
    ['an empty file', (path: string) => writeFileSync(file(path), '')],
    [
      'a history of a newer version',
      (path: string) => writeFileSync(file(path), '{"format":"brambleboot boots","version":2}\n'),
    ],
  ] as const) {
    test(`${what} is put aside and said, and the board boots`, async (context) => {
      const path = bootsFolder(context);
      mkdirSync(path);
      make(path);
      const { lines } = await startOn(path);
      assert.deepEqual(
        lines.map(({ event, putAside }) => [event, putAside]),
        [['history.faulty', `${file(path)}.faulty`]],
      );
      assert.equal(decodePast('node1', readFileSync(file(path), 'utf8')).answer, 'past');
      assert.deepEqual(readdirSync(path).sort(), ['node1.jsonl', 'node1.jsonl.faulty']);
    });
  }

  test('any bytes at all keep no server from starting, and are put aside where they are no history', async (context) => {
    const path = bootsFolder(context);
    await startOn(path);
    const sound = readFileSync(file(path));
    const damaged = fc
      .tuple(fc.nat(sound.length), fc.uint8Array({ minLength: 1, maxLength: 8 }))
      .map(([at, bytes]) => Buffer.concat([sound.subarray(0, at), bytes, sound.subarray(at + bytes.length)]));
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged, fc.uint8Array()), async (bytes) => {
        writeFileSync(file(path), bytes);
        const { lines } = await startOn(path);
        const read = decodePast('node1', Buffer.from(bytes).toString('utf8'));
        const faulty = read.answer === 'foreign' || read.lost > 0;
        assert.deepEqual(
          lines.map(({ event }) => event),
          faulty ? ['history.faulty'] : [],
        );
        if (faulty) assert.deepEqual(readFileSync(`${file(path)}.faulty`), Buffer.from(bytes));
      }),
      { numRuns: 150 },
    );
  });

  test('of a damaged file the boots that can be read stay, and the file is whole again', async (context) => {
    const path = bootsFolder(context);
    for (let times = 0; times < 3; times += 1) await startOn(path);
    const lines = readFileSync(file(path), 'utf8').split('\n');
    writeFileSync(file(path), [lines[0], lines[1], lines[2]?.slice(0, 40), lines[3], ''].join('\n'));
    const { lines: said } = await startOn(path);
    assert.deepEqual([said[0]?.['kept'], said[0]?.['lost']], [2, 1]);
    const verdict = decodePast('node1', readFileSync(file(path), 'utf8'));
    assert.ok(verdict.answer === 'past' && verdict.lost === 0);
    assert.equal(verdict.past.boots.length, 3);
  });

  test('a folder that can neither be made nor read keeps no board from booting', async (context) => {
    const path = bootsFolder(context);
    writeFileSync(path, 'a file');
    const { events } = await startOn(path);
    assert.deepEqual([...new Set(events())], ['history.read.failed', 'history.write.failed']);
    assert.equal(readFileSync(path, 'utf8'), 'a file');
  });

  test('what a killed process left half written is swept out; what is not ours is left alone', async (context) => {
    const path = bootsFolder(context);
    mkdirSync(path);
    for (const name of ['node1.jsonl.new', 'gone.jsonl.new', 'notes.txt', 'Gone.jsonl'])
      writeFileSync(join(path, name), 'x');
    await startOn(path);
    assert.deepEqual(readdirSync(path).sort(), ['Gone.jsonl', 'node1.jsonl', 'notes.txt']);
  });

  test('histories of boards that are not in the inventory stay, up to a number; the oldest go', async (context) => {
    const path = bootsFolder(context);
    mkdirSync(path);
    for (let index = 0; index < BOOT_HISTORIES_LEFT_BEHIND_MAX + 5; index += 1) {
      const name = join(path, `gone${index}.jsonl`);
      writeFileSync(name, '');
      utimesSync(name, 1000 + index, 1000 + index);
    }
    symlinkSync('nowhere', join(path, 'link.jsonl.faulty')); // as a link is put aside: the youngest of all
    const { lines } = await startOn(path);
    assert.deepEqual(lines, [{ event: 'history.swept', files: 6 }]);
    const left = readdirSync(path);
    assert.equal(left.length, BOOT_HISTORIES_LEFT_BEHIND_MAX + 1);
    assert.ok(!left.includes('gone5.jsonl') && left.includes('gone6.jsonl'));
  });

  test('a file is read no further than a history can be long', async (context) => {
    const path = bootsFolder(context);
    await startOn(path);
    const line = `${' '.repeat(1023)}\n`;
    writeFileSync(file(path), readFileSync(file(path), 'utf8') + line.repeat(BOOT_HISTORY_BYTES_MAX / 512));
    const { events } = await startOn(path);
    assert.deepEqual(events(), ['history.faulty']);
  });
});

test('a board that goes is written and forgotten, and known again when it comes back', async (context) => {
  const path = bootsFolder(context);
  const { histories, journal, kept, tell, stop } = processOn(path, ['node1']);
  await histories.restore();
  await kept.begin(['node2']);
  tell(discover('node2'), asks('node2'));
  await kept.end('node2');
  assert.deepEqual(readdirSync(path), ['node2.jsonl']);
  assert.deepEqual(journal.life('node2').boots, []);
  assert.deepEqual(await kept.begin(['node2']), [{ kind: 'resumed', board: 'node2', stage: 'tftp' }]);
  assert.equal(journal.life('node2').boots.length, 1);
  await stop();
});
