import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { systemUptimeMs } from '../../base/clock.js';
import { unreachable } from '../../base/unreachable.js';
import { SharedFile } from '../../block/shared-file.js';
import { NO_TOKEN, Readiness, StreamPoll } from '../../os/stream-poll.js';
import { ConnectionTaken, DiskWaits } from './disk-waits.js';
import { Handing } from './handing.js';
import { LaneCounts } from './lane-counts.js';
import { LaneDesk } from './lane-desk.js';
import { LaneInput } from './lane-input.js';
import {
  CommonField,
  END_TOKEN,
  Field,
  generationOf,
  isHeldUp,
  isToWrite,
  LaneTable,
  recordOf,
  Standing,
  tokenOf,
} from './lane-table.js';
import type { FromLane, LaneBeginning, ToLane } from './messages.js';
import { ReplyLine } from './reply-line.js';
import { type Break, RequestLine } from './request-line.js';
import { Spin } from './spin.js';
import { SyncLine } from './sync-line.js';

/**
 * One of several threads that all wait for the same connections. It takes the one that is told to it, does what its client asks for as
 * far as bytes have come, answers, and asks for the next word of it, which may come to another lane. It does what the page
 * cache can do at once, and what only waits for one disk; the rest it hands to the main thread.
 */
export class Lane {
  readonly #messages: MessagePort;
  readonly #table: LaneTable;
  readonly #poll: StreamPoll;
  readonly #files = new Map<number, SharedFile>();
  readonly #replies: ReplyLine;
  readonly #requests: RequestLine;
  readonly #syncs: SyncLine;
  readonly #waits: DiskWaits;
  readonly #counts: LaneCounts;
  readonly #spin: Spin;
  readonly #idle: number;

