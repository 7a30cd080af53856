import { systemUptimeMs } from '../../base/clock.js';
import { NBD_LANE_SPIN_MS } from '../../base/limits.js';
import { addressOf, giveWay, hasCome } from '../../os/stream-calls.js';
import { CommonField, Field, Figure, type LaneTable } from './lane-table.js';

/**
 * A client with few requests under way asks again as soon as it has its answer. A lane that sleeps meanwhile has to be woken for
 * each of them, which costs more than to do what is asked; so one lane stays awake for a moment, as long as another one has
 * nothing to do and could be there for all other clients.
 */
export class Spin {
  readonly #table: LaneTable;
  readonly #spinning: number;
  readonly #idle: number;
  readonly #glance = new Uint8Array(new SharedArrayBuffer(1));
  readonly #glanceAddress = addressOf(this.#glance);

  constructor(table: LaneTable) {
    this.#table = table;
    this.#spinning = table.common(CommonField.Spinning);
    this.#idle = table.common(CommonField.Idle);
  }

  /** Its client was slept for: has it come as soon as it would have been waited for? */
  judge(record: number): void {
    const { fields, figures } = this.#table;
    const gapMs = systemUptimeMs() - (figures[this.#table.figure(record, Figure.LeftMs)] ?? 0);
    fields[this.#table.field(record, Field.Eager)] = Number(gapMs < NBD_LANE_SPIN_MS);
  }

  /** It is left to the poll. */
  left(record: number): void {
    this.#table.figures[this.#table.figure(record, Figure.LeftMs)] = systemUptimeMs();
  }

  /** Whether there is more of its client by now, or in a moment. */
  finds(record: number): boolean {
    const { fields } = this.#table;
    const eager = this.#table.field(record, Field.Eager);
    if (fields[eager] !== 1 || Atomics.load(fields, this.#idle) === 0) return false;
    if (Atomics.compareExchange(fields, this.#spinning, 0, 1) !== 0) return false;
    const hasMore = this.#look(fields[this.#table.field(record, Field.Socket)] ?? -1);
    Atomics.store(fields, this.#spinning, 0);
    if (!hasMore) fields[eager] = 0;
    return hasMore;
  }

  #look(socket: number): boolean {
    const endMs = systemUptimeMs() + NBD_LANE_SPIN_MS;
    do {
      if (hasCome(socket, this.#glanceAddress)) return true;
      giveWay();
    } while (systemUptimeMs() < endMs && Atomics.load(this.#table.fields, this.#idle) > 0);
    return false;
  }
}
