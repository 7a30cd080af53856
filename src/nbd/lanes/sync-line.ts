import { systemUptimeMs } from '../../base/clock.js';
import type { SharedFile } from '../../block/shared-file.js';
import { flushInPlaceOf, REQUEST_BYTES, RequestAt } from '../wire/transmission-wire.js';
import { FileMedium } from './disk-access.js';
import type { DiskWaits } from './disk-waits.js';
import type { Handing } from './handing.js';
import type { Counted } from './lane-counts.js';
import { LaneDesk } from './lane-desk.js';
import { Field } from './lane-table.js';
import type { LaneTies } from './lane-ties.js';
import type { ReplyLine } from './reply-line.js';

/**
 * Requests of one connection that are answered when all that was written is on stable storage: FLUSH, and writes with FUA. One sync
 * serves all that came together. If that can't be done here and now, each is handed on as a FLUSH with its cookie: what it wrote is written.
 */
export class SyncLine {
  readonly #ties: LaneTies;
  readonly #replies: ReplyLine;
  readonly #handing: Handing;
  readonly #medium = new FileMedium();
  readonly #headers: Uint8Array;
  readonly #view: DataView;
  readonly #waiting: { readonly command: Counted; readonly bytes: number; readonly startedMs: number }[] = [];

  constructor(ties: LaneTies, desk: LaneDesk, replies: ReplyLine, handing: Handing) {
    this.#ties = ties;
    this.#headers = desk.headers;
    this.#view = new DataView(desk.headers.buffer, desk.headers.byteOffset, desk.headers.length);
    this.#replies = replies;
    this.#handing = handing;
  }

  get length(): number {
    return this.#waiting.length;
  }

  get isFull(): boolean {
    return this.#waiting.length === LaneDesk.syncsMax;
  }

  forget(): void {
    this.#waiting.length = 0;
  }

  /** The request's header, as it came, and what it counts as. */
  add(header: Uint8Array, command: Counted, bytes: number, startedMs: number): void {
    this.#headers.set(header, this.#waiting.length * REQUEST_BYTES);
    this.#waiting.push({ command, bytes, startedMs });
  }

  run(record: number, file: SharedFile, waits: DiskWaits): void {
    if (this.#waiting.length === 0) return;
    const done = this.#sync(record, file, waits);
    for (const [index, { command, bytes, startedMs }] of this.#waiting.entries()) {
      const at = index * REQUEST_BYTES;
      if (!done) {
        // To be flushed where failures are told.
        this.#handing.hand(record, { kind: 'request', request: flushInPlaceOf(this.#view, at) });
        continue;
      }
      this.#replies.addHeader(this.#view, at + RequestAt.Cookie);
      this.#ties.counts.add(this.#diskOf(record), command, bytes, (systemUptimeMs() - startedMs) / 1000);
    }
    this.#waiting.length = 0;
    if (done && this.#replies.flush(record) === 'lost') this.#lost(record);
  }

  #sync(record: number, file: SharedFile, waits: DiskWaits): boolean {
    if (!file.beginSync()) return false;
    const disk = this.#diskOf(record);
    waits.begin(record);
    const isDone = !file.hasLostWrites && this.#syncNow(file);
    if (file.endSync()) this.#ties.say({ kind: 'synced', disk });
    waits.end(record);
    return isDone;
  }

  #syncNow(file: SharedFile): boolean {
    const medium = this.#medium.of(file.descriptor);
    const done = file.layers?.sync(medium) ?? (medium.sync() ? 'done' : 'notSynced');
    if (done === 'notSynced') file.hasLostWrites = true;
    return done === 'done';
  }

  #diskOf(record: number): number {
    const { table } = this.#ties;
    return table.fields[table.field(record, Field.Disk)] ?? 0;
  }

  #lost(record: number): void {
    this.#handing.tellOver(record, { kind: 'lost', because: this.#replies.lostBecause });
  }
}
