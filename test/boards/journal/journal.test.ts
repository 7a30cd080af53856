import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BoardEvent } from '../../../src/boards/journal/events.js';
import { Journal } from '../../../src/boards/journal/journal.js';
import { boardState, lastBoot } from '../../../src/boards/journal/status.js';
import { FakeClock } from '../../support/fake-clock.js';

const BOARD = { board: 'node1' } as const;
const discover: BoardEvent = {
  ...BOARD,
  kind: 'discover',
  mac: 'dc:a6:32:01:02:03',
  serial: 'bf9fed6f',
  model: 'Pi 4 Model B',
  interfaceName: 'eth0',
  answer: 'offered',
};
const asks = (path: string): BoardEvent => ({ ...BOARD, kind: 'bootFileRequested', peer: '10.0.0.5', path });
const attached: BoardEvent = { ...BOARD, kind: 'attached', peer: '10.0.0.5' };
const detached: BoardEvent = { ...BOARD, kind: 'detached', peer: '10.0.0.5', because: 'connection lost' };

function read(path: string, role: 'kernel' | 'other' | 'unknown' = 'other'): BoardEvent {
  const facts = { peer: '10.0.0.5', path, sizeBytes: 1000, sentBytes: 1000, durationMs: 10 };
  return { ...BOARD, kind: 'transferEnded', role, outcome: 'complete', ...facts };
}

function journalAt(clock: FakeClock) {
  const journal = new Journal(clock);
  const tell = (...events: BoardEvent[]) => events.flatMap((event) => journal.record(event)).map((news) => news.kind);
  const state = () => journal.life('node1').boots[0]?.state;
  return { journal, tell, state };
}

