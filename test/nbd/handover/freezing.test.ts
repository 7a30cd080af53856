// Who is lost at a stop, who is not, and how long it takes, by a clock that the test moves.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NBD_ANSWERS_MS, NBD_HALT_MS, NBD_SEND_QUEUE_MS, NBD_STOP_HAGGLE_MS } from '../../../src/base/limits.js';
import { type FreezingWorld, freezeConnections, type Haltable } from '../../../src/nbd/handover/freezing.js';
import type { HaltVerdict } from '../../../src/nbd/handover/halted-connection.js';
import { CannotKeep } from '../../../src/nbd/handover/keeper.js';
import { FakeClock } from '../../support/fake-clock.js';
import { OwnKeeper } from '../../support/own-keeper.js';

const PEER = '10.0.0.5';

function connection(board: string, halt: () => Promise<HaltVerdict>): Haltable {
  return { board, peer: PEER, halt };
}

const never = () => new Promise<HaltVerdict>(() => {});

function world(connections: readonly Haltable[], more: Partial<FreezingWorld<Haltable>> = {}) {
  const clock = new FakeClock();
  const bugs: unknown[] = [];
  const given: FreezingWorld<Haltable> = {
    ...{ keeper: new OwnKeeper(), clock, connections: () => connections, ports: [10809] },
    areHaggling: () => false,
    ...{ stopListening: async () => {}, bug: (error) => void bugs.push(error), ...more },
  };
  return { bugs, frozen: inTime(clock, freezeConnections(given)) };
}

/** Lets time pass as fast as it can, until it is done. */
async function inTime<Result>(clock: FakeClock, result: Promise<Result>): Promise<Result> {
  let isDone = false;
  const done = result.finally(() => {
    isDone = true;
  });
  while (!isDone) {
    clock.advance(10);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return done;
}

describe('a stop', () => {
  test('takes five seconds at most, of which two are the packet filter’s', () => {
    assert.ok(NBD_ANSWERS_MS < NBD_HALT_MS);
    assert.ok(NBD_STOP_HAGGLE_MS + NBD_HALT_MS + NBD_SEND_QUEUE_MS <= 3_000);
  });

  test('loses a connection that can’t be halted in time, and says so by its board', async () => {
    const { bugs, frozen } = world([connection('node1', never)]);
    const { lost, busy } = await frozen;
    assert.deepEqual(
      lost.map(({ board, peer }) => [board, peer]),
      [['node1', PEER]],
    );
    assert.match(lost[0]?.because ?? '', /longer than a stop may take/);
    assert.deepEqual([...busy], ['node1']);
    assert.deepEqual(bugs, []);
  });

  test('loses nothing of who has left by himself', async () => {
    const { frozen } = world([connection('node1', async () => ({ answer: 'over' }))]);
    assert.deepEqual(await frozen, { frozen: [], lost: [], busy: new Set() });
  });

  test('tells a bug of ours from what a board’s people have to know', async () => {
    const bug = new TypeError('of ours');
    const failing = connection('node1', () => Promise.reject(bug));
    const refused = connection('node2', () => Promise.reject(new CannotKeep('there is a reason')));
    const { bugs, frozen } = world([failing, refused]);
    const { lost } = await frozen;
    assert.deepEqual(lost.map(({ because }) => because).sort(), ['of ours', 'there is a reason']);
    assert.deepEqual(bugs, [bug]);
  });

  test('keeps newcomers out before it looks who is there, and refuses them only where nobody can keep them', async () => {
    for (const waits of [true, false]) {
      const steps: string[] = [];
      const keeper = new OwnKeeper();
      keeper.keepOut = async () => {
        steps.push('kept out');
        return waits;
      };
      const one = connection('node1', async () => {
        steps.push('halted');
        return { answer: 'over' };
      });
      const stopListening = async () => void steps.push('refused');
      await world([one], { keeper, stopListening }).frozen;
      assert.deepEqual(steps, waits ? ['kept out', 'halted'] : ['kept out', 'refused', 'halted']);
    }
  });

  test('halts those too that come while it waits for others, and each once', async () => {
    const asked: string[] = [];
    const one = (board: string) =>
      connection(board, async () => {
        asked.push(board);
        return { answer: 'over' };
      });
    const connections = [one('node1')];
    const late = one('node2');
    const { frozen } = world([], { connections: () => (asked.length === 0 ? connections : [...connections, late]) });
    await frozen;
    assert.deepEqual(asked, ['node1', 'node2']);
  });
});
