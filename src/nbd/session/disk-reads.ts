import { NBD_PIECE_BYTES, NBD_SPARSE_READ_BYTES_MIN, NBD_STREAMED_BYTES } from '../../base/limits.js';
import type { ErrnoName } from '../wire/constants.js';
import type { NbdRequest } from '../wire/transmission-wire.js';
import { ChunkedReads } from './chunked-reads.js';
import { DeviceReader } from './device-reader.js';
import type { WayOut } from './outbox.js';
import type { Replies } from './replies.js';
import type { RequestsUnderWay } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import { mayNotFragment } from './transmission.js';

/** READs of one connection: most of them whole, in one buffer with their header. */
export class DiskReads {
  readonly #world: SessionWorld;
  readonly #underWay: RequestsUnderWay;
  readonly #replies: Replies;
  readonly #reader: DeviceReader;
  readonly #chunked: ChunkedReads;

  constructor(world: SessionWorld, underWay: RequestsUnderWay, replies: Replies) {
    this.#world = world;
    this.#underWay = underWay;
    this.#replies = replies;
    this.#reader = new DeviceReader(world);
    this.#chunked = new ChunkedReads(world, underWay, replies, this.#reader);
  }

  start(request: NbdRequest): void {
    if (this.#world.form.inChunks) this.#startInChunks(request);
    else if (request.lengthBytes <= NBD_PIECE_BYTES) this.#readWhole(request);
    else this.#readInPieces(request);
  }

  #startInChunks(request: NbdRequest): void {
    const { lengthBytes } = request;
    // A chunk holds a byte at least.
    if (lengthBytes === 0) this.#replies.done(this.#underWay.begin(request, this.#world.form.dataHeadBytes));
    else if (lengthBytes < NBD_SPARSE_READ_BYTES_MIN || mayNotFragment(request)) this.#readWhole(request);
    else this.#chunked.start(request);
  }

  /** Complete before its header is sent, so that a failure can be told. */
  #readWhole(request: NbdRequest): void {
    const { form, pool } = this.#world;
    const offset = Number(request.offset);
    const reply = pool.take(form.dataHeadBytes + request.lengthBytes);
    const running = this.#underWay.begin(request, reply.length);
    const target = reply.subarray(form.dataHeadBytes);
    if (this.#reader.fillNow(offset, target)) {
      this.#replies.deliver(running, reply);
      return;
    }
    this.#underWay.task(async () => {
      const errno = await this.#reader.fillLater(offset, target);
      if (errno === undefined) this.#replies.deliver(running, reply);
      else this.#replies.failed(running, errno, offset);
    });
  }

  /** A large one as a simple reply. */
  #readInPieces(request: NbdRequest): void {
    const { form, pool, outbox } = this.#world;
    const offset = Number(request.offset);
    const running = this.#underWay.begin(request, 2 * NBD_STREAMED_BYTES); // one goes to the peer while the next is read
    this.#underWay.task(async () => {
      // Before anything is read: those that wait for their way would each keep a piece meanwhile.
      const way = await outbox.takeAlone();
      const first = pool.take(form.dataHeadBytes + NBD_STREAMED_BYTES);
      const errno = await this.#reader.fill(offset, first.subarray(form.dataHeadBytes));
      if (errno !== undefined) {
        way.leave();
        this.#replies.failed(running, errno);
        return;
      }
      form.encodeDataHead(request, offset, true, first);
      const reply = this.#underWay.answeringInPieces(running);
      const failure = await this.#stream(way, first, offset + NBD_STREAMED_BYTES, offset + request.lengthBytes);
      reply.sent();
      this.#underWay.measure(running, failure);
      this.#underWay.release(running);
    });
  }

  /** After the header there is no way to tell a failure but a hard disconnect (proto.md, `NBD_CMD_READ`). */
  async #stream(way: WayOut, first: Uint8Array, from: number, end: number): Promise<ErrnoName | undefined> {
    const { pool } = this.#world;
    let piece = first;
    for (let at = from; at < end; at += NBD_STREAMED_BYTES) {
      const next = pool.take(Math.min(NBD_STREAMED_BYTES, end - at));
      const [arrived, errno] = await Promise.all([way.send(piece), this.#reader.fill(at, next)]);
      if (errno !== undefined) this.#world.broken(`${errno} at ${at}, after the reply had begun`);
      if (errno !== undefined || !arrived) {
        way.leave();
        return errno;
      }
      pool.give(piece);
      piece = next;
    }
    if (await way.send(piece)) pool.give(piece);
    way.leave();
    return undefined;
  }
}