describe('the journal of boots', () => {
  test('writes that wait for space are steps of the boot that they belong to, and no news of it', () => {
    const { journal, tell, state } = journalAt(new FakeClock());
    tell(discover, asks('kernel8.img'), read('kernel8.img', 'kernel'), attached);
    const full: BoardEvent = { ...BOARD, kind: 'spaceAwaited' };
    const over: BoardEvent = { ...BOARD, kind: 'spaceAwaitOver', because: 'done', waitedMs: 61_000 };
    assert.deepEqual(tell(full, over, full, { ...over, because: 'givenUp' }), []);
    assert.equal(state()?.at, 'booted');
    assert.deepEqual(
      journal
        .life('node1')
        .boots[0]?.steps.filter(({ kind }) => kind === 'space')
        .map(({ text }) => text),
      [
        'the filesystem under its disk is full: its writes wait for space',
        'its writes go on, after 61 s without space',
        'the filesystem under its disk is full: its writes wait for space',
        'its writes were given up with their connection, after 61 s without space',
      ],
    );
    assert.deepEqual(journalAt(new FakeClock()).tell(full, over), [], 'nor of a board that was never seen to boot');
  });

  test('a disk that fails, and is taken up again, is a step of the boot that it belongs to', () => {
    const { journal, tell } = journalAt(new FakeClock());
    tell(discover, asks('kernel8.img'), read('kernel8.img', 'kernel'), attached);
    assert.deepEqual(tell({ ...BOARD, kind: 'diskFailed' }, { ...BOARD, kind: 'diskReopened' }), []);
    assert.deepEqual(
      journal.life('node1').boots[0]?.steps.flatMap(({ kind, text }) => (kind === 'disk' ? [text] : [])),
      ['a flush of its disk failed: what it wrote before may be lost', 'its disk was reopened and is flushed again'],
    );
  });

  test('a boot goes from DISCOVER over files and kernel to its disk', () => {
    const clock = new FakeClock();
    const { journal, tell, state } = journalAt(clock);
    assert.deepEqual(tell(discover), ['started']);
    clock.advance(1000);
    assert.deepEqual(tell(discover), []);
    assert.deepEqual(tell(asks('config.txt'), read('config.txt')), ['stage']);
    assert.deepEqual(tell(asks('kernel8.img'), read('kernel8.img', 'kernel')), ['stage']);
    clock.advance(20_000);
    assert.deepEqual(tell({ ...BOARD, kind: 'addressRequested', mac: 'dc:a6:32:01:02:03', address: '10.0.0.5' }), [
      'stage',
    ]);
    assert.deepEqual(tell(attached), ['booted']);
    assert.deepEqual(state(), { at: 'booted', durationMs: 21_000 });
    assert.deepEqual(
      journal.life('node1').boots[0]?.steps.map((step) => [step.afterMs, step.kind]),
      [
        [0, 'discover'],
        [1000, 'file'],
        [1000, 'file'],
        [21_000, 'address'],
        [21_000, 'attached'],
      ],
    );
  });

  test('a board that was refused its disk has not booted because another address then has it', () => {
    const clock = new FakeClock();
    const { journal, tell, state } = journalAt(clock);
    const refused = (peer: string): BoardEvent => ({
      ...{ ...BOARD, kind: 'refused', peer, exportName: 'node1', reason: 'tls', because: 'it is served over TLS only' },
    });
    const by = (peer: string): BoardEvent[] => [
      { ...BOARD, kind: 'attached', peer },
      { ...BOARD, kind: 'detached', peer, because: 'disconnected' },
    ];
    const boot = [discover, asks('kernel8.img'), read('kernel8.img', 'kernel')];
    tell(...boot, refused('10.0.0.5'));
    assert.deepEqual(tell(...by('10.0.0.9')), []);
    assert.equal(state()?.at, 'underWay');
    assert.match(journal.life('node1').boots[0]?.steps.at(-2)?.text ?? '', /disk attached by 10\.0\.0\.9/);
    clock.advance(600_000);
    assert.deepEqual(
      journal.expire().map(({ kind }) => kind),
      ['failed'],
    );
    assert.deepEqual(state(), {
      at: 'failed',
      stage: 'nbd',
      because: 'it asked for its disk and did not get it: it is served over TLS only',
    });

    tell(...boot, refused('10.0.0.5'));
    assert.deepEqual(tell(...by('10.0.0.5')), ['booted'], 'the board itself, at another try');
    tell(...boot, refused('10.0.0.6'));
    assert.deepEqual(tell(...by('10.0.0.9')), [], 'an address that was never seen may be Linux with one of its own');
    tell(...boot, refused('10.0.0.9'));
    assert.deepEqual(
      tell(...by('10.0.0.5')),
      ['booted'],
      'a stranger who is refused keeps no board from having booted',
    );
  });

  test('a program of this host that takes the disk ends no boot', () => {
    const { tell, state } = journalAt(new FakeClock());
    tell(discover, asks('kernel8.img'));
    const peer = 'unix:812@4711';
    const taken: BoardEvent = { ...BOARD, kind: 'attached', peer };
    assert.deepEqual(tell(taken), []);
    assert.deepEqual(tell(read('kernel8.img', 'kernel')), ['stage']);
    assert.deepEqual(tell({ ...BOARD, kind: 'detached', peer, because: 'disconnected' }, taken), []);
    assert.equal(state()?.at, 'underWay');
  });

  test('a disk attached a moment before the kernel’s last ACK is seen ends the boot with it, in the true order', () => {
    const clock = new FakeClock();
    const { journal, tell, state } = journalAt(clock);
    tell(discover, asks('kernel8.img'));
    clock.advance(2_000);
    assert.deepEqual(tell(attached), []);
    clock.advance(3);
    assert.deepEqual(tell(read('kernel8.img', 'kernel')), ['booted']);
    assert.deepEqual(state(), { at: 'booted', durationMs: 2_000 });
    const steps = journal.life('node1').boots[0]?.steps ?? [];
    assert.deepEqual(
      steps.map((step) => [step.afterMs, step.kind]),
      [
        [0, 'discover'],
        [2_000, 'file'],
        [2_000, 'attached'],
      ],
    );
  });

  test('an attachment long before the kernel, or let go before it, ends no boot', () => {
    for (const between of [[], [detached]]) {
      const clock = new FakeClock();
      const { tell } = journalAt(clock);
      tell(discover, asks('kernel8.img'), attached, ...between);
      clock.advance(between.length === 0 ? 5_000 : 3);
      assert.deepEqual(tell(read('kernel8.img', 'kernel')), ['stage']);
    }
  });

  test('bootcode.bin sends a DISCOVER of its own and it is still the same boot', () => {
    const { journal, tell } = journalAt(new FakeClock());
    tell(discover, asks('bootcode.bin'), read('bootcode.bin'), discover, asks('start.elf'));
    assert.equal(journal.life('node1').boots.length, 1);
  });

  test('an attach without a kernel is no boot: a reconnect, or somebody who looks', () => {
    const clock = new FakeClock();
    const { tell } = journalAt(clock);
    clock.advance(600_000);
    assert.deepEqual(tell(attached, detached, attached), []);
    assert.deepEqual(tell(discover, asks('config.txt'), read('config.txt'), attached), ['started', 'stage']);
  });

  test('where nobody can tell the kernel, the attach counts after signs of boot', () => {
    const clock = new FakeClock();
    clock.advance(1);
    const { tell } = journalAt(clock);
    clock.advance(600_000);
    assert.deepEqual(tell(asks('x'), read('x', 'unknown'), attached), ['started', 'booted']);
  });

  test('a kernel read before our own start counts too, if what is seen of the boot has no beginning', () => {
    const clock = new FakeClock();
    const { tell } = journalAt(clock);
    clock.advance(30_000);
    assert.deepEqual(tell({ ...BOARD, kind: 'addressRequested', mac: 'm', address: '10.0.0.5' }, attached), [
      'started',
      'booted',
    ]);
    const other = journalAt(new FakeClock());
    assert.deepEqual(other.tell(discover, attached), ['started']);
  });

  test('each stage runs out of patience with its own reason', () => {
    for (const [events, stage] of [
      [[discover], 'dhcp'],
      [[discover, asks('config.txt'), read('config.txt')], 'tftp'],
      [[discover, asks('k'), read('k', 'kernel')], 'kernel'],
      [
        [
          discover,
          asks('k'),
          read('k', 'kernel'),
          { ...BOARD, kind: 'refused', peer: 'p', exportName: 'x', reason: 'unknown', because: 'b' },
        ],
        'nbd',
      ],
    ] as const satisfies readonly (readonly [readonly BoardEvent[], string])[]) {
      const clock = new FakeClock();
      const { journal, tell, state } = journalAt(clock);
      tell(...events);
      clock.advance(59_000);
      assert.deepEqual(journal.expire(), []);
      clock.advance(240_000);
      assert.deepEqual(
        journal.expire().map((news) => news.kind),
        ['failed'],
      );
      const now = state();
      assert.equal(now?.at === 'failed' ? now.stage : now?.at, stage);
      assert.deepEqual(journal.expire(), []);
    }
  });

  test('files asked for under a board that runs on are no failed boot', () => {
    const clock = new FakeClock();
    const { journal, tell, state } = journalAt(clock);
    tell(discover, asks('k'), read('k', 'kernel'), attached);
    clock.advance(100_000);
    tell(asks('config.txt'));
    clock.advance(300_000);
    assert.deepEqual(journal.expire(), []);
    assert.deepEqual(state(), { at: 'dismissed' });
  });

  test('a board that starts again leaves a failed boot behind, and memory is bounded', () => {
    const { journal, tell } = journalAt(new FakeClock());
    for (let round = 0; round < 100; round += 1) {
      tell(discover, asks('start4.elf'), ...Array.from({ length: 50 }, (_, index) => read(`file${index}`)));
    }
    const { boots } = journal.life('node1');
    assert.equal(boots.length, 20);
    assert.ok(boots.every((boot) => boot.steps.length <= 200));
    assert.equal(boots[1]?.state.at, 'failed');
  });

  test('what no board of the inventory did is not in it', () => {
    const { journal, tell } = journalAt(new FakeClock());
    assert.deepEqual(tell({ ...discover, board: undefined }), []);
    assert.deepEqual(journal.life('node1').boots, []);
  });
});

describe('what is shown of a board', () => {
  test('one whose disk is in use runs, whoever asks for its files, and its real boot stays in sight', () => {
    const { journal, tell } = journalAt(new FakeClock());
    tell(discover, asks('k'), read('k', 'kernel'), attached, asks('config.txt'));
    const life = journal.life('node1');
    assert.equal(boardState(life), 'running');
    assert.equal(lastBoot(life)?.state.at, 'booted');
    tell(detached);
    assert.equal(boardState(journal.life('node1')), 'booting');
  });

  test('a board that lets go of its disk and takes it again has both in its timeline', () => {
    const { journal, tell } = journalAt(new FakeClock());
    tell(discover, asks('k'), read('k', 'kernel'), attached, detached, attached);
    const kinds = journal.life('node1').boots[0]?.steps.map((step) => step.kind);
    assert.deepEqual(kinds, ['discover', 'file', 'attached', 'detached', 'attached']);
  });

  test('a step that repeats itself is one step', () => {
    const { journal, tell } = journalAt(new FakeClock());
    for (let times = 0; times < 50; times += 1) tell(discover);
    assert.equal(journal.life('node1').boots[0]?.steps.length, 1);
  });
});
