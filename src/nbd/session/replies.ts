import type { Extent } from '../../block/block-device.js';
import type { ErrnoName } from '../wire/constants.js';
import { failureSentence, refusalSentence } from './failure-sentences.js';
import type { Failure } from './reply-form.js';
import type { RequestsUnderWay, Running } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import type { Refusal } from './transmission.js';

/** Answers requests: each is measured, sent, and released when the kernel has taken its reply. */
export class Replies {
  readonly #world: SessionWorld;
  readonly #underWay: RequestsUnderWay;

  constructor(world: SessionWorld, underWay: RequestsUnderWay) {
    this.#world = world;
    this.#underWay = underWay;
  }

  /** A success without data. */
  done(running: Running): void {
    this.#finish(running, undefined, this.#world.form.encodeDone(running.request));
  }

  allocation(running: Running, extents: readonly Extent[]): void {
    this.#finish(running, undefined, this.#world.form.encodeAllocation(running.request, extents));
  }

  /** The device failed; `at` is where, if data of the same READ was sent already or may have been. */
  failed(running: Running, errno: ErrnoName, at?: number): void {
    const sentence = failureSentence(errno);
    this.#fail(running, at === undefined ? { errno, sentence } : { errno, sentence, at });
  }

  refused(running: Running, { errno, because }: Refusal): void {
    this.#fail(running, { errno, sentence: refusalSentence(because) });
  }

  /** All the data of a READ, in a buffer of the pool behind room for the header. */
  deliver(running: Running, reply: Uint8Array): void {
    const { form, outbox, pool } = this.#world;
    form.encodeDataHead(running.request, Number(running.request.offset), true, reply);
    this.#underWay.measure(running, undefined);
    this.#underWay.answering(running);
    outbox.send(reply, (arrived) => {
      if (arrived) pool.give(reply);
      this.#underWay.release(running);
    });
  }

  #fail(running: Running, failure: Failure): void {
    this.#finish(running, failure.errno, this.#world.form.encodeFailure(running.request, failure));
  }

  #finish(running: Running, errno: ErrnoName | undefined, reply: Uint8Array): void {
    this.#underWay.measure(running, errno);
    this.#underWay.answering(running);
    this.#world.outbox.send(reply, () => this.#underWay.release(running));
  }
}
