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
  piecesOnDevice: number;
  hasCome: boolean;
  failure: Failure | undefined;
}

/** What was given up is not answered: silence can be waited out, an error costs a board its root disk. */
type Failure = ErrnoName | 'givenUp';

/** All commands of one connection that change the disk, and FLUSH. */
export class DiskChanges {
  readonly #world: SessionWorld;
  readonly #underWay: RequestsUnderWay;
  readonly #replies: Replies;
  #write: RunningWrite | undefined;

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
    const write = this.#write ?? {
      running: this.#underWay.begin(request, SIMPLE_REPLY_BYTES),
      piecesOnDevice: 0,
      hasCome: false,
      failure: undefined,
    };
    this.#write = isLast ? undefined : write;
    write.hasCome = isLast;
    write.piecesOnDevice += 1;
    this.#underWay.claim(bytes.length);
    this.#underWay.task(async () => {
      const failure = await this.#writeUnlessFailed(write, at, bytes);
      if (failure === undefined) this.#world.pool.give(bytes);
      write.failure ??= failure;
      write.piecesOnDevice -= 1;
      this.#underWay.giveBack(bytes.length);
      if (write.hasCome && write.piecesOnDevice === 0) this.#answer(write.running, write.failure);
      else this.#world.roomMade();
    });
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

  async #writeUnlessFailed(write: RunningWrite, at: number, bytes: Uint8Array): Promise<Failure | undefined> {
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
    if (failure === undefined) this.#replies.done(running);
    else if (failure === 'givenUp') this.#underWay.release(running);
    else this.#replies.failed(running, failure);
  }
}
