import {
  NBD_BYTES_IN_FLIGHT_MAX,
  NBD_HELD_BYTES_PER_CONNECTION_MAX,
  NBD_REQUESTS_IN_FLIGHT_MAX,
} from '../../base/limits.js';
import type { ErrnoName } from '../wire/constants.js';
import type { NbdRequest } from '../wire/transmission-wire.js';
import type { SessionWorld } from './session-world.js';
import { commandName } from './transmission.js';

/** A request from its last header byte to the moment when its reply was taken by the kernel. */
export interface Running {
  readonly request: NbdRequest;
  readonly startedMs: number;
  readonly claimedBytes: number;
}

/**
 * What one connection has under way: how many requests, how much memory they claim (payloads on their way to the device,
 * replies on their way to the peer), and what of them may still touch the device.
 */
export class RequestsUnderWay {
  readonly #world: SessionWorld;
  #claimedBytes = 0;
  /** Of these, the payloads that wait for space and were found room elsewhere. */
  #asideBytes = 0;
  #runningCount = 0;
  /** Nothing of their replies was handed to the outbox. */
  readonly #unanswered = new Set<Running>();
  /** Of replies that go out in pieces. */
  #halfSentCount = 0;
  /** What may still touch the device or has still to hand its reply to the outbox. */
  #taskCount = 0;
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

  /** Every request begins and is released once; between the two it is measured once, when its reply is ready. */
  begin(request: NbdRequest, claimedBytes: number): Running {
    this.#runningCount += 1;
    this.#claimedBytes += claimedBytes;
    const running = { request, startedMs: this.#world.clock.nowMs(), claimedBytes };
    this.#unanswered.add(running);
    return running;
  }

  /** Its reply is on its way from here on, whole. */
  answering(running: Running): void {
    this.#unanswered.delete(running);
  }

  /** The same in pieces, of which the first comes now; `sent` ends it. */
  answeringInPieces(running: Running): { sent(): void } {
    this.#unanswered.delete(running);
    this.#halfSentCount += 1;
    return {
      sent: () => {
        this.#halfSentCount -= 1;
      },
    };
  }

  /** In the order in which they came. Another may answer them as well, having done them once more. */
  get unanswered(): Iterable<Running> {
    return this.#unanswered;
  }

  /** A reply has begun, and nobody but who has begun it can end it. */
  get isInMidReply(): boolean {
    return this.#halfSentCount > 0;
  }

  measure({ request, startedMs }: Running, errno: ErrnoName | undefined): void {
    const { board, clock, meter } = this.#world;
    const seconds = (clock.nowMs() - startedMs) / 1000;
    meter.requestFinished(board, commandName(request.command), request.lengthBytes, seconds, errno);
  }

  release(running: Running): void {
    this.#unanswered.delete(running);
    this.#runningCount -= 1;
    this.#claimedBytes -= running.claimedBytes;
    this.#world.roomMade();
  }

  /** For what a request needs only for a while. Who gives it back says so to the connection, or answers. */
  claim(bytes: number): void {
    this.#claimedBytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#claimedBytes -= bytes;
  }

  /** Counts as touching the device until it is over. It may not throw but for a bug of ours. */
  task(body: () => Promise<void>): void {
    this.#taskCount += 1;
    void body()
      .catch((error: unknown) => this.#world.failed(error))
      .finally(() => this.#taskDone());
  }

  /** Resolves when nothing that was begun touches the device any more and every reply was handed to the outbox. */
  settled(): Promise<void> {
    if (this.#taskCount === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenSettled.push(resolve));
  }

  #taskDone(): void {
    this.#taskCount -= 1;
    if (this.#taskCount > 0) return;
    const waiting = this.#whenSettled;
    this.#whenSettled = [];
    for (const resolve of waiting) resolve();
  }
}
