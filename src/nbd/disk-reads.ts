import { NBD_PIECE_BYTES } from '../base/limits.js';
import type { ErrnoName } from './constants.js';
import { attempt } from './device-errors.js';
import type { Replies } from './replies.js';
import type { RequestsUnderWay } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import { encodeSimpleReply, type NbdRequest, SIMPLE_REPLY_BYTES } from './transmission-wire.js';

/** READs of one connection. */
export class DiskReads {
  readonly #world: SessionWorld;
  readonly #underWay: RequestsUnderWay;
  readonly #replies: Replies;

  constructor(world: SessionWorld, underWay: RequestsUnderWay, replies: Replies) {
    this.#world = world;
    this.#underWay = underWay;
    this.#replies = replies;
  }

  start(request: NbdRequest): void {
    if (request.lengthBytes <= NBD_PIECE_BYTES) this.#readWhole(request, Number(request.offset));
    else this.#readInPieces(request, Number(request.offset));
  }

  /** Complete before its header is sent, so that a failure can be told. */
  #readWhole(request: NbdRequest, offset: number): void {
    const reply = this.#world.pool.take(SIMPLE_REPLY_BYTES + request.lengthBytes);
    const running = this.#underWay.begin(request, reply.length);
    const target = reply.subarray(SIMPLE_REPLY_BYTES);
    if (this.#fillNow(offset, target)) {
      this.#replies.deliver(running, reply);
      return;
    }
    this.#underWay.task(async () => {
      const errno = await attempt(this.#world, () => this.#world.device.read(offset, target));
      if (errno === undefined) this.#replies.deliver(running, reply);
      else this.#replies.answer(running, errno);
    });
  }

  #readInPieces(request: NbdRequest, offset: number): void {
    const running = this.#underWay.begin(request, 2 * NBD_PIECE_BYTES); // one goes to the peer while the next is read
    this.#underWay.task(async () => {
      const first = this.#world.pool.take(SIMPLE_REPLY_BYTES + NBD_PIECE_BYTES);
      const errno = await this.#fill(offset, first.subarray(SIMPLE_REPLY_BYTES));
      if (errno !== undefined) {
        this.#replies.answer(running, errno);
        return;
      }
      encodeSimpleReply({ error: 0, cookie: request.cookie }, first);
      const failure = await this.#stream(first, offset + NBD_PIECE_BYTES, offset + request.lengthBytes);
      this.#underWay.measure(running, failure);
      this.#underWay.release(running);
    });
  }

  /** After the header there is no way to tell a failure but a hard disconnect (proto.md, `NBD_CMD_READ`). */
  async #stream(first: Uint8Array, from: number, end: number): Promise<ErrnoName | undefined> {
    const { outbox, pool } = this.#world;
    const lane = await outbox.takeLane();
    let piece = first;
    for (let at = from; at < end; at += NBD_PIECE_BYTES) {
      const next = pool.take(Math.min(NBD_PIECE_BYTES, end - at));
      const [arrived, errno] = await Promise.all([lane.send(piece), this.#fill(at, next)]);
      if (errno !== undefined) this.#world.broken(`${errno} at ${at}, after the reply had begun`);
      if (errno !== undefined || !arrived) {
        lane.leave();
        return errno;
      }
      pool.give(piece);
      piece = next;
    }
    if (await lane.send(piece)) pool.give(piece);
    lane.leave();
    return undefined;
  }

  async #fill(offset: number, target: Uint8Array): Promise<ErrnoName | undefined> {
    if (this.#fillNow(offset, target)) return undefined;
    return await attempt(this.#world, () => this.#world.device.read(offset, target));
  }

  #fillNow(offset: number, target: Uint8Array): boolean {
    const { turn, device } = this.#world;
    if (!turn.allows(target.length)) return false;
    try {
      if (!device.readNow(offset, target)) return false;
    } catch {
      return false; // the read that waits meets the same failure, and reports it
    }
    turn.spend(target.length);
    return true;
  }
}
