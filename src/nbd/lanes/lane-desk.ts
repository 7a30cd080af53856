import { NBD_LANE_INPUT_BYTES, NBD_LANE_OUTPUT_BYTES } from '../../base/limits.js';
import { flushInPlaceOf, type NbdRequest, REQUEST_BYTES } from '../wire/transmission-wire.js';

/** What was taken from a lane. */
export interface Relief {
  /** Came, and was not dealt with. */
  readonly input: Uint8Array;
  /** Whole ones, which nobody has sent. */
  readonly replies: Uint8Array;
  /** What they wrote is written; they are answered when all that is on stable storage. */
  readonly unsynced: readonly NbdRequest[];
}

/**
 * What one lane has in its hands, in memory that the main thread sees too. As long as the lane waits for a disk it touches nothing of
 * it, and the main thread can take it away: the disk may hang, and the connection must not with it.
 *
 *   0            fields (DeskField, 32 bits each)
 *   512          headers of requests that wait for a sync, SYNCS_MAX of them
 *   4096         input that came and was not dealt with: NBD_LANE_INPUT_BYTES
 *   then         replies that are ready: NBD_LANE_OUTPUT_BYTES
 */
export class LaneDesk {
  static readonly syncsMax = 128; // Linux has as many requests in flight; FLUSHes among them are few
  readonly memory: SharedArrayBuffer;
  readonly input: Uint8Array<SharedArrayBuffer>;
  readonly replies: Uint8Array<SharedArrayBuffer>;
  readonly headers: Uint8Array<SharedArrayBuffer>;
  readonly #fields: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(BYTES)) {
    this.memory = memory;
    this.#fields = new Int32Array(memory, 0, HEADERS_AT / 4);
    this.headers = new Uint8Array(memory, HEADERS_AT, LaneDesk.syncsMax * REQUEST_BYTES);
    this.input = new Uint8Array(memory, INPUT_AT, NBD_LANE_INPUT_BYTES);
    this.replies = new Uint8Array(memory, REPLIES_AT, NBD_LANE_OUTPUT_BYTES);
  }

  /** Of the lane: it may have to wait now, for the connection of that record. All that it has in its hands is told. */
  beginWait(record: number, inputFrom: number, inputTo: number, replyBytes: number, syncs: number): void {
    const fields = this.#fields;
    fields[DeskField.InputFrom] = inputFrom;
    fields[DeskField.InputTo] = inputTo;
    fields[DeskField.ReplyBytes] = replyBytes;
    fields[DeskField.Syncs] = syncs;
    Atomics.store(fields, DeskField.State, waitingFor(record));
  }

  /** Of the lane: whether all that is still its own. */
  endWait(record: number): boolean {
    const fields = this.#fields;
    const waiting = waitingFor(record);
    if (Atomics.compareExchange(fields, DeskField.State, waiting, State.AtWork) === waiting) return true;
    Atomics.wait(fields, DeskField.State, State.BeingRelieved);
    Atomics.store(fields, DeskField.State, State.AtWork);
    return false;
  }

  /** Of the lane: it has failed in the middle of something, and has nothing in its hands. */
  clear(): void {
    Atomics.store(this.#fields, DeskField.State, State.AtWork);
  }

  /** Of the main thread: takes the connection of that record away from the lane, where it waits with that. */
  relieve(record: number): Relief | undefined {
    const fields = this.#fields;
    const waiting = waitingFor(record);
    if (Atomics.compareExchange(fields, DeskField.State, waiting, State.BeingRelieved) !== waiting) return undefined;
    const at = (field: number) => fields[field] ?? 0;
    const headers = new DataView(this.memory, HEADERS_AT);
    const relief = {
      input: this.input.slice(at(DeskField.InputFrom), at(DeskField.InputTo)),
      replies: this.replies.slice(0, at(DeskField.ReplyBytes)),
      unsynced: Array.from({ length: at(DeskField.Syncs) }, (_, index) =>
        flushInPlaceOf(headers, index * REQUEST_BYTES),
      ),
    };
    Atomics.store(fields, DeskField.State, State.Relieved);
    Atomics.notify(fields, DeskField.State);
    return relief;
  }
}

const DeskField = { State: 0, InputFrom: 1, InputTo: 2, ReplyBytes: 3, Syncs: 4 } as const;

/** ⇄ Beyond these: it waits, and for which record. */
const State = { AtWork: 0, BeingRelieved: 1, Relieved: 2 } as const;

function waitingFor(record: number): number {
  return record + 3;
}

const HEADERS_AT = 512;
const INPUT_AT = 4096;
const REPLIES_AT = INPUT_AT + NBD_LANE_INPUT_BYTES;
const BYTES = REPLIES_AT + NBD_LANE_OUTPUT_BYTES;
