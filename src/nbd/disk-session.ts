import type { Budget } from '../base/budget.js';
import type { Clock } from '../base/clock.js';
import {
  NBD_BYTES_IN_FLIGHT_MAX,
  NBD_HELD_BYTES_PER_CONNECTION_MAX,
  NBD_PIECE_BYTES,
  NBD_REQUESTS_IN_FLIGHT_MAX,
} from '../base/limits.js';
import type { Log } from '../base/log.js';
import { unreachable } from '../base/unreachable.js';
import type { BlockDevice } from '../block/block-device.js';
import { BlockError } from '../block/block-error.js';
import { GivenUp } from '../block/space-queue.js';
import type { BufferPool } from './buffer-pool.js';
import { Command, Errno, type ErrnoName } from './constants.js';
import type { Arrival } from './framing.js';
import type { NbdMeter } from './meter.js';
import type { Outbox } from './outbox.js';
import { commandName, errnoOf, isDurable, keepsAllocated } from './transmission.js';
import { encodeSimpleReply, type NbdRequest, SIMPLE_REPLY_BYTES } from './transmission-wire.js';
import type { TurnBudget } from './turn-budget.js';

export interface SessionWorld {
  /** Name of the board whose disk it is. */
  readonly board: string;
  readonly device: BlockDevice;
  /** For payloads that wait for space, of all connections. */
  readonly heldMemory: Budget;
  readonly outbox: Outbox;
  readonly turn: TurnBudget;
  readonly pool: BufferPool;
  readonly meter: NbdMeter;
  readonly clock: Clock;
  readonly log: Log;
  /** Something was finished: there may be room for another request. */
  roomMade(): void;
  /** A reply broke off in the middle: the connection must end at once. */
  broken(because: string): void;
  /** A bug of ours came up: it ends this connection and no other. */
  failed(error: unknown): void;
}

/** A request from its last header byte to the moment when its reply was taken by the kernel. */
interface Running {
  readonly request: NbdRequest;
  readonly startedMs: number;
  readonly claimedBytes: number;
}

/** A WRITE whose payload comes in pieces. What is not answered yet may be half done, as on any disk that loses power. */
interface RunningWrite {
  readonly running: Running;
  piecesOnDevice: number;
  hasCome: boolean;
  failure: Failure | undefined;
}

/** What was given up is not answered: silence can be waited out, an error costs a board its root disk. */
type Failure = ErrnoName | 'givenUp';

/**
 * Executes the requests of one connection against its board's device, many at a time, and answers in the order in which they
 * finish. Its memory is what it has claimed: payloads on their way to the device, replies on their way to the peer.
 */
export class DiskSession {
  readonly #world: SessionWorld;
  #claimedBytes = 0;
  /** Of these, the payloads that wait for space and were found room elsewhere. */
  #asideBytes = 0;
  #runningCount = 0;
  /** What may still touch the device or has still to hand its reply to the outbox. */
  #taskCount = 0;
  #write: RunningWrite | undefined;
  #whenSettled: (() => void)[] = [];

  constructor(world: SessionWorld) {
    this.#world = world;
  }

  get claimedBytes(): number {
    return this.#claimedBytes;
  }

  /** Whether to read the next request: may be exceeded by what that one needs, which is two pieces at most. */
  hasRoom(): boolean {
    const inFlightBytes = this.#claimedBytes - this.#asideBytes;
    return inFlightBytes < NBD_BYTES_IN_FLIGHT_MAX && this.#runningCount < NBD_REQUESTS_IN_FLIGHT_MAX;
  }

  /** A payload waits for space: as far as there is memory for it elsewhere it makes room for other requests, so that reads go on. */
  setAside(bytes: number): () => void {
    const { heldMemory, roomMade } = this.#world;
    const fits = this.#asideBytes + bytes <= NBD_HELD_BYTES_PER_CONNECTION_MAX;
    if (!fits || !heldMemory.take(bytes)) return () => {};
    this.#asideBytes += bytes;
    roomMade();
    return () => {
      this.#asideBytes -= bytes;
      heldMemory.giveBack(bytes);
    };
  }

