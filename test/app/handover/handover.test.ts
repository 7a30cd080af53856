// What is done with connections at a stop and at a start, without a kernel: sockets are numbers here, and no one's.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Handover, type HandoverOptions } from '../../../src/app/handover/handover.js';
import { frozenBoards, HandoverFolder, handoverFolder } from '../../../src/app/handover/handover-folder.js';
import type { Keeping } from '../../../src/app/handover/keeping.js';
import type { Board } from '../../../src/boards/board.js';
import type { FrozenConnection } from '../../../src/nbd/handover/frozen-connection.js';
import type { NbdServer } from '../../../src/nbd/server.js';
import type { HostTime } from '../../../src/os/host-time.js';
import { until } from '../../support/commands.js';
import { FakeClock } from '../../support/fake-clock.js';
import { fileBoard } from '../../support/lane-server.js';
import { keptLog } from '../../support/log-lines.js';
import { scratchFolder } from '../../support/scratch.js';

const LIMIT_MS = 600_000;
const NONE = new Uint8Array(0);
const TCP = {
  ...{ local: NONE, peer: NONE, sendSequence: 1, receiveSequence: 2, unacknowledged: NONE, unsent: NONE },
  ...{ segmentBytes: 1448, options: 7, sendScale: 7, receiveScale: 7, timestamp: 1, window: NONE },
};

function connection(board: string): FrozenConnection {
  return {
    ...{ board, peer: '10.0.0.5', terms: { replies: 'simple', tellsAllocation: false } },
    ...{ socket: { kind: 'stored', name: board }, input: Uint8Array.of(1, 2), begun: undefined },
    ...{ unanswered: [], unsent: new Uint8Array(0) },
  };
}

interface World {
  readonly state: string;
  readonly steps: string[];
  readonly said: ReturnType<typeof keptLog>;
  readonly keeping: Keeping;
  now: HostTime;
  process(options?: Partial<HandoverOptions>): Handover;
}

async function world(
  context: TestContext,
  boards: readonly Board[],
  frozen: readonly FrozenConnection[],
): Promise<World> {
  const state = scratchFolder(context);
  const steps: string[] = [];
  const said = keptLog();
  const keeper = {
    keeps: () => true,
    keepOut: async () => true,
    hold: async () => {},
    keep: () => ({
      socket: { kind: 'stored', name: '' } as const,
      received: new Uint8Array(0),
      unsent: new Uint8Array(0),
    }),
    fetch(socket: FrozenConnection['socket']) {
      steps.push(`fetch ${socket.kind === 'stored' ? socket.name : ''}`);
      throw new Error('there is no socket here');
    },
  };
  const keeping: Keeping = {
    keeper,
    settled: async () => true,
    isHolding: async () => false,
    letThrough: async () => void steps.push('let through'),
    hold: 'ours',
    release: async (hold) => void steps.push(hold === undefined ? 'release' : `release ${hold}`),
  };
  const nbdServer: Pick<NbdServer, 'freeze' | 'thaw' | 'connections'> = {
    freeze: async () => ({ frozen, lost: [], busy: new Set<string>() }),
    thaw: async () => {},
    connections: () => [],
  };
  const made: World = {
    ...{ state, steps, said, keeping, now: { hostBoot: 'one', uptimeMs: 1000 } },
    process: (options = {}) =>
      new Handover({
        look: async () => ({ answer: 'can', keeping }),
        store: { fetch: (socket) => keeper.fetch(socket), empty: async () => ({ unclaimed: [], isEmpty: true }) },
        folder: new HandoverFolder(handoverFolder(state)),
        nbdServer,
        boards: () => boards,
        limitMs: LIMIT_MS,
        hostTime: () => made.now,
        clock: new FakeClock(),
        log: said.log,
        ...options,
      }),
  };
  return made;
}

function linesOf({ said }: World, event: string) {
  return said.lines.filter((line) => line.event === event);
}

