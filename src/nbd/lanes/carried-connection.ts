import { type Clock, passed } from '../../base/clock.js';
import { NBD_LANE_RELIEVE_MS } from '../../base/limits.js';
import { unreachable } from '../../base/unreachable.js';
import { errnoName } from '../../os/libc.js';
import { addressOf, closeDescriptor, EAGAIN, failedBy, send } from '../../os/stream-calls.js';
import { Readiness, type StreamPoll } from '../../os/stream-poll.js';
import type { Sink } from '../session/outbox.js';
import type { Arrival, BegunPayload } from '../wire/framing.js';
import { decodeRequest, type NbdRequest, REQUEST_BYTES } from '../wire/transmission-wire.js';
import { weightOf } from './handing.js';
import type { LaneDesk, Relief } from './lane-desk.js';
import { Field, Figure, isHeldUp, type LaneTable, Payload, Standing, tokenOf, Unsent, Writer } from './lane-table.js';
import type { ConnectionOver, FromLane } from './messages.js';

/** What the lanes are given, and whom they tell. */
export interface CarriedTies {
  readonly descriptor: number;
  /** The same socket once more. */
  readonly echo: number;
  /** What its client negotiated: bits of Form. */
  readonly form: number;
  /** Came already, and was not looked at. */
  readonly input: Uint8Array;
  handed(arrival: Arrival): void;
  /** A reply that a lane could not write, because somebody else was writing: write it. */
  reply(bytes: Uint8Array): void;
  over(end: ConnectionOver): void;
  failed(error: unknown): void;
}

/** What lanes have read and not looked at. */
export interface Fetched {
  readonly input: Uint8Array;
  /** Where it begins in the middle of a request. */
  readonly begun: BegunPayload | undefined;
  /** To be done in place of those that a lane is still at. */
  readonly unsynced: readonly NbdRequest[];
  /** A lane still waits for the disk with some of it: it may be done there, and nobody will hear of it. */
  readonly isBusy: boolean;
}

/** How long lanes may wait for a disk with a connection: from `late` on it is taken away from them. */
export interface Impatience {
  readonly clock: Clock;
  readonly late: Promise<unknown>;
}

interface Place {
  readonly table: LaneTable;
  readonly poll: StreamPoll;
  /** Of all lanes that there are. */
  readonly desks: Iterable<LaneDesk>;
  readonly record: number;
  readonly generation: number;
  readonly disk: number;
}

/** Written by the main thread, and not taken by the socket yet. */
interface Written {
  readonly bytes: Uint8Array;
  sentBytes: number;
  readonly sent: (arrived: boolean) => void;
}

/** A connection in the lanes, as the main thread has it. */
export class CarriedConnection implements Sink {
  readonly #place: Place;
  readonly #ties: CarriedTies;
  readonly #gone: () => void;
  #written: Written[] = [];
  /** Came before one that was handed earlier: lanes speak through different ports. */
  readonly #early = new Map<number, Arrival>();
  #order = 0;
  #isWriting = false;
  #isHeld = false;
  readonly #whenTold: (() => void)[] = [];
  readonly #reliefs: Relief[] = [];
  #isReleased = false;

  constructor(place: Place, ties: CarriedTies, gone: () => void) {
    this.#place = place;
    this.#ties = ties;
    this.#gone = gone;
  }