  /** Resolves when nothing that was begun touches the device any more and every reply was handed to the outbox. */
  settled(): Promise<void> {
    if (this.#taskCount === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenSettled.push(resolve));
  }

  start(arrival: Arrival): void {
    switch (arrival.kind) {
      case 'refused':
        this.#answer(this.#begin(arrival.request, SIMPLE_REPLY_BYTES), arrival.errno);
        break;
      case 'payload':
        this.#writePiece(arrival);
        break;
      case 'request':
        this.#execute(arrival.request);
        break;
      default:
        unreachable(arrival);
    }
  }

  #execute(request: NbdRequest): void {
    const { device } = this.#world;
    const offset = Number(request.offset);
    switch (request.command) {
      case Command.Read:
        if (request.lengthBytes <= NBD_PIECE_BYTES) this.#readWhole(request, offset);
        else this.#readInPieces(request, offset);
        break;
      case Command.Flush:
        this.#change(request, () => device.flush());
        break;
      case Command.Trim:
        this.#change(request, () => this.#trim(request, offset));
        break;
      case Command.WriteZeroes: {
        const options = { keepAllocated: keepsAllocated(request), durable: isDurable(request) };
        this.#change(request, () => device.zero(offset, request.lengthBytes, options));
        break;
      }
      default:
        throw new Error(`command ${request.command} was let through`);
    }
  }

