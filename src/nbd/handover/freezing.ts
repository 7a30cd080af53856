import type { Clock } from '../../base/clock.js';
import { NBD_ANSWERS_MS, NBD_HALT_MS, NBD_SEND_QUEUE_LOOK_MS, NBD_SEND_QUEUE_MS } from '../../base/limits.js';
import type { FrozenConnection, LostConnection } from './frozen-connection.js';
import type { HaltedConnection } from './halted-connection.js';
import type { ConnectionKeeper } from './keeper.js';

/** One that uses a disk. */
export interface Haltable {
  readonly board: string | undefined;
  readonly peer: string;
  halt(): Promise<HaltedConnection | string>;
}

export interface FreezingWorld {
  readonly keeper: ConnectionKeeper;
  readonly clock: Clock;
  /** Of our listeners. */
  readonly ports: readonly number[];
  /** Called when nobody who comes would be refused any more. */
  stopListening(): Promise<void>;
}

export interface Frozen<Of> {
  readonly frozen: readonly FrozenConnection[];
  /** Their peers lose them. */
  readonly lost: readonly LostConnection[];
  /** Nobody serves these any more. */
  readonly halted: readonly Of[];
}

interface Halted<Of> {
  readonly of: Of;
  readonly halted: HaltedConnection;
}

/**
 * Takes all these out of this process within NBD_HALT_MS and what the packet filter needs: what was read of them is done and answered
 * if that takes no longer than NBD_ANSWERS_MS, and otherwise handed on.
 */
export async function freezeConnections<Of extends Haltable>(
  connections: readonly Of[],
  world: FreezingWorld,
): Promise<Frozen<Of>> {
  const { keeper, clock, ports } = world;
  const lost: LostConnection[] = [];
  const all = await haltAll(connections, clock, lost);
  const given = all.map(({ of }) => of);
  if (all.length === 0) return { frozen: [], lost, halted: given };
  const halted = all.map((each) => each.halted);
  await Promise.race([Promise.all(halted.map((each) => each.settled())), passed(clock, NBD_ANSWERS_MS)]);
  for (const each of halted) each.sendReplies();
  await sendQueuesEmpty(halted, clock);
  try {
    await keeper.hold(
      halted.flatMap(({ ends }) => ends ?? []),
      ports,
    );
  } catch (error) {
    return { frozen: [], lost: [...lost, ...halted.map((each) => lostOf(each, messageOf(error)))], halted: given };
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
  return { frozen, lost, halted: given };
}

async function haltAll<Of extends Haltable>(
  connections: readonly Of[],
  clock: Clock,
  lost: LostConnection[],
): Promise<readonly Halted<Of>[]> {
  const late = passed(clock, NBD_HALT_MS).then(() => DISK_HANGS);
  const halted = await Promise.all(
    connections.map(async (connection) => {
      const verdict = await Promise.race([connection.halt(), late]);
      if (typeof verdict === 'string') lost.push(lostOf(connection, verdict));
      return typeof verdict === 'string' ? [] : [{ of: connection, halted: verdict }];
    }),
  );
  return halted.flat();
}

/** What the peers have acknowledged need not be kept. */
async function sendQueuesEmpty(halted: readonly HaltedConnection[], clock: Clock): Promise<void> {
  for (let waitedMs = 0; waitedMs < NBD_SEND_QUEUE_MS; waitedMs += NBD_SEND_QUEUE_LOOK_MS) {
    if (halted.every((each) => each.unacknowledgedBytes === 0)) return;
    await passed(clock, NBD_SEND_QUEUE_LOOK_MS);
  }
}

function passed(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.after(delayMs, resolve));
}

function lostOf({ board = '', peer }: Pick<Haltable, 'board' | 'peer'>, because: string): LostConnection {
  return { board, peer, because };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const DISK_HANGS = 'its disk, or its peer, has held up what was under way for longer than a stop may take';