describe('a handover', () => {
  test('writes each board down for itself, closed to others, and takes it away when it is read', async (context) => {
    const boards = [await fileBoard(context, 'node1', 4096), await fileBoard(context, 'node2', 4096)];
    const { process, state, steps } = await world(
      context,
      boards.map(({ board }) => board),
      [connection('node1'), connection('node2'), connection('node1')],
    );
    assert.deepEqual(frozenBoards(state), []);
    const first = process();
    await first.thaw();
    assert.deepEqual(steps, []);
    assert.deepEqual(await first.freeze(), { kept: ['node1', 'node2'], busy: new Set() });
    assert.deepEqual([...frozenBoards(state)].sort(), ['node1', 'node2']);
    assert.deepEqual(readdirSync(handoverFolder(state)).sort(), ['node1', 'node2']);
    assert.equal(statSync(handoverFolder(state)).mode & 0o777, 0o700);
    await process().thaw();
    assert.deepEqual(steps, ['fetch node1', 'fetch node1', 'fetch node2', 'let through']);
    assert.deepEqual(frozenBoards(state), []);
  });

  for (const [what, now, because] of [
    ['the host was rebooted', { hostBoot: 'two', uptimeMs: 2000 }, /started anew/],
    ['nobody knows whether it was', { hostBoot: undefined, uptimeMs: 2000 }, /started anew/],
    ['it is too long ago', { hostBoot: 'one', uptimeMs: 2000 + LIMIT_MS }, /handover_limit is 600 s/],
  ] as const) {
    test(`goes on with nothing where ${what}, and says so`, async (context) => {
      const { board } = await fileBoard(context, 'node1', 4096);
      const on = await world(context, [board], [connection('node1')]);
      const first = on.process();
      await first.thaw();
      await first.freeze();
      on.now = now;
      await on.process().thaw();
      const [told] = linesOf(on, 'handover.dropped');
      assert.equal(told?.['board'], 'node1');
      assert.match(String(told?.['because']), because);
    });
  }

  test('goes on with nothing where another file lies under the disk, or the board is gone', async (context) => {
    const before = await fileBoard(context, 'node1', 4096);
    const after = await fileBoard(context, 'node1', 4096);
    const on = await world(context, [before.board], [connection('node1')]);
    for (const [boards, because] of [
      [[after.board], /another one/],
      [[], /inventory no longer/],
    ] as const) {
      const first = on.process();
      await first.thaw();
      await first.freeze();
      await on.process({ boards: () => boards }).thaw();
      assert.match(String(linesOf(on, 'handover.dropped').at(-1)?.['because']), because);
    }
  });

  test('survives whatever lies in its folder', async (context) => {
    const on = await world(context, [], []);
    const folder = handoverFolder(on.state);
    mkdirSync(join(folder, 'node1'), { recursive: true });
    writeFileSync(join(folder, 'node2'), '{"version":1}\n00000000\n');
    writeFileSync(join(folder, 'node3'), '');
    symlinkSync('/etc/passwd', join(folder, 'node4'));
    writeFileSync(join(folder, 'node5.new'), 'half');
    await on.process().thaw();
    const told = linesOf(on, 'handover.dropped').map(({ board }) => board);
    assert.deepEqual(told, ['node1', 'node2', 'node3', 'node4']);
    assert.deepEqual(readdirSync(folder), []);
  });

  test('says what a service manager had for nobody, and that it does not answer', async (context) => {
    const { board } = await fileBoard(context, 'node1', 4096);
    const on = await world(context, [board], [connection('node1')]);
    const unclaimed = [{ name: 'one', because: 'nobody knows it' }];
    const store = { fetch: () => 7, empty: async () => ({ unclaimed, isEmpty: false }) };
    const deaf = on.process({
      store,
      look: async () => ({ answer: 'can', keeping: { ...on.keeping, settled: async () => false } }),
    });
    await deaf.thaw();
    assert.equal(linesOf(on, 'handover.unclaimed')[0]?.['because'], 'nobody knows it');
    assert.match(String(linesOf(on, 'handover.store.silent')[0]?.['means']), /not closed/);
    assert.deepEqual((await deaf.freeze()).kept, ['node1'], 'and is believed to have it all the same');
    assert.match(String(linesOf(on, 'handover.store.silent')[1]?.['means']), /lose their disks/);
  });

  test('takes away what keeps boards out under the name that it had before the state folder was moved', async (context) => {
    const boards = [await fileBoard(context, 'node1', 4096)];
    const on = await world(
      context,
      boards.map(({ board }) => board),
      [connection('node1')],
    );
    const first = on.process({ look: async () => ({ answer: 'can', keeping: { ...on.keeping, hold: 'another' } }) });
    await first.thaw();
    await first.freeze();
    on.steps.length = 0;
    await on.process().thaw();
    assert.deepEqual(on.steps, ['fetch node1', 'let through', 'release another']);
  });

  test('goes on with nothing where the image was written meanwhile', async (context) => {
    const disk = await fileBoard(context, 'node1', 4096);
    const on = await world(context, [disk.board], [connection('node1')]);
    const first = on.process();
    await first.thaw();
    await first.freeze();
    utimesSync(disk.path, 1, 2);
    await on.process().thaw();
    assert.match(String(linesOf(on, 'handover.dropped')[0]?.['because']), /written or replaced/);
  });

  test('leaves what it may not go on with to a start that may, unless its board comes anew', async (context) => {
    const boards = [await fileBoard(context, 'node1', 4096), await fileBoard(context, 'node2', 4096)];
    const frozen = ['node1', 'node2'].map((board) => ({
      ...connection(board),
      socket: { kind: 'tcp', tcp: TCP } as const,
    }));
    const on = await world(
      context,
      boards.map(({ board }) => board),
      frozen,
    );
    const first = on.process();
    await first.thaw();
    await first.freeze();
    const lacking = on.process({ look: async () => ({ answer: 'cannot', because: 'no power', remedy: 'get some' }) });
    await lacking.thaw();
    assert.deepEqual(
      linesOf(on, 'handover.left').map(({ board }) => board),
      ['node1', 'node2'],
    );
    lacking.attached('node3');
    lacking.attached('node2');
    await until(() => !existsSync(join(on.state, 'handover', 'node2')), 'what is left of it to go');
    assert.ok(existsSync(join(on.state, 'handover', 'node1')));
  });

  test('says at the start what is missing, and freezes nothing then', async (context) => {
    const on = await world(context, [], [connection('node1')]);
    const lacking = on.process({ look: async () => ({ answer: 'cannot', because: 'no power', remedy: 'get some' }) });
    await lacking.thaw();
    assert.equal(linesOf(on, 'handover.impossible')[0]?.['remedy'], 'get some');
    assert.deepEqual(await lacking.freeze(), { kept: [], busy: new Set() });
    assert.deepEqual(lacking.status(), { lacks: 'no power', remedy: 'get some', atRisk: [] });
  });
});