  #change(request: NbdRequest, action: () => Promise<void>): void {
    const running = this.#begin(request, SIMPLE_REPLY_BYTES);
    this.#task(async () => this.#answerUnlessGivenUp(running, await this.#attemptChange(action)));
  }

  async #trim(request: NbdRequest, offset: number): Promise<void> {
    await this.#world.device.discard(offset, request.lengthBytes);
    if (isDurable(request)) await this.#world.device.flush();
  }

  /** Complete before its header is sent, so that a failure can be told. */
  #readWhole(request: NbdRequest, offset: number): void {
    const reply = this.#world.pool.take(SIMPLE_REPLY_BYTES + request.lengthBytes);
    const running = this.#begin(request, reply.length);
    const target = reply.subarray(SIMPLE_REPLY_BYTES);
    if (this.#fillNow(offset, target)) {
      this.#deliver(running, reply);
      return;
    }
    this.#task(async () => {
      const errno = await this.#attempt(() => this.#world.device.read(offset, target));
      if (errno === undefined) this.#deliver(running, reply);
      else this.#answer(running, errno);
    });
  }

  #readInPieces(request: NbdRequest, offset: number): void {
    const running = this.#begin(request, 2 * NBD_PIECE_BYTES); // one goes to the peer while the next is read
    this.#task(async () => {
      const first = this.#world.pool.take(SIMPLE_REPLY_BYTES + NBD_PIECE_BYTES);
      const errno = await this.#fill(offset, first.subarray(SIMPLE_REPLY_BYTES));
      if (errno !== undefined) {
        this.#answer(running, errno);
        return;
      }
      encodeSimpleReply({ error: 0, cookie: request.cookie }, first);
      const failure = await this.#stream(first, offset + NBD_PIECE_BYTES, offset + request.lengthBytes);
      this.#measure(running, failure);
      this.#release(running);
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

  #writePiece({ request, at, bytes, isLast }: Extract<Arrival, { readonly kind: 'payload' }>): void {
    const write = this.#write ?? {
      running: this.#begin(request, SIMPLE_REPLY_BYTES),
      piecesOnDevice: 0,
      hasCome: false,
      failure: undefined,
    };
    this.#write = isLast ? undefined : write;
    write.hasCome = isLast;
    write.piecesOnDevice += 1;
    this.#claimedBytes += bytes.length;
    this.#task(async () => {
      const failure = await this.#writeUnlessFailed(write, at, bytes);
      if (failure === undefined) this.#world.pool.give(bytes);
      write.failure ??= failure;
      write.piecesOnDevice -= 1;
      this.#claimedBytes -= bytes.length;
      if (write.hasCome && write.piecesOnDevice === 0) this.#answerUnlessGivenUp(write.running, write.failure);
      else this.#world.roomMade();
    });
  }

  async #writeUnlessFailed(write: RunningWrite, at: number, bytes: Uint8Array): Promise<Failure | undefined> {
    if (write.failure !== undefined) return write.failure;
    const { request } = write.running;
    const durable = isDurable(request);
    return await this.#attemptChange(() => this.#world.device.write(Number(request.offset) + at, bytes, { durable }));
  }

  async #fill(offset: number, target: Uint8Array): Promise<ErrnoName | undefined> {
    if (this.#fillNow(offset, target)) return undefined;
    return await this.#attempt(() => this.#world.device.read(offset, target));
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

  async #attemptChange(action: () => Promise<void>): Promise<Failure | undefined> {
    try {
      return await this.#attempt(action);
    } catch (error) {
      if (error instanceof GivenUp) return 'givenUp';
      throw error;
    }
  }

  /** A failure that no device should have is logged with its stack. It is answered EIO: closing would take the board's root disk away. */
  async #attempt(action: () => Promise<void>): Promise<ErrnoName | undefined> {
    const { board, log } = this.#world;
    try {
      await action();
      return undefined;
    } catch (error) {
      if (error instanceof BlockError) {
        log.warn({ board, code: error.code, ...error.facts }, 'nbd.request.failed');
        return errnoOf(error.code);
      }
      if (error instanceof GivenUp) throw error;
      log.error({ board, err: error }, 'nbd.request.bug');
      return 'EIO';
    }
  }

  #deliver(running: Running, reply: Uint8Array): void {
    encodeSimpleReply({ error: 0, cookie: running.request.cookie }, reply);
    this.#measure(running, undefined);
    this.#world.outbox.send(reply, (arrived) => {
      if (arrived) this.#world.pool.give(reply);
      this.#release(running);
    });
  }

  #answerUnlessGivenUp(running: Running, failure: Failure | undefined): void {
    if (failure === 'givenUp') this.#release(running);
    else this.#answer(running, failure);
  }

  #answer(running: Running, errno: ErrnoName | undefined): void {
    const reply = Buffer.allocUnsafe(SIMPLE_REPLY_BYTES);
    encodeSimpleReply({ error: errno === undefined ? 0 : Errno[errno], cookie: running.request.cookie }, reply);
    this.#measure(running, errno);
    this.#world.outbox.send(reply, () => this.#release(running));
  }

  #begin(request: NbdRequest, claimedBytes: number): Running {
    this.#runningCount += 1;
    this.#claimedBytes += claimedBytes;
    return { request, startedMs: this.#world.clock.nowMs(), claimedBytes };
  }

  #release({ claimedBytes }: Running): void {
    this.#runningCount -= 1;
    this.#claimedBytes -= claimedBytes;
    this.#world.roomMade();
  }

  #measure({ request, startedMs }: Running, errno: ErrnoName | undefined): void {
    const { board, clock, meter } = this.#world;
    const seconds = (clock.nowMs() - startedMs) / 1000;
    meter.requestFinished(board, commandName(request.command), request.lengthBytes, seconds, errno);
  }

  #task(body: () => Promise<void>): void {
    this.#taskCount += 1;
    void body()
      .catch((error: unknown) => this.#world.failed(error))
      .finally(() => this.#taskDone());
  }

  #taskDone(): void {
    this.#taskCount -= 1;
    if (this.#taskCount > 0) return;
    const waiting = this.#whenSettled;
    this.#whenSettled = [];
    for (const resolve of waiting) resolve();
  }
}
