import { systemUptimeMs } from '../../base/clock.js';
import type { SharedFile } from '../../block/shared-file.js';
import type { Refusal } from '../session/transmission.js';
import { CommandFlag } from '../wire/constants.js';
import {
  decodeRequest,
  type NbdRequest,
  REQUEST_BYTES,
  RequestAt,
  SIMPLE_REPLY_BYTES,
} from '../wire/transmission-wire.js';
import { writeHere } from './disk-access.js';
import type { DiskWaits } from './disk-waits.js';
import type { Handing } from './handing.js';
import { Counted } from './lane-counts.js';
import type { LaneInput } from './lane-input.js';
import { Field, Figure, Payload } from './lane-table.js';
import type { LaneHands, LaneTies } from './lane-ties.js';
import type { ReplyLine } from './reply-line.js';
import type { SyncLine } from './sync-line.js';

/** `more`: the rest of it has not come yet. */
export type PayloadStep = 'done' | 'more' | 'held';

/** What comes behind the header of a WRITE. It may come in any pieces, over many turns and through several lanes. */
export class PayloadLine {
  readonly #ties: LaneTies;
  readonly #input: LaneInput;
  readonly #replies: ReplyLine;
  readonly #syncs: SyncLine;
  readonly #handing: Handing;
  readonly #waits: DiskWaits;

  constructor(ties: LaneTies, input: LaneInput, lines: LaneHands) {
    this.#ties = ties;
    this.#input = input;
    this.#replies = lines.replies;
    this.#syncs = lines.syncs;
    this.#handing = lines.handing;
    this.#waits = lines.waits;
  }

  isUnderWay(record: number): boolean {
    const { table } = this.#ties;
    return table.fields[table.field(record, Field.Payload)] !== Payload.None;
  }

  /** The header is dealt with; `length` bytes are to come, that belong at `offset`. */
  begin(record: number, kind: Payload, offset: number, length: number, startedMs: number): void {
    const { table } = this.#ties;
    table.fields[table.field(record, Field.Payload)] = kind;
    table.figures[table.figure(record, Figure.PayloadLeft)] = length;
    table.figures[table.figure(record, Figure.PayloadAt)] = offset;
    table.figures[table.figure(record, Figure.StartedMs)] = startedMs;
    table.bytes.set(this.#input.header(), table.headerAt(record));
    this.#input.at += REQUEST_BYTES;
  }

  /** Takes what has come of it. */
  take(record: number, file: SharedFile, judge: (request: NbdRequest) => Refusal | undefined): PayloadStep {
    const { table } = this.#ties;
    const left = table.figures[table.figure(record, Figure.PayloadLeft)] ?? 0;
    const here = Math.min(left, this.#input.length);
    switch (table.fields[table.field(record, Field.Payload)]) {
      case Payload.Written:
        return this.#write(record, file, left, here);
      case Payload.Handed:
        return this.#hand(record, left, here);
      default:
        return this.#drop(record, left, here, judge);
    }
  }

  // What comes in pieces is written in whole blocks: to write half of one, the kernel would have to read the other half.
  #write(record: number, file: SharedFile, left: number, here: number): PayloadStep {
    const { table } = this.#ties;
    if (left === 0) return this.#written(record);
    const offset = table.figures[table.figure(record, Figure.PayloadAt)] ?? 0;
    const length = here === left ? here : Math.max(0, here - ((offset + here) % BLOCK_BYTES));
    if (length === 0) return 'more';
    this.#waits.begin(record);
    const isWritten = writeHere(file, this.#input.address, length, offset);
    this.#waits.end(record);
    if (!isWritten) {
      // Its owner's to do, or a disk that is full or fails: whoever can wait and tell does all that is left, and meets the same.
      table.fields[table.field(record, Field.Payload)] = Payload.Handed;
      return this.#hand(record, left, here);
    }
    this.#took(record, length);
    return length === left ? this.#written(record) : 'more';
  }

  #written(record: number): PayloadStep {
    const { table } = this.#ties;
    table.fields[table.field(record, Field.Payload)] = Payload.None;
    const header = table.bytes.subarray(table.headerAt(record), table.headerAt(record) + REQUEST_BYTES);
    const view = new DataView(header.buffer, header.byteOffset, REQUEST_BYTES);
    const length = view.getUint32(RequestAt.Length);
    const startedMs = table.figures[table.figure(record, Figure.StartedMs)] ?? 0;
    if ((view.getUint16(RequestAt.Flags) & CommandFlag.Fua) !== 0) {
      this.#syncs.add(header, Counted.Write, length, startedMs);
      return 'done';
    }
    // Held or lost, this one is done: its reply goes to whoever writes, and the flush at the turn's end says what became of it.
    if (!this.#replies.hasRoomFor(SIMPLE_REPLY_BYTES)) this.#replies.flush(record);
    this.#replies.addHeader(view, RequestAt.Cookie);
    const disk = table.fields[table.field(record, Field.Disk)] ?? 0;
    this.#ties.counts.add(disk, Counted.Write, length, (systemUptimeMs() - startedMs) / 1000);
    return 'done';
  }

  #hand(record: number, left: number, here: number): PayloadStep {
    if (here === 0 && left > 0) return 'more';
    if (!this.#handing.mayHand(record)) return 'held';
    const request = this.#request(record);
    const isLast = here === left;
    const bytes = this.#input.copy(here);
    this.#handing.hand(record, { kind: 'payload', request, at: request.lengthBytes - left, bytes, isLast });
    this.#took(record, here);
    return this.#endsIf(record, isLast);
  }

  /** Nobody wants it; when it has been read away, its request is answered with an error. */
  #drop(record: number, left: number, here: number, judge: (request: NbdRequest) => Refusal | undefined): PayloadStep {
    if (here === left) {
      if (!this.#handing.mayHand(record)) return 'held';
      const request = this.#request(record);
      const refusal = judge(request);
      if (refusal === undefined) throw new Error('a request that may be done was dropped');
      this.#handing.hand(record, { kind: 'refused', request, refusal });
    }
    this.#took(record, here);
    return this.#endsIf(record, here === left);
  }

  #endsIf(record: number, isLast: boolean): PayloadStep {
    const { table } = this.#ties;
    if (!isLast) return 'more';
    table.fields[table.field(record, Field.Payload)] = Payload.None;
    return 'done';
  }

  #took(record: number, length: number): void {
    const { figures } = this.#ties.table;
    const left = this.#ties.table.figure(record, Figure.PayloadLeft);
    const at = this.#ties.table.figure(record, Figure.PayloadAt);
    figures[left] = (figures[left] ?? 0) - length;
    figures[at] = (figures[at] ?? 0) + length;
    this.#input.at += length;
  }

  #request(record: number): NbdRequest {
    const { table } = this.#ties;
    return decodeRequest(table.bytes.subarray(table.headerAt(record), table.headerAt(record) + REQUEST_BYTES));
  }
}

/** Of filesystems and page caches. */
const BLOCK_BYTES = 4096;
