import { NBD_LANE_OUTPUT_BYTES } from '../../base/limits.js';
import { errnoName } from '../../os/libc.js';
import { addressOf, failedBy, isForLater, send } from '../../os/stream-calls.js';
import { Readiness } from '../../os/stream-poll.js';
import { DATA_OFFSET_BYTES, STRUCTURED_HEAD_BYTES } from '../wire/chunk-wire.js';
import { Magic, ReplyFlag, ReplyType } from '../wire/constants.js';
import { SIMPLE_REPLY_BYTES } from '../wire/transmission-wire.js';
import { FileTail } from './file-tail.js';
import type { LaneDesk } from './lane-desk.js';
import { Field, tokenOf, Unsent, Writer } from './lane-table.js';
import type { LaneTies } from './lane-ties.js';

/** What became of replies: `held` where the socket has no room for all of them, and nothing more may be done for it now. */
export type Sent = 'sent' | 'held' | 'lost';

/**
 * The way out of a lane: replies are gathered here and go out in one call. Only one may write to a socket: who comes while the main
 * thread does gives it the replies; who finds no room keeps the rest in the record, and stays the one who writes until it is gone.
 */
export class ReplyLine {
  readonly #ties: LaneTies;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly address: number;
  readonly #view: DataView;
  /** Of the last `lost`. */
  lostBecause = '';
  /** Goes behind all that is gathered, and then nothing more is. */
  readonly tail = new FileTail();
  length = 0;

  constructor(ties: LaneTies, desk: LaneDesk) {
    this.#ties = ties;
    this.bytes = desk.replies;
    this.address = addressOf(this.bytes);
    this.#view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
  }

  /** The header of a good reply; data of a READ is put behind it by who read it. The cookie is copied as it came. */
  addHeader(from: DataView, cookieAt: number): void {
    const at = this.length;
    this.#view.setUint32(at, Magic.SimpleReply);
    this.#view.setUint32(at + 4, 0);
    this.#view.setInt32(at + 8, from.getInt32(cookieAt));
    this.#view.setInt32(at + 12, from.getInt32(cookieAt + 4));
    this.length += SIMPLE_REPLY_BYTES;
  }

  /** What goes before the data of a READ: a simple reply's header, or that of the one chunk. Its length is `readHeadBytes`. */
  addReadHead(inChunks: boolean, from: DataView, cookieAt: number, offset: number, lengthBytes: number): void {
    if (!inChunks) {
      this.addHeader(from, cookieAt);
      return;
    }
    const at = this.length;
    this.#view.setUint32(at, Magic.StructuredReply);
    this.#view.setUint16(at + 4, ReplyFlag.Done);
    this.#view.setUint16(at + 6, ReplyType.OffsetData);
    this.#view.setInt32(at + 8, from.getInt32(cookieAt));
    this.#view.setInt32(at + 12, from.getInt32(cookieAt + 4));
    this.#view.setUint32(at + 16, DATA_OFFSET_BYTES + lengthBytes);
    this.#view.setUint32(at + 20, Math.floor(offset / 2 ** 32));
    this.#view.setUint32(at + 24, offset % 2 ** 32);
    this.length += CHUNK_HEAD_BYTES;
  }

  hasRoomFor(bytes: number): boolean {
    return this.length + bytes <= NBD_LANE_OUTPUT_BYTES;
  }

  forget(): void {
    this.length = 0;
    this.tail.clear();
  }

  flush(record: number): Sent {
    if (this.length === 0) return 'sent';
    if (!this.#mayWrite(record)) {
      const isWhole = this.#takeIn(0);
      if (isWhole) this.#giveAway(record);
      this.length = 0;
      return isWhole ? 'sent' : 'lost';
    }
    const gathered = this.length;
    const count = this.#writeAll(record);
    let sent: Sent = count === gathered + this.tail.length ? 'sent' : 'held';
    if (count < 0) sent = 'lost';
    else if (sent === 'sent') this.#release(record);
    else if (this.#takeIn(Math.max(0, count - gathered))) this.#keep(record, Math.min(count, gathered), this.length);
    else sent = 'lost'; // a reply breaks off: the right to write is kept, so that nobody writes behind it
    this.forget();
    return sent;
  }

  /** What is gathered, and the tail. */
  #writeAll(record: number): number {
    const count = this.#write(record, this.address, this.length, this.tail.length > 0);
    if (count !== this.length || this.tail.length === 0) return count;
    const { table } = this.#ties;
    return count + this.tail.send(table.fields[table.field(record, Field.Socket)] ?? -1);
  }

