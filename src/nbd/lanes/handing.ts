import type { Arrival } from '../wire/framing.js';
import { Field, mayHand } from './lane-table.js';
import type { LaneTies } from './lane-ties.js';
import type { ConnectionOver } from './messages.js';

/** From a lane to the main thread: what is not for a lane to do. */
export class Handing {
  readonly #ties: LaneTies;

  constructor(ties: LaneTies) {
    this.#ties = ties;
  }

  mayHand(record: number): boolean {
    return mayHand(this.#ties.table, record);
  }

  hand(record: number, arrival: Arrival): void {
    const { table, say } = this.#ties;
    Atomics.add(table.fields, table.field(record, Field.Handed), weightOf(arrival));
    const order = Atomics.add(table.fields, table.field(record, Field.HandedOrder), 1);
    say({ kind: 'handed', order, record, generation: this.#generation(record), arrival });
  }

  /** Replies that are ready still go out: nobody closes a connection that a lane is in. */
  tellOver(record: number, end: ConnectionOver): void {
    const { table } = this.#ties;
    Atomics.add(table.fields, table.field(record, Field.Handed), 1);
    this.#ties.say({ kind: 'over', record, generation: this.#generation(record), end });
  }

  #generation(record: number): number {
    const { table } = this.#ties;
    return table.fields[table.field(record, Field.Generation)] ?? 0;
  }
}

/** What it counts towards NBD_LANE_HANDED_MAX: payloads are memory, other requests next to none. */
export function weightOf(arrival: Arrival): number {
  return arrival.kind === 'payload' ? 1 + Math.floor(arrival.bytes.length / BYTES_PER_WEIGHT) : 1;
}

const BYTES_PER_WEIGHT = 32 * 1024;