  /** Makes it known to the poll; false where the kernel has no room for it there, and nothing has happened. */
  join(): boolean {
    const { poll } = this.#place;
    try {
      poll.add(this.#ties.descriptor);
      poll.add(this.#ties.echo);
      return true;
    } catch {
      poll.remove(this.#ties.descriptor);
      return false;
    }
  }

  begin(): void {
    const { table, record, generation, disk } = this.#place;
    const { descriptor, input } = this.#ties;
    // Those before come below; of Users, a lane that comes late for the connection before may be one, and has to be counted out.
    table.fields.fill(0, table.field(record, Field.Users) + 1, table.field(record, Field.Generation) + FIELDS);
    table.bytes.set(input, table.inputAt(record));
    this.#set(Field.InputBytes, input.length);
    this.#set(Field.Socket, descriptor);
    this.#set(Field.Echo, this.#ties.echo);
    this.#set(Field.Disk, disk);
    this.#set(Field.Form, this.#ties.form);
    this.#set(Field.Payload, Payload.None);
    this.#set(Field.Generation, generation);
    this.#set(Field.Standing, Standing.Open);
    this.#ask(Readiness.Either);
  }

  told(message: Extract<FromLane, { readonly record: number }>): void {
    if (message.generation !== this.#place.generation) return;
    try {
      this.#take(message);
    } catch (error) {
      this.#ties.failed(error);
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#whenTold.splice(0)) wake();
  }

  #take(message: Extract<FromLane, { readonly record: number }>): void {
    switch (message.kind) {
      case 'handed':
        this.#handed(message.order, message.arrival);
        break;
      case 'reply':
        this.#received(1);
        this.#ties.reply(message.bytes);
        this.#unpark();
        break;
      case 'mayWrite':
        this.#writeOn();
        break;
      case 'over':
        this.#received(1);
        this.#ties.over(message.end);
        break;
      case 'left':
        break;
      case 'bug':
        this.#received(1);
        this.#ties.failed(message.error);
        break;
      default:
        unreachable(message);
    }
  }

  /** Something of this weight has come, and counts no more towards NBD_LANE_HANDED_MAX. */
  #received(weight: number): void {
    Atomics.sub(this.#place.table.fields, this.#at(Field.Handed), weight);
  }

  /** Passes requests on in the order in which they were read. */
  #handed(order: number, arrival: Arrival): void {
    this.#early.set(order, arrival);
    for (let next = this.#early.get(this.#order); next !== undefined; next = this.#early.get(this.#order)) {
      this.#early.delete(this.#order);
      this.#order = (this.#order + 1) | 0;
      this.#received(weightOf(next));
      this.#ties.handed(next);
    }
    this.#unpark();
  }

  /** With too much to do the lanes hand no more of its requests over. */
  set isFull(full: boolean) {
    this.#set(Field.MainFull, Number(full));
    if (!full) this.#unpark();
  }

  write(bytes: Uint8Array, sent: (arrived: boolean) => void): void {
    this.#written.push({ bytes, sentBytes: 0, sent });
    if (this.#written.length === 1) this.#writeOn();
  }

  hold(): void {
    this.#isHeld = true;
  }

  letGo(): void {
    this.#isHeld = false;
    if (this.#written.length === 0 && !this.#isWriting && !this.#isClosing()) this.#leaveSocket();
  }

  /** Takes it out of the lanes: resolves when none is in it any more. What is written meanwhile waits for `moveTo`, which has to follow. */
  async release(impatience?: Impatience): Promise<void> {
    this.#set(Field.Standing, Standing.Closing);
    void impatience?.late.then(() => this.#relieve(impatience.clock));
    while (this.#isInUse()) {
      await new Promise<void>((resolve) => this.#whenTold.push(resolve));
    }
    this.#isReleased = true; // its record may be another one's from here on
  }

  /** A lane that does not wait at this moment may in the next. */
  async #relieve(clock: Clock): Promise<void> {
    const { table, record, desks } = this.#place;
    while (!this.#isReleased && this.#isInUse()) {
      for (const desk of desks) {
        const relief = desk.relieve(record);
        if (relief === undefined) continue;
        this.#reliefs.push(relief);
        Atomics.sub(table.fields, this.#at(Field.Users), 1);
      }
      this.#wake();
      await passed(clock, NBD_LANE_RELIEVE_MS);
    }
  }

  /**
   * Once released: what was not sent yet, of replies of lanes and of what was written here, goes on through that sink. Answers what
   * lanes have read and not looked at. The descriptor is the caller's again.
   */
  moveTo(sink: Sink): Fetched {
    const { poll } = this.#place;
    poll.remove(this.#ties.descriptor);
    poll.remove(this.#ties.echo);
    closeDescriptor(this.#ties.echo);
    const unsent = this.#unsentOfLanes();
    if (unsent.length > 0) sink.write(unsent, () => {});
    for (const { replies } of this.#reliefs) if (replies.length > 0) this.#ties.reply(replies);
    for (const { bytes, sentBytes, sent } of this.#written.splice(0)) sink.write(bytes.subarray(sentBytes), sent);
    const fetched = this.#fetched();
    this.#set(Field.Standing, Standing.Free);
    this.#gone();
    return fetched;
  }

  #fetched(): Fetched {
    const { table, record } = this.#place;
    const from = table.inputAt(record);
    const length = table.fields[this.#at(Field.InputBytes)] ?? 0;
    const reliefs = this.#reliefs;
    return {
      // It lies in one place: in the record, or on the desk of the one lane that was at it.
      input: Buffer.concat([table.bytes.subarray(from, from + length), ...reliefs.map(({ input }) => input)]),
      begun: this.#begunPayload(),
      unsynced: reliefs.flatMap(({ unsynced }) => unsynced),
      isBusy: reliefs.length > 0,
    };
  }

  #begunPayload(): BegunPayload | undefined {
    const { table, record } = this.#place;
    const payload = table.fields[this.#at(Field.Payload)];
    if (payload === Payload.None) return undefined;
    const header = table.headerAt(record);
    return {
      request: decodeRequest(table.bytes.subarray(header, header + REQUEST_BYTES)),
      leftBytes: table.figures[table.figure(record, Figure.PayloadLeft)] ?? 0,
    };
  }

  /** A lane is in it, or what one has said of it has not come yet. */
  #isInUse(): boolean {
    const { fields } = this.#place.table;
    return Atomics.load(fields, this.#at(Field.Users)) > 0 || Atomics.load(fields, this.#at(Field.Handed)) > 0;
  }

  #unsentOfLanes(): Uint8Array {
    const { table, record } = this.#place;
    if (Atomics.load(table.fields, this.#at(Field.Unsent)) === Unsent.Nothing) return new Uint8Array(0);
    const from = table.outputAt(record);
    const at = (field: Field) => table.fields[this.#at(field)] ?? 0;
    return table.bytes.slice(from + at(Field.UnsentFrom), from + at(Field.UnsentTo));
  }

  // A lane that may write again tells it by `mayWrite`, as does the poll.
  #writeOn(): void {
    const { table } = this.#place;
    if (this.#written.length === 0 || this.#isWriting || this.#isClosing()) return;
    const writer = this.#at(Field.Writer);
    const was = Atomics.compareExchange(table.fields, writer, Writer.Nobody, Writer.Main);
    if (was === Writer.Lane) {
      Atomics.store(table.fields, this.#at(Field.MainWaits), 1);
      // It may have ended between the question and the request to be told.
      if (Atomics.compareExchange(table.fields, writer, Writer.Nobody, Writer.Main) !== Writer.Nobody) return;
    }
    this.#isWriting = true; // who is told that its bytes are gone may have more to write
    const isAllWritten = this.#writeAll();
    this.#isWriting = false;
    if (!isAllWritten) {
      this.#waitForRoom();
      return;
    }
    if (this.#isHeld) Atomics.store(table.fields, this.#at(Field.MainWaits), 1);
    else this.#leaveSocket();
  }

  /** To the lanes; nothing where it is not the main thread's. */
  #leaveSocket(): void {
    const { fields } = this.#place.table;
    if (Atomics.load(fields, this.#at(Field.Writer)) !== Writer.Main) return;
    this.#set(Field.MainWaits, 0);
    this.#set(Field.Writer, Writer.Nobody);
    this.#unpark();
  }

  #writeAll(): boolean {
    for (let next = this.#written[0]; next !== undefined; next = this.#written[0]) {
      const rest = next.bytes.subarray(next.sentBytes);
      const count = send(this.#ties.descriptor, addressOf(rest), rest.length);
      // Not isForLater: the probe that makes the kernel say EINVAL runs on this thread, and never within a send.
      if (count < 0 && failedBy() === EAGAIN) return false;
      if (count < 0) return this.#lost(errnoName(failedBy()));
      next.sentBytes += count;
      if (next.sentBytes < next.bytes.length) continue;
      this.#written.shift();
      next.sent(true);
    }
    return true;
  }

  /** Nobody takes any of it. */
  #lost(because: string): true {
    for (const { sent } of this.#written.splice(0)) sent(false);
    this.#ties.over({ kind: 'lost', because });
    return true;
  }

  #waitForRoom(): void {
    const { table, poll, record, generation } = this.#place;
    Atomics.store(table.fields, this.#at(Field.MainWaits), 1);
    poll.ask(this.#ties.echo, Readiness.Write, tokenOf(record, generation, true));
  }

  #unpark(): void {
    const { table, record } = this.#place;
    if (this.#isClosing() || isHeldUp(table, record)) return;
    if (Atomics.exchange(table.fields, this.#at(Field.Parked), 0) === 1) this.#ask(Readiness.Either);
  }

  #isClosing(): boolean {
    return Atomics.load(this.#place.table.fields, this.#at(Field.Standing)) !== Standing.Open;
  }

  #ask(what: Readiness): void {
    const { poll, record, generation } = this.#place;
    poll.ask(this.#ties.descriptor, what, tokenOf(record, generation, false));
  }

  #at(field: Field): number {
    return this.#place.table.field(this.#place.record, field);
  }

  #set(field: Field, value: number): void {
    Atomics.store(this.#place.table.fields, this.#at(field), value);
  }
}

/** All fields of a record. */
const FIELDS = 32;