  /** What of the tail did not go goes as what is gathered does. */
  #takeIn(sentBytes: number): boolean {
    const isRead = this.tail.read(sentBytes, this.address + this.length);
    if (!isRead) this.lostBecause = 'its file became shorter, or fails';
    this.length += this.tail.length - sentBytes;
    this.tail.clear();
    return isRead;
  }

  /** Of who has the right to: how many bytes went, or −1 where the connection is lost. */
  #write(record: number, address: number, length: number, moreComes = false): number {
    const { table } = this.#ties;
    const socket = table.fields[table.field(record, Field.Socket)] ?? -1;
    const count = send(socket, address, length, moreComes);
    if (count >= 0) return count;
    const errno = failedBy();
    if (isForLater(errno)) return 0;
    this.lostBecause = errnoName(errno);
    this.#release(record);
    return -1;
  }

  /** There is room: what is kept in the record goes on, or else the main thread does. */
  resume(record: number): Sent {
    const { table } = this.#ties;
    const { fields } = table;
    // Two may be told of room, since two may have asked.
    const unsent = table.field(record, Field.Unsent);
    if (Atomics.compareExchange(fields, unsent, Unsent.Waiting, Unsent.OnItsWay) !== Unsent.Waiting) {
      this.#tellMayWrite(record);
      return 'held';
    }
    const from = fields[table.field(record, Field.UnsentFrom)] ?? 0;
    const to = fields[table.field(record, Field.UnsentTo)] ?? 0;
    const count = this.#write(record, table.addressAt(table.outputAt(record) + from), to - from);
    if (count < 0) return 'lost';
    if (count < to - from) {
      fields[table.field(record, Field.UnsentFrom)] = from + count;
      Atomics.store(fields, unsent, Unsent.Waiting);
      this.#askForRoom(record);
      return 'held';
    }
    Atomics.store(fields, unsent, Unsent.Nothing);
    this.#release(record);
    return 'sent';
  }

  #askForRoom(record: number): void {
    const { table, poll } = this.#ties;
    const echo = table.fields[table.field(record, Field.Echo)] ?? -1;
    const generation = table.fields[table.field(record, Field.Generation)] ?? 0;
    poll.ask(echo, Readiness.Write, tokenOf(record, generation, true));
  }

  #release(record: number): void {
    const { table } = this.#ties;
    Atomics.store(table.fields, table.field(record, Field.Writer), Writer.Nobody);
    if (Atomics.load(table.fields, table.field(record, Field.MainWaits)) === 1) this.#tellMayWrite(record);
  }

  // Who waits longest is the main thread: it was refused before.
  #mayWrite(record: number): boolean {
    const { table } = this.#ties;
    if (Atomics.load(table.fields, table.field(record, Field.MainWaits)) === 1) return false;
    const writer = table.field(record, Field.Writer);
    return Atomics.compareExchange(table.fields, writer, Writer.Nobody, Writer.Lane) === Writer.Nobody;
  }

  #giveAway(record: number): void {
    const { table } = this.#ties;
    const generation = table.fields[table.field(record, Field.Generation)] ?? 0;
    const bytes = this.bytes.slice(0, this.length);
    this.length = 0;
    Atomics.add(table.fields, table.field(record, Field.Handed), 1);
    this.#ties.say({ kind: 'reply', record, generation, bytes });
  }

  #keep(record: number, from: number, to: number): void {
    const { table } = this.#ties;
    const { fields, bytes } = table;
    bytes.set(this.bytes.subarray(from, to), table.outputAt(record));
    fields[table.field(record, Field.UnsentFrom)] = 0;
    fields[table.field(record, Field.UnsentTo)] = to - from;
    Atomics.store(fields, table.field(record, Field.Unsent), Unsent.Waiting);
    this.#askForRoom(record);
  }

  #tellMayWrite(record: number): void {
    const { table } = this.#ties;
    this.#ties.say({ kind: 'mayWrite', record, generation: table.fields[table.field(record, Field.Generation)] ?? 0 });
  }
}

const CHUNK_HEAD_BYTES = STRUCTURED_HEAD_BYTES + DATA_OFFSET_BYTES;

export function readHeadBytes(inChunks: boolean): number {
  return inChunks ? CHUNK_HEAD_BYTES : SIMPLE_REPLY_BYTES;
}
