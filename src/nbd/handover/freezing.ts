import { type Clock, passed } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import { NBD_ANSWERS_MS, NBD_HALT_MS, NBD_SEND_QUEUE_LOOK_MS, NBD_SEND_QUEUE_MS } from '../../base/limits.js';
import type { Impatience } from '../lanes/carried-connection.js';
import type { FrozenConnection, LostConnection } from './frozen-connection.js';
import type { HaltedConnection } from './halted-connection.js';
import type { ConnectionKeeper } from './keeper.js';

/** One that uses a disk. */
export interface Haltable {
  readonly board: string | undefined;
  readonly peer: string;
  halt(impatience: Impatience): Promise<HaltedConnection | string>;
}

export interface FreezingWorld<Of> {
  readonly keeper: ConnectionKeeper;
  readonly clock: Clock;
  /** Those that are to be taken out: asked more than once, as some may come meanwhile. */
  readonly connections: () => readonly Of[];
  /** Of our listeners. */
  readonly ports: readonly number[];
  /** Called when nobody who comes would be refused any more. */
  stopListening(): Promise<void>;
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
  const halting = new Halting<Of>(clock);
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
    return frozenOf([], [...lost, ...halted.map((each) => lostOf(each, messageOf(error)))], halted);
  }
  await world.stopListening();
  const frozen: FrozenConnection[] = [];
  for (const each of halted) {
    try {
      frozen.push(each.freeze(keeper));
    } catch (error) {
      lost.push(lostOf(each, messageOf(error)));
    }
  }
  return frozenOf(frozen, lost, halted);
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
  readonly #begun = new Set<Of>();
  readonly #clock: Clock;
  readonly #answersLate: Promise<void>;
  readonly #late: Promise<string>;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#answersLate = passed(clock, NBD_ANSWERS_MS);
    this.#late = passed(clock, NBD_HALT_MS).then(() => DISK_HANGS);
  }

  /** Those that it does not know yet. */
  async halt(connections: readonly Of[]): Promise<void> {
    const fresh = connections.filter((connection) => !this.#begun.has(connection));
    for (const connection of fresh) this.#begun.add(connection);
    await Promise.all(fresh.map((connection) => this.#haltOne(connection)));
  }

  async #haltOne(connection: Of): Promise<void> {
    const impatience = { clock: this.#clock, late: this.#answersLate };
    const verdict = await Promise.race([connection.halt(impatience).catch(messageOf), this.#late]);
    if (typeof verdict === 'string') {
      this.lost.push(lostOf(connection, verdict));
      return;
    }
    await Promise.race([verdict.settled(), this.#answersLate]);
    this.halted.push(verdict);
  }
}

/** What the peers have acknowledged need not be kept. */
async function sendQueuesEmpty(halted: readonly HaltedConnection[], clock: Clock): Promise<void> {
  for (let waitedMs = 0; waitedMs < NBD_SEND_QUEUE_MS; waitedMs += NBD_SEND_QUEUE_LOOK_MS) {
    if (halted.every((each) => each.unacknowledgedBytes === 0)) return;
    await passed(clock, NBD_SEND_QUEUE_LOOK_MS);
  }
}

function lostOf({ board = '', peer }: Pick<Haltable, 'board' | 'peer'>, because: string): LostConnection {
  return { board, peer, because };
}

const DISK_HANGS = 'its disk, or its peer, has held up what was under way for longer than a stop may take';
