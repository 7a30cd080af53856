import {
  NBD_CONNECTIONS_MAX,
  NBD_LANE_HANDED_MAX,
  NBD_LANE_INPUT_BYTES,
  NBD_LANE_OUTPUT_BYTES,
} from '../../base/limits.js';
import { SharedMemory } from '../../os/shared-memory.js';
import { addressOf } from '../../os/stream-calls.js';

/**
 * What the lanes and the main thread know in common of each connection: a record in memory that they share. A record is worked
 * on by the one lane that was told of its socket, until it asks for the next word; the fields marked ⇄ are for all, and only to
 * be touched by Atomics.
 *
 *   0            fields (Field, 32 bits each)
 *   512          numbers (Figure, 64-bit floating point)
 *   1024         input that came and was not looked at yet: NBD_LANE_INPUT_BYTES
 *   then         output that the socket had no room for: NBD_LANE_OUTPUT_BYTES
 */
export class LaneTable {
  readonly memory: SharedArrayBuffer;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly fields: Int32Array<SharedArrayBuffer>;
  readonly figures: Float64Array<SharedArrayBuffer>;
  readonly #address: number;

  private constructor(bytes: Uint8Array<SharedArrayBuffer>) {
    this.memory = bytes.buffer;
    this.bytes = bytes;
    this.fields = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    this.figures = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
    this.#address = addressOf(bytes);
  }

  /** Takes no page of memory for a record that is not used. */
  static create(): LaneTable {
    return new LaneTable(new SharedMemory((NBD_CONNECTIONS_MAX + 1) * RECORD_BYTES).bytes);
  }

  /** The table of another thread, by what it is `told`. */
  static of({ memory, at, length }: ToldTable): LaneTable {
    return new LaneTable(new Uint8Array(memory, at, length));
  }

  get told(): ToldTable {
    return { memory: this.memory, at: this.bytes.byteOffset, length: this.bytes.length };
  }

  /** Index of a field in `fields`. */
  field(record: number, field: Field): number {
    return (record * RECORD_BYTES) / 4 + field;
  }

  /** Index of a figure in `figures`. */
  figure(record: number, figure: Figure): number {
    return (record * RECORD_BYTES + FIGURES_AT) / 8 + figure;
  }

  /** What all lanes have in common lies behind the last record. Index in `fields`. */
  common(field: CommonField): number {
    return (NBD_CONNECTIONS_MAX * RECORD_BYTES) / 4 + field;
  }

  /** Where its input lies in `bytes`. */
  inputAt(record: number): number {
    return record * RECORD_BYTES + INPUT_AT;
  }

  outputAt(record: number): number {
    return record * RECORD_BYTES + OUTPUT_AT;
  }

  /** Where the header of the request lies whose payload comes. */
  headerAt(record: number): number {
    return record * RECORD_BYTES + 4 * Field.Header;
  }

  addressAt(index: number): number {
    return this.#address + index;
  }
}

/** Whether lanes may hand more of this connection to the main thread: not more than it keeps up with. */
export function mayHand(table: LaneTable, record: number): boolean {
  if (Atomics.load(table.fields, table.field(record, Field.MainFull)) === 1) return false;
  return Atomics.load(table.fields, table.field(record, Field.Handed)) < NBD_LANE_HANDED_MAX;
}

/** Whether its next request has to wait for something. Lanes and the main thread have to agree on it: who takes the reason away asks for its next word. */
export function isHeldUp(table: LaneTable, record: number): boolean {
  const at = (field: Field) => Atomics.load(table.fields, table.field(record, field));
  return at(Field.Unsent) !== Unsent.Nothing || at(Field.MainWaits) === 1 || !mayHand(table, record);
}

export interface ToldTable {
  readonly memory: SharedArrayBuffer;
  readonly at: number;
  readonly length: number;
}

