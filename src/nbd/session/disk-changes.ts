import { GivenUp } from '../../block/space-queue.js';
import { Command, type ErrnoName } from '../wire/constants.js';
import type { Arrival } from '../wire/framing.js';
import { type NbdRequest, SIMPLE_REPLY_BYTES } from '../wire/transmission-wire.js';
import { attempt } from './device-errors.js';
import type { Replies } from './replies.js';
import type { RequestsUnderWay, Running } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import { isDurable, keepsAllocated, mustBeFast } from './transmission.js';

/** A WRITE whose payload comes in pieces. What is not answered yet may be half done, as on any disk that loses power. */
interface RunningWrite {
  readonly running: Running;
  readonly onDevice: Set<Piece>;
  hasCome: boolean;
  failure: Failure | undefined;
}

/** Some of a WRITE's payload, and where in it. */
export interface Piece {
  readonly at: number;
  readonly bytes: Uint8Array;
}

export interface LeftOfWrite {
  readonly pieces: readonly Piece[];
  /** The whole payload has. */
  readonly hasCome: boolean;
  readonly failure: ErrnoName | undefined;
}

/** What was given up is not answered: silence can be waited out, an error costs a board its root disk. */
type Failure = ErrnoName | 'givenUp';

/** All commands of one connection that change the disk, and FLUSH. */
export class DiskChanges {
  readonly #world: SessionWorld;
  readonly #underWay: RequestsUnderWay;
  readonly #replies: Replies;
  /** Its payload comes. */
  #write: RunningWrite | undefined;
  readonly #writes = new Map<Running, RunningWrite>();

  constructor(world: SessionWorld, underWay: RequestsUnderWay, replies: Replies) {
    this.#world = world;
    this.#underWay = underWay;
    this.#replies = replies;
  }

  /** FLUSH, TRIM and WRITE_ZEROES. */
  start(request: NbdRequest): void {
    const running = this.#underWay.begin(request, SIMPLE_REPLY_BYTES);
    this.#underWay.task(async () =>
      this.#answer(running, await this.#attempt(() => this.#do(request), mustBeFast(request))),
    );
  }

  writePiece({ request, at, bytes, isLast }: Extract<Arrival, { readonly kind: 'payload' }>): void {
    const write = this.#write ?? this.#beginWrite(request);
    this.#write = isLast ? undefined : write;
    write.hasCome = isLast;
    const piece = { at, bytes };
    write.onDevice.add(piece);
    this.#underWay.claim(bytes.length);
    this.#underWay.task(async () => {
      const failure = await this.#writeUnlessFailed(write, piece);
      if (failure === undefined) this.#world.pool.give(bytes);
      write.failure ??= failure;
      write.onDevice.delete(piece);
      this.#underWay.giveBack(bytes.length);
      if (write.hasCome && write.onDevice.size === 0) this.#answer(write.running, write.failure);
      else this.#world.roomMade();
    });
  }

  /** One that has failed already, and whose payload goes on to come. */
  beginFailed(request: NbdRequest, failure: ErrnoName): void {
    this.#write = this.#beginWrite(request);
    this.#write.failure = failure;
  }

  #beginWrite(request: NbdRequest): RunningWrite {
    const running = this.#underWay.begin(request, SIMPLE_REPLY_BYTES);
    const write = { running, onDevice: new Set<Piece>(), hasCome: false, failure: undefined };
    this.#writes.set(running, write);
    return write;
  }

  /** What of a WRITE is not known to be on the disk. */
  leftOf(running: Running): LeftOfWrite | undefined {
    const write = this.#writes.get(running);
    if (write === undefined) return undefined;
    const { onDevice, hasCome, failure } = write;
    // A copy: what is done after all gives its buffer back, and somebody else's bytes come into it.
    const pieces = [...onDevice].map(({ at, bytes }) => ({ at, bytes: bytes.slice() }));
    return { pieces, hasCome, failure: failure === 'givenUp' ? undefined : failure };
  }

  async #do(request: NbdRequest): Promise<void> {
    const { device } = this.#world;
    const { command, lengthBytes } = request;
    const [offset, durable] = [Number(request.offset), isDurable(request)];
    switch (command) {
      case Command.Flush:
        await device.flush();
        break;
      case Command.Trim:
        await device.discard(offset, lengthBytes);
        if (durable) await device.flush();
        break;
      case Command.WriteZeroes:
        await device.zero(offset, lengthBytes, {
          keepAllocated: keepsAllocated(request),
          durable,
          fast: mustBeFast(request),
        });
        break;
      default:
        throw new Error(`command ${command} is no change`);
    }
  }

  async #writeUnlessFailed(write: RunningWrite, { at, bytes }: Piece): Promise<Failure | undefined> {
    if (write.failure !== undefined) return write.failure;
    const { request } = write.running;
    const durable = isDurable(request);
    return await this.#attempt(() => this.#world.device.write(Number(request.offset) + at, bytes, { durable }));
  }

  async #attempt(change: () => Promise<void>, mayLack = false): Promise<Failure | undefined> {
    try {
      return await attempt(this.#world, change, mayLack);
    } catch (error) {
      if (error instanceof GivenUp) return 'givenUp';
      throw error;
    }
  }

  #answer(running: Running, failure: Failure | undefined): void {
    this.#writes.delete(running);
    if (failure === undefined) this.#replies.done(running);
    else if (failure === 'givenUp') this.#underWay.release(running);
    else this.#replies.failed(running, failure);
  }
}
