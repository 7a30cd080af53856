import { Errno, type ErrnoName } from './constants.js';
import type { RequestsUnderWay, Running } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import { encodeSimpleReply, SIMPLE_REPLY_BYTES } from './transmission-wire.js';

/** Answers requests: each is measured, sent, and released when the kernel has taken its reply. */
export class Replies {
  readonly #world: SessionWorld;
  readonly #underWay: RequestsUnderWay;

  constructor(world: SessionWorld, underWay: RequestsUnderWay) {
    this.#world = world;
    this.#underWay = underWay;
  }

  answer(running: Running, errno: ErrnoName | undefined): void {
    const reply = Buffer.allocUnsafe(SIMPLE_REPLY_BYTES);
    encodeSimpleReply({ error: errno === undefined ? 0 : Errno[errno], cookie: running.request.cookie }, reply);
    this.#underWay.measure(running, errno);
    this.#world.outbox.send(reply, () => this.#underWay.release(running));
  }

  /** The data of a READ, in a buffer of the pool behind room for the header. */
  deliver(running: Running, reply: Uint8Array): void {
    encodeSimpleReply({ error: 0, cookie: running.request.cookie }, reply);
    this.#underWay.measure(running, undefined);
    this.#world.outbox.send(reply, (arrived) => {
      if (arrived) this.#world.pool.give(reply);
      this.#underWay.release(running);
    });
  }
}