const FIGURES_AT = 512;
const INPUT_AT = 1024;
const OUTPUT_AT = INPUT_AT + NBD_LANE_INPUT_BYTES;
const RECORD_BYTES = OUTPUT_AT + NBD_LANE_OUTPUT_BYTES;

export const Field = {
  /** ⇄ Counts up each time the record is given to another connection: a late word of the one before is told from its own. */
  Generation: 0,
  /** ⇄ Of Standing. */
  Standing: 1,
  /** ⇄ Lanes that are in here. */
  Users: 2,
  Socket: 3,
  /** The same socket once more, for the question when there is room to write. */
  Echo: 4,
  /** Index of its disk: Lanes gives it, ToLane tells it. */
  Disk: 5,
  InputBytes: 6,
  /** ⇄ Who writes to the socket: of Writer. */
  Writer: 7,
  /** ⇄ The main thread has something to write: nobody else begins to. */
  MainWaits: 8,
  /** ⇄ Output that the socket had no room for: of Unsent. */
  Unsent: 9,
  UnsentFrom: 10,
  UnsentTo: 11,
  /** ⇄ Nobody asks for its next word; who takes the reason away has to. */
  Parked: 12,
  /** ⇄ Requests and replies given to the main thread that it has not looked at. */
  Handed: 13,
  /** ⇄ Counts what was handed: lanes speak through different ports, and the order of requests is that of these numbers. */
  HandedOrder: 23,
  /** ⇄ The main thread has enough to do for this connection. */
  MainFull: 14,
  /** Its client asks again within NBD_LANE_SPIN_MS of our answer, or did so last. */
  Eager: 24,
  /** What its client negotiated: of Form. */
  Form: 25,
  /** What is done with the payload that comes: of Payload. */
  Payload: 15,
  /** Of the request whose payload comes, as it came. */
  Header: 16, // 28 bytes: 16 to 22
} as const;
export type Field = (typeof Field)[keyof typeof Field];

export const CommonField = {
  /** ⇄ Lanes that have nothing to do. */
  Idle: 0,
  /** ⇄ One waits for the next word of a client without sleeping. */
  Spinning: 1,
} as const;
export type CommonField = (typeof CommonField)[keyof typeof CommonField];

export const Figure = {
  /** Of the payload: what has still to come, and where on the disk the next byte of it belongs. */
  PayloadLeft: 0,
  PayloadAt: 1,
  /** When the header of the request had come, in milliseconds of the clock that all threads share. */
  StartedMs: 2,
  /** When a lane was last at it. */
  LeftMs: 3,
} as const;
export type Figure = (typeof Figure)[keyof typeof Figure];

export const Standing = { Free: 0, Open: 1, Closing: 2 } as const;
export const Writer = { Nobody: 0, Lane: 1, Main: 2 } as const;
export const Unsent = { Nothing: 0, Waiting: 1, OnItsWay: 2 } as const;
/** Bits: replies of READ come as one chunk; BLOCK_STATUS may be asked. */
export const Form = { InChunks: 1, TellsAllocation: 2 } as const;
export const Payload = { None: 0, Written: 1, Handed: 2, Dropped: 3 } as const;
export type Payload = (typeof Payload)[keyof typeof Payload];

/** What is told instead of a token when lanes are to end: no record has that number. */
export const END_TOKEN = -1;

//   31 … 12        11          10 … 0
//   generation     to write    record        what a poll tells
const RECORD_BITS = 11;
export const GENERATION_MAX = 2 ** (31 - RECORD_BITS) - 1;

export function tokenOf(record: number, generation: number, toWrite: boolean): number {
  return (((generation << 1) | Number(toWrite)) << RECORD_BITS) | record;
}

export function recordOf(token: number): number {
  return token & (2 ** RECORD_BITS - 1);
}

export function isToWrite(token: number): boolean {
  return ((token >> RECORD_BITS) & 1) === 1;
}

export function generationOf(token: number): number {
  return (token >>> (RECORD_BITS + 1)) & GENERATION_MAX;
}
