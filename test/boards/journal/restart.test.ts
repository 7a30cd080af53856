// What a restart of ours does to boots: the journal of one process, written down, remembered by the next.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BoardEvent } from '../../../src/boards/journal/events.js';
import { Journal } from '../../../src/boards/journal/journal.js';
import { boardState } from '../../../src/boards/journal/status.js';
import { FakeClock } from '../../support/fake-clock.js';

const BOARD = { board: 'node1' } as const;
const PEER = '10.0.0.5';
const discover: BoardEvent = {
  ...{ ...BOARD, kind: 'discover', mac: 'dc:a6:32:01:02:03', serial: 'bf9fed6f' },
  ...{ model: 'Pi 4', interfaceName: 'eth0', answer: 'offered' },
};
const asks: BoardEvent = { ...BOARD, kind: 'bootFileRequested', peer: PEER, path: 'config.txt' };
const address: BoardEvent = { ...BOARD, kind: 'addressRequested', mac: 'm', address: PEER };
const attached: BoardEvent = { ...BOARD, kind: 'attached', peer: PEER };
const detached: BoardEvent = { ...BOARD, kind: 'detached', peer: PEER, because: 'server stopped' };
const file = read('config.txt', 'other');
const kernel = read('kernel8.img', 'kernel');

function read(path: string, role: 'kernel' | 'other'): BoardEvent {
  const facts = { peer: PEER, path, sizeBytes: 1000, sentBytes: 1000, durationMs: 10 };
  return { ...BOARD, kind: 'transferEnded', role, outcome: 'complete', ...facts };
}

/** A process that saw these events and ended, and the one after it. The clock of each begins anew, as the system's does. */
function acrossRestart(
  before: readonly BoardEvent[],
  { absentMs, end = 'stop' }: { readonly absentMs: number | undefined; readonly end?: 'stop' | 'crash' },
) {
  const first = new Journal(new FakeClock());
  for (const event of before) first.record(event);
  if (end === 'stop') first.stopping();
  first.record(detached);
  const clock = new FakeClock();
  const journal = new Journal(clock);
  const resumed = journal.remember('node1', first.past('node1'), absentMs);
  const tell = (...events: BoardEvent[]) => events.flatMap((event) => journal.record(event)).map(({ kind }) => kind);
  return { clock, journal, tell, resumed, newest: () => journal.life('node1').boots[0] };
}

describe('a boot under way when the server is restarted', () => {
  test('ends as one boot, with both its parts and the restart between them in its timeline', () => {
    const { clock, tell, resumed, newest, journal } = acrossRestart([discover, asks, file, kernel], { absentMs: 7000 });
    assert.deepEqual(resumed, [{ kind: 'resumed', board: 'node1', stage: 'kernel' }]);
    clock.advance(3000);
    assert.deepEqual(tell(address, attached), ['stage', 'booted']);
    assert.deepEqual(newest()?.state, { at: 'booted', durationMs: 10_000 });
    assert.deepEqual(
      newest()?.steps.map(({ kind, afterMs }) => [kind, afterMs]),
      [
        ['discover', 0],
        ['file', 0],
        ['file', 0],
        ['restart', 7000],
        ['address', 10_000],
        ['attached', 10_000],
      ],
    );
    assert.equal(journal.life('node1').boots.length, 1);
  });

  test('reads on where it was, at any stage', () => {
    const { tell } = acrossRestart([discover, asks, file], { absentMs: 1000 });
    assert.deepEqual(tell(asks, kernel, address, attached), ['stage', 'stage', 'booted']);
    const offered = acrossRestart([discover], { absentMs: 1000 });
    assert.deepEqual(offered.tell(discover, asks, kernel, attached), ['stage', 'stage', 'booted']);
  });

  test('an attach does not end it where the kernel was not read: the stop was in order, nothing was missed', () => {
    const { tell } = acrossRestart([discover, asks, file], { absentMs: 1000 });
    assert.deepEqual(tell(attached), []);
  });

  test('an attach ends it after a crash: its last second is not known', () => {
    const { tell } = acrossRestart([discover, asks, file], { absentMs: 1000, end: 'crash' });
    assert.deepEqual(tell(attached), ['booted']);
  });

  test('has all its patience anew, and its failure says that we were away', () => {
    const { clock, journal, newest } = acrossRestart([discover, asks, file], { absentMs: 300_000 });
    clock.advance(59_000);
    assert.deepEqual(journal.expire(), []);
    clock.advance(1000);
    assert.deepEqual(
      journal.expire().map(({ kind }) => kind),
      ['failed'],
    );
    const state = newest()?.state;
    assert.ok(state?.at === 'failed' && state.because.startsWith('the server was restarted in the middle, and'));
  });

  test('is given up without a failure counted where we were away too long, or nobody knows how long', () => {
    for (const absentMs of [600_001, undefined]) {
      const { resumed, newest, tell } = acrossRestart([discover, asks, kernel], { absentMs });
      assert.deepEqual(resumed, []);
      assert.equal(newest()?.state.at, 'failed');
      assert.deepEqual(tell(attached), []);
    }
  });

  test('survives two restarts in a row, and says so once', () => {
    const { journal } = acrossRestart([discover, asks, kernel], { absentMs: 1000 });
    journal.stopping();
    const next = new Journal(new FakeClock());
    next.remember('node1', journal.past('node1'), 1000);
    assert.deepEqual(
      next.record(attached).map(({ kind }) => kind),
      ['booted'],
    );
    const kinds = next.life('node1').boots[0]?.steps.map(({ kind }) => kind);
    assert.deepEqual(kinds, ['discover', 'file', 'restart', 'attached']);
  });
});