  constructor(messages: MessagePort, beginning: LaneBeginning) {
    this.#messages = messages;
    this.#table = LaneTable.of(beginning.table);
    this.#spin = new Spin(this.#table);
    this.#idle = this.#table.common(CommonField.Idle);
    this.#poll = new StreamPoll(beginning.pollDescriptor);
    const say = (message: FromLane) => this.#messages.postMessage(message);
    this.#counts = new LaneCounts(beginning.counts);
    const ties = { table: this.#table, poll: this.#poll, counts: this.#counts, say };
    const desk = new LaneDesk(beginning.desk);
    const input = new LaneInput(this.#table, desk);
    const replies = new ReplyLine(ties, desk);
    const handing = new Handing(ties);
    const syncs = new SyncLine(ties, desk, replies, handing);
    const waits = new DiskWaits(desk, { input, replies, syncs });
    this.#requests = new RequestLine(ties, input, { replies, syncs, handing, waits });
    this.#replies = replies;
    this.#syncs = syncs;
    this.#waits = waits;
  }

  /** Until the lanes are told to end. */
  run(): void {
    this.#messages.postMessage({ kind: 'ready' } satisfies FromLane);
    for (;;) {
      Atomics.add(this.#table.fields, this.#idle, 1);
      const token = this.#poll.wait();
      Atomics.sub(this.#table.fields, this.#idle, 1);
      if (token === END_TOKEN) return;
      if (token === NO_TOKEN) continue;
      this.#counts.busySinceMs = systemUptimeMs();
      if (token !== undefined) this.#told(token);
      this.#counts.busySinceMs = 0;
    }
  }

  #told(token: number): void {
    const record = recordOf(token);
    const { fields } = this.#table;
    const users = this.#table.field(record, Field.Users);
    Atomics.add(fields, users, 1);
    try {
      if (this.#isOpen(record, generationOf(token))) {
        if (isToWrite(token)) this.#resume(record);
        else this.#serve(record);
      }
    } catch (error) {
      this.#waits.forget(); // nothing of it may come to the next client
      if (error instanceof ConnectionTaken) return; // who has relieved it has counted it out
      Atomics.add(fields, this.#table.field(record, Field.Handed), 1);
      this.#messages.postMessage({ kind: 'bug', record, generation: generationOf(token), error } satisfies FromLane);
    }
    const isLast = Atomics.sub(fields, users, 1) === 1;
    if (isLast && this.#standing(record) === Standing.Closing) {
      // Of whoever has the record now, who may have waited for a lane that came for the one before.
      const generation = Atomics.load(fields, this.#table.field(record, Field.Generation));
      this.#messages.postMessage({ kind: 'left', record, generation } satisfies FromLane);
    }
  }

  #serve(record: number): void {
    if (isHeldUp(this.#table, record) && this.#park(record)) return;
    const file = this.#fileOf(record);
    this.#spin.judge(record);
    let end = this.#requests.serve(record, file);
    while (end === 'wantsInput' && this.#syncs.length === 0 && this.#spin.finds(record)) {
      if (this.#standing(record) !== Standing.Open) return;
      this.#counts.busySinceMs = systemUptimeMs();
      end = isHeldUp(this.#table, record) ? 'held' : this.#requests.serve(record, file);
    }
    this.#spin.left(record);
    this.#goOn(record, file, end);
  }

  /** There is room to write again, or so it seems. */
  #resume(record: number): void {
    const sent = this.#replies.resume(record);
    if (sent === 'sent') this.#unpark(record);
    if (sent === 'lost') this.#requests.over(record, { kind: 'lost', because: this.#replies.lostBecause });
  }

  #goOn(record: number, file: SharedFile, end: Break): void {
    const { fields } = this.#table;
    const generation = fields[this.#table.field(record, Field.Generation)] ?? 0;
    const socket = fields[this.#table.field(record, Field.Socket)] ?? -1;
    switch (end) {
      case 'wantsInput':
        this.#poll.ask(socket, Readiness.Read, tokenOf(record, generation, false));
        break;
      case 'hasInput':
        this.#poll.ask(socket, Readiness.Either, tokenOf(record, generation, false));
        break;
      case 'held':
        if (!this.#park(record)) this.#poll.ask(socket, Readiness.Either, tokenOf(record, generation, false));
        break;
      case 'over':
        break;
      default:
        unreachable(end);
    }
    // From here on another lane may be in the record: a sync takes its time.
    if (this.#syncs.length === 0) return;
    this.#syncs.run(record, file, this.#waits);
    this.#spin.left(record); // its client waited for that, and for nothing since
  }

  /** False where the reason went away meanwhile and nobody else has taken that up. */
  #park(record: number): boolean {
    const { fields } = this.#table;
    const parked = this.#table.field(record, Field.Parked);
    Atomics.store(fields, parked, 1);
    if (isHeldUp(this.#table, record)) return true;
    return Atomics.exchange(fields, parked, 0) === 0;
  }

  /** What it waited for is over: it goes on here. */
  #unpark(record: number): void {
    const { fields } = this.#table;
    if (Atomics.exchange(fields, this.#table.field(record, Field.Parked), 0) === 1) this.#serve(record);
  }

  /** The connection may have been closed since, and another one may have its record: whose generation is there before it stands open. */
  #isOpen(record: number, generation: number): boolean {
    if (this.#standing(record) !== Standing.Open) return false;
    return Atomics.load(this.#table.fields, this.#table.field(record, Field.Generation)) === generation;
  }

  #standing(record: number): number {
    return Atomics.load(this.#table.fields, this.#table.field(record, Field.Standing));
  }

  #fileOf(record: number): SharedFile {
    const disk = this.#table.fields[this.#table.field(record, Field.Disk)] ?? -1;
    const known = this.#files.get(disk);
    if (known !== undefined && !known.isReplaced) return known;
    for (
      let next = receiveMessageOnPort(this.#messages);
      next !== undefined;
      next = receiveMessageOnPort(this.#messages)
    ) {
      const { disk: told, file }: ToLane = next.message;
      this.#files.set(told, new SharedFile(file));
    }
    const file = this.#files.get(disk);
    if (file === undefined || file.isReplaced) throw new Error(`disk ${disk} was told to nobody`);
    return file;
  }
}
