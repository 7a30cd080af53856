import { systemUptimeMs } from '../../base/clock.js';
import { NBD_LANE_READ_BYTES_MAX, NBD_LANE_TURN_BYTES, NBD_PAYLOAD_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import type { SharedFile } from '../../block/shared-file.js';
import { errnoName } from '../../os/libc.js';
import { failedBy, isForLater } from '../../os/stream-calls.js';
import { refusal, type Serving } from '../session/transmission.js';
import { Command, CommandFlag, Magic } from '../wire/constants.js';
import {
  COMPACT_REQUESTS,
  decodeRequest,
  type NbdRequest,
  REQUEST_BYTES,
  RequestAt,
  SIMPLE_REPLY_BYTES,
} from '../wire/transmission-wire.js';
import { CachedDiskReader } from './cached-disk-reader.js';
import type { DiskWaits } from './disk-waits.js';
import type { Handing } from './handing.js';
import { Counted } from './lane-counts.js';
import type { LaneInput } from './lane-input.js';
import { Field, Form, Payload } from './lane-table.js';
import type { LaneHands, LaneTies } from './lane-ties.js';
import { PayloadLine } from './payload-line.js';
import { type ReplyLine, readHeadBytes } from './reply-line.js';
import type { SyncLine } from './sync-line.js';
import { type Zeroing, zeroHere } from './zero-line.js';

/** Why a lane does no more for a connection now. `held` and `over` leave it to others to ask for its next word. */
export type Break = 'wantsInput' | 'hasInput' | 'held' | 'over';

/** What a client says to a lane, from the socket's bytes to what is done with each request. */
export class RequestLine {
  readonly #ties: LaneTies;
  readonly #replies: ReplyLine;
  readonly #syncs: SyncLine;
  readonly #handing: Handing;
  readonly #waits: DiskWaits;
  readonly #payloads: PayloadLine;
  readonly #input: LaneInput;
  readonly #cached = new CachedDiskReader();
  #startedMs = 0;
  #turnBytes = 0;

  constructor(ties: LaneTies, input: LaneInput, lines: LaneHands) {
    this.#ties = ties;
    this.#replies = lines.replies;
    this.#syncs = lines.syncs;
    this.#handing = lines.handing;
    this.#waits = lines.waits;
    this.#input = input;
    this.#payloads = new PayloadLine(ties, this.#input, lines);
  }

  /** Takes what has come, and does it as far as it can. */
  serve(record: number, file: SharedFile): Break {
    const count = this.#input.receive(record);
    const errno = count < 0 ? failedBy() : 0;
    this.#startedMs = systemUptimeMs();
    this.#turnBytes = 0;
    const end = this.#doAll(record, file);
    const sent = this.#replies.flush(record);
    this.#input.keep(record);
    if (end === 'over') return 'over';
    if (sent === 'lost') return this.over(record, { kind: 'lost', because: this.#replies.lostBecause });
    if (errno !== 0 && !isForLater(errno)) return this.over(record, { kind: 'lost', because: errnoName(errno) });
    if (sent === 'held') return 'held';
    return end === 'wantsInput' && count === 0 ? this.over(record, { kind: 'ended' }) : end;
  }

  #doAll(record: number, file: SharedFile): Break {
    const judge = (request: NbdRequest) => refusal(request, this.#servingOf(record, file));
    for (;;) {
      // Its disk lies elsewhere now: whoever has it next looks where.
      if (file.isReplaced) return 'hasInput';
      if (this.#payloads.isUnderWay(record)) {
        const step = this.#payloads.take(record, file, judge);
        if (step !== 'done') return step === 'more' ? 'wantsInput' : 'held';
        continue;
      }
      if (this.#input.length < REQUEST_BYTES) return 'wantsInput';
      if (this.#turnBytes > NBD_LANE_TURN_BYTES || this.#syncs.isFull) return 'hasInput';
      const step = this.#begin(record, file);
      if (step !== 'done') return step;
    }
  }

  /** One request, from its header on. What is plain is done here, in the plainest way. */
  #begin(record: number, file: SharedFile): 'done' | Break {
    const { view, at } = this.#input;
    const length = view.getUint32(at + RequestAt.Length);
    // Beyond 2^53 the offset is rounded; no disk is that large, so it lies outside all the same.
    const offset = view.getUint32(at + RequestAt.Offset) * 2 ** 32 + view.getUint32(at + RequestAt.Offset + 4);
    const isInside = offset + length <= file.sizeBytes && length <= NBD_PAYLOAD_BYTES_MAX;
    if (view.getUint32(at) !== Magic.Request || !isInside) return this.#beginUnusual(record, file);
    const command = view.getUint16(at + RequestAt.Command);
    const flags = view.getUint16(at + RequestAt.Flags);
    if (command === Command.Trim || command === Command.WriteZeroes) {
      const zeroing = { isTrim: command === Command.Trim, flags, offset, length };
      this.#waits.begin(record);
      const isZeroed = zeroHere(file, zeroing);
      this.#waits.end(record);
      return isZeroed ? this.#zeroed(record, zeroing) : this.#beginUnusual(record, file);
    }
    if ((flags & ~CommandFlag.Fua) !== 0) return this.#beginUnusual(record, file);
    switch (command) {
      case Command.Read:
        return this.#read(record, file, offset, length);
      case Command.Write:
        this.#payloads.begin(record, Payload.Written, offset, length, this.#startedMs);
        return 'done';
      case Command.Flush:
        if (offset !== 0 || length !== 0) return this.#beginUnusual(record, file);
        this.#syncs.add(this.#input.header(), Counted.Flush, 0, this.#startedMs);
        this.#input.at += REQUEST_BYTES;
        return 'done';
      default:
        return this.#beginUnusual(record, file);
    }
  }

  #read(record: number, file: SharedFile, offset: number, length: number): 'done' | Break {
    const inChunks = this.#isAgreed(record, Form.InChunks);
    // A chunk has at least a byte of data in it.
    if (length > NBD_LANE_READ_BYTES_MAX || (inChunks && length === 0)) return this.#hand(record);
    const headBytes = readHeadBytes(inChunks);
    if (!this.#replies.hasRoomFor(headBytes + length)) {
      const step = this.#flush(record);
      if (step !== 'done') return step;
    }
    const isUncopied = this.#replies.tail.take(file, offset, length);
    const to = this.#replies.length + headBytes;
    if (!isUncopied && length > 0 && !this.#cached.read(file, offset, length, this.#replies, to))
      return this.#hand(record);
    this.#replies.addReadHead(inChunks, this.#input.view, this.#input.at + RequestAt.Cookie, offset, length);
    if (!isUncopied) this.#replies.length += length;
    this.#turnBytes += length;
    this.#count(record, Counted.Read, length);
    this.#input.at += REQUEST_BYTES;
    return isUncopied ? this.#flush(record) : 'done';
  }

  #flush(record: number): 'done' | Break {
    const sent = this.#replies.flush(record);
    if (sent === 'lost') return this.over(record, { kind: 'lost', because: this.#replies.lostBecause });
    return sent === 'held' ? 'held' : 'done';
  }

  #zeroed(record: number, { isTrim }: Zeroing): 'done' | Break {
    if (!this.#replies.hasRoomFor(SIMPLE_REPLY_BYTES)) {
      const sent = this.#replies.flush(record);
      if (sent === 'lost') return this.over(record, { kind: 'lost', because: this.#replies.lostBecause });
    }
    this.#replies.addHeader(this.#input.view, this.#input.at + RequestAt.Cookie);
    this.#turnBytes += ZEROING_COUNTS_AS_BYTES;
    this.#count(record, isTrim ? Counted.Trim : Counted.WriteZeroes, 0);
    this.#input.at += REQUEST_BYTES;
    return 'done';
  }

  #count(record: number, command: Counted, bytes: number): void {
    const { table, counts } = this.#ties;
    const disk = table.fields[table.field(record, Field.Disk)] ?? 0;
    counts.add(disk, command, bytes, (systemUptimeMs() - this.#startedMs) / 1000);
  }

  #isAgreed(record: number, form: number): boolean {
    const { table } = this.#ties;
    return ((table.fields[table.field(record, Field.Form)] ?? 0) & form) !== 0;
  }

  #servingOf(record: number, { sizeBytes }: SharedFile): Serving {
    const inChunks = this.#isAgreed(record, Form.InChunks);
    const tellsAllocation = this.#isAgreed(record, Form.TellsAllocation);
    return { sizeBytes, inChunks, flagsPayload: false, tellsAllocation };
  }

  /** What is rare is judged by those who judge it everywhere else. */
  #beginUnusual(record: number, file: SharedFile): 'done' | Break {
    let request: NbdRequest;
    try {
      request = decodeRequest(this.#input.header());
    } catch (error) {
      if (error instanceof Malformed) return this.over(record, { kind: 'notNbd', because: error.message });
      throw error;
    }
    if (request.command === Command.Disc) return this.over(record, { kind: 'disconnect' });
    const payload = COMPACT_REQUESTS.payloadBytes(request);
    const refused = refusal(request, this.#servingOf(record, file));
    if (refused !== undefined || payload > 0) {
      const offset = refused === undefined ? Number(request.offset) : 0;
      this.#payloads.begin(
        record,
        refused === undefined ? Payload.Handed : Payload.Dropped,
        offset,
        payload,
        this.#startedMs,
      );
      return 'done';
    }
    return this.#hand(record);
  }

  /** A request without a payload goes to the main thread as it is. */
  #hand(record: number): 'done' | 'held' {
    if (!this.#handing.mayHand(record)) return 'held';
    this.#handing.hand(record, { kind: 'request', request: decodeRequest(this.#input.header()) });
    this.#input.at += REQUEST_BYTES;
    return 'done';
  }

  over(record: number, end: Parameters<Handing['tellOver']>[1]): 'over' {
    this.#handing.tellOver(record, end);
    return 'over';
  }
}

/** Bytes of NBD_LANE_TURN_BYTES: after sixteen TRIMs or WRITE_ZEROES others have their turn. */
const ZEROING_COUNTS_AS_BYTES = 64 * 1024;
