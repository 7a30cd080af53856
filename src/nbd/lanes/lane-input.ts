import { NBD_LANE_INPUT_BYTES } from '../../base/limits.js';
import { addressOf, receive } from '../../os/stream-calls.js';
import { REQUEST_BYTES } from '../wire/transmission-wire.js';
import type { LaneDesk } from './lane-desk.js';
import { Field, type LaneTable } from './lane-table.js';

/** What one connection has sent and was not dealt with yet: while a lane is at it here, between two turns in its record. */
export class LaneInput {
  readonly #table: LaneTable;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #address: number;
  readonly view: DataView;
  /** Where the next byte lies that was not dealt with. */
  at = 0;
  #end = 0;

  constructor(table: LaneTable, desk: LaneDesk) {
    this.#table = table;
    this.#bytes = desk.input;
    this.#address = addressOf(this.#bytes);
    this.view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
  }

  /** Behind the last one. */
  get end(): number {
    return this.#end;
  }

  get length(): number {
    return this.#end - this.at;
  }

  /** Where the next byte lies in memory. */
  get address(): number {
    return this.#address + this.at;
  }

  /** Takes what is left from the turn before, and what has come since: how much that is, as recv(2) says it. */
  receive(record: number): number {
    const { fields, bytes } = this.#table;
    const left = fields[this.#table.field(record, Field.InputBytes)] ?? 0;
    const from = this.#table.inputAt(record);
    if (left > 0) this.#bytes.set(bytes.subarray(from, from + left));
    fields[this.#table.field(record, Field.InputBytes)] = 0; // it lies here now, and nowhere else
    const socket = fields[this.#table.field(record, Field.Socket)] ?? -1;
    const room = NBD_LANE_INPUT_BYTES - left;
    const count = room === 0 ? 0 : receive(socket, this.#address + left, room);
    this.at = 0;
    this.#end = left + Math.max(count, 0);
    return room === 0 ? SOMETHING : count;
  }

  /** What is left waits for the next turn. */
  keep(record: number): void {
    const { fields, bytes } = this.#table;
    if (this.length > 0) bytes.set(this.#bytes.subarray(this.at, this.#end), this.#table.inputAt(record));
    fields[this.#table.field(record, Field.InputBytes)] = this.length;
    this.forget();
  }

  forget(): void {
    this.at = 0;
    this.#end = 0;
  }

  /** The header that comes next. */
  header(): Uint8Array {
    return this.#bytes.subarray(this.at, this.at + REQUEST_BYTES);
  }

  copy(length: number): Uint8Array {
    return this.#bytes.slice(this.at, this.at + length);
  }
}

/** What recv(2) would say if it were asked: neither an end nor a failure. */
const SOMETHING = 1;
