import { type Clock, passed } from '../../base/clock.js';
import {
  NBD_ANSWERS_MS,
  NBD_HALT_MS,
  NBD_SEND_QUEUE_LOOK_MS,
  NBD_SEND_QUEUE_MS,
  NBD_STOP_HAGGLE_LOOK_MS,
  NBD_STOP_HAGGLE_MS,
} from '../../base/limits.js';
import type { Impatience } from '../lanes/carried-connection.js';
import type { FrozenConnection, LostConnection } from './frozen-connection.js';
import type { HaltedConnection, HaltVerdict } from './halted-connection.js';
import { type ConnectionKeeper, reasonOf } from './keeper.js';

/** One that uses a disk. */
export interface Haltable {
  readonly board: string | undefined;
  readonly peer: string;
  halt(impatience: Impatience): Promise<HaltVerdict>;
}

export interface FreezingWorld<Of> {
  readonly keeper: ConnectionKeeper;
  readonly clock: Clock;
  /** Those that are to be taken out: asked more than once, as some may come meanwhile. */
  readonly connections: () => readonly Of[];
  /** Whether anybody is choosing a disk. */
  readonly areHaggling: () => boolean;
  /** Of our listeners. */
  readonly ports: readonly number[];
  /** Called when nobody who comes would be refused any more. */
  stopListening(): Promise<void>;
  /** Of ours: its connection is lost like others. */
  bug(error: unknown): void;
}

export interface Frozen {
  readonly frozen: readonly FrozenConnection[];
  /** Their peers lose them. */
  readonly lost: readonly LostConnection[];
  /** Boards, of both, to whose disks something of ours may still be done. */
  readonly busy: ReadonlySet<string>;
}

/**
 * Takes all these out of this process within NBD_HALT_MS and what the packet filter needs: what was read of them is done and answered
 * if that takes no longer than NBD_ANSWERS_MS, and otherwise handed on. Nobody serves any of them after that.
 */
export async function freezeConnections<Of extends Haltable>(world: FreezingWorld<Of>): Promise<Frozen> {
  const { keeper, clock, ports } = world;
  if (world.connections().length === 0 && !world.areHaggling()) return frozenOf([], [], []);
  // First: who came after all were asked would have a disk, and lose it.
  if (!(await keptOut(world))) await world.stopListening();
  await haggled(world);
  const halting = new Halting<Of>(world);
  await halting.halt(world.connections());
  await halting.halt(world.connections());
  const { halted, lost } = halting;
  if (halted.length === 0) return frozenOf([], lost, halted);
  for (const each of halted) each.sendReplies();
  await sendQueuesEmpty(halted, clock);
  try {
    await keeper.hold(
      halted.flatMap(({ ends }) => ends ?? []),
      ports,
    );
  } catch (error) {
    const because = reasonOf(error, world.bug);
    return frozenOf([], [...lost, ...halted.map(({ board, peer }) => ({ board, peer, because }))], halted);
  }
  await world.stopListening();
  const frozen: FrozenConnection[] = [];
  for (const each of halted) {
    try {
      frozen.push(each.freeze(keeper));
    } catch (error) {
      lost.push({ board: each.board, peer: each.peer, because: reasonOf(error, world.bug) });
    }
  }
  return frozenOf(frozen, lost, halted);
}

async function keptOut<Of>({ keeper, ports, bug }: FreezingWorld<Of>): Promise<boolean> {
  try {
    return await keeper.keepOut(ports);
  } catch (error) {
    reasonOf(error, bug);
    return true; // nobody is refused, and it may go better when more hangs on it
  }
}

/** Who is choosing a disk, for its board's boot, is let have it first: nobody could go on with half a handshake. */
async function haggled<Of>({ areHaggling, clock }: FreezingWorld<Of>): Promise<void> {
  for (let waitedMs = 0; waitedMs < NBD_STOP_HAGGLE_MS; waitedMs += NBD_STOP_HAGGLE_LOOK_MS) {
    await passed(clock, NBD_STOP_HAGGLE_LOOK_MS); // at least once: one may have come that nobody has accepted yet
    if (!areHaggling()) return;
  }
}

function frozenOf(
  frozen: readonly FrozenConnection[],
  lost: readonly LostConnection[],
  halted: readonly HaltedConnection[],
): Frozen {
  const busy = [...lost, ...halted.filter(({ isBusy }) => isBusy), ...frozen.filter(isUnderWay)];
  return { frozen, lost, busy: new Set(busy.map(({ board }) => board)) };
}

function isUnderWay({ unanswered }: FrozenConnection): boolean {
  return unanswered.length > 0;
}

/** Connections that are being halted, all against the same clock. */
class Halting<Of extends Haltable> {
  readonly halted: HaltedConnection[] = [];
  readonly lost: LostConnection[] = [];
  readonly #world: FreezingWorld<Of>;
  readonly #begun = new Set<Of>();
  readonly #answersLate: Promise<void>;
  readonly #late: Promise<HaltVerdict>;

  constructor(world: FreezingWorld<Of>) {
    this.#world = world;
    this.#answersLate = passed(world.clock, NBD_ANSWERS_MS);
    this.#late = passed(world.clock, NBD_HALT_MS).then(() => ({ answer: 'stuck', because: HELD_UP }));
  }

  /** Those that it does not know yet. */
  async halt(connections: readonly Of[]): Promise<void> {
    const fresh = connections.filter((connection) => !this.#begun.has(connection));
    for (const connection of fresh) this.#begun.add(connection);
    await Promise.all(fresh.map((connection) => this.#haltOne(connection)));
  }

  async #haltOne(connection: Of): Promise<void> {
    const { board, peer } = connection; // it forgets its board when it is over
    const verdict = await Promise.race([this.#verdictOf(connection), this.#late]);
    if (verdict.answer === 'over' || board === undefined) return;
    if (verdict.answer === 'stuck') {
      this.lost.push({ board, peer, because: verdict.because });
      return;
    }
    await Promise.race([verdict.connection.settled(), this.#answersLate]);
    this.halted.push(verdict.connection);
  }

  async #verdictOf(connection: Of): Promise<HaltVerdict> {
    try {
      return await connection.halt({ clock: this.#world.clock, late: this.#answersLate });
    } catch (error) {
      return { answer: 'stuck', because: reasonOf(error, this.#world.bug) };
    }
  }
}

/** What the peers have acknowledged need not be kept. */
async function sendQueuesEmpty(halted: readonly HaltedConnection[], clock: Clock): Promise<void> {
  for (let waitedMs = 0; waitedMs < NBD_SEND_QUEUE_MS; waitedMs += NBD_SEND_QUEUE_LOOK_MS) {
    if (halted.every((each) => each.unacknowledgedBytes === 0)) return;
    await passed(clock, NBD_SEND_QUEUE_LOOK_MS);
  }
}

const HELD_UP = 'its peer, or its disk, has held up what was under way for longer than a stop may take';