describe('a disk in use when the server is restarted', () => {
  const booted = [discover, asks, kernel, attached];

  test('is taken again by its board, and that is no boot', () => {
    for (const end of ['stop', 'crash'] as const) {
      const first = end === 'stop' ? booted : booted.slice(0, 4);
      const { tell, newest } = acrossRestart(first, { absentMs: 2000, end });
      assert.deepEqual(tell(attached), []);
      assert.equal(newest()?.state.at, 'booted');
      assert.equal(newest()?.steps.at(-1)?.kind, 'attached');
    }
  });

  test('is taken again, or not, under a stray request for files: neither a boot nor a failed one', () => {
    const stray = acrossRestart([...booted, asks, kernel], { absentMs: 2000 });
    assert.deepEqual(stray.tell(attached), []);
    stray.clock.advance(300_000);
    assert.deepEqual(stray.journal.expire(), []);
    assert.equal(boardState(stray.journal.life('node1')), 'running');
    const gone = acrossRestart([...booted, asks], { absentMs: 2000 });
    gone.clock.advance(300_000);
    assert.deepEqual(gone.journal.expire(), []);
    const after = acrossRestart(booted, { absentMs: 2000 });
    assert.deepEqual(after.tell(asks, file, attached), ['started']);
  });

  test('is attached by a board that booted anew meanwhile, and that is a boot', () => {
    const { tell } = acrossRestart(booted, { absentMs: 2000 });
    assert.deepEqual(tell(discover, asks, kernel, attached), ['started', 'stage', 'stage', 'booted']);
  });

  test('has the restart in its timeline', () => {
    const { newest } = acrossRestart(booted, { absentMs: 2000 });
    const steps = newest()
      ?.steps.slice(-2)
      .map(({ kind, text }) => [kind, text]);
    assert.deepEqual(steps, [
      ['attached', 'disk attached by 10.0.0.5'],
      ['restart', 'the server was restarted'],
    ]);
  });
});

test('where the past is known, what begins soon after our start has its beginning too', () => {
  const { tell } = acrossRestart([], { absentMs: 1000 });
  assert.deepEqual(tell(address), []);
  assert.deepEqual(tell(asks, file, attached), ['started']);
});

test('who asks for the files of a running board again and again pushes none of its boots out', () => {
  const clock = new FakeClock();
  const journal = new Journal(clock);
  for (const event of [discover, asks, kernel, attached]) journal.record(event);
  for (let round = 0; round < 50; round += 1) {
    clock.advance(600_000);
    journal.record(asks);
    clock.advance(100_000);
    journal.expire();
  }
  assert.deepEqual(
    journal.life('node1').boots.map(({ state }) => state.at),
    ['dismissed', 'booted'],
  );
});

test('a crash leaves on disk who had it: its last change was told as one that matters', () => {
  const told: string[] = [];
  const journal = new Journal(new FakeClock(), (board, weight) => void told.push(`${board} ${weight}`));
  for (const event of [discover, file, attached, discover]) journal.record(event);
  assert.deepEqual(told, ['node1 heavy', 'node1 light', 'node1 heavy', 'node1 light']);
});
