import { unreachable } from '../../base/unreachable.js';
import { Command } from '../wire/constants.js';
import type { Arrival } from '../wire/framing.js';
import { type NbdRequest, SIMPLE_REPLY_BYTES } from '../wire/transmission-wire.js';
import { DiskChanges, type LeftOfWrite } from './disk-changes.js';
import { DiskQueries } from './disk-queries.js';
import { DiskReads } from './disk-reads.js';
import { Replies } from './replies.js';
import { RequestsUnderWay } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';

/** A request that was not answered. It may be done once more: nobody was told that it was done. */
export interface Unanswered {
  readonly request: NbdRequest;
  /** Of a WRITE. */
  readonly write: LeftOfWrite | undefined;
}

/**
 * Executes the requests of one connection against its board's device, many at a time, and answers in the order in which they
 * finish. Its memory is what it has claimed: payloads on their way to the device, replies on their way to the peer.
 */
export class DiskSession {
  readonly #underWay: RequestsUnderWay;
  readonly #replies: Replies;
  readonly #reads: DiskReads;
  readonly #changes: DiskChanges;
  readonly #queries: DiskQueries;

  constructor(world: SessionWorld) {
    this.#underWay = new RequestsUnderWay(world);
    this.#replies = new Replies(world, this.#underWay);
    this.#reads = new DiskReads(world, this.#underWay, this.#replies);
    this.#changes = new DiskChanges(world, this.#underWay, this.#replies);
    this.#queries = new DiskQueries(world, this.#underWay, this.#replies);
  }

  get claimedBytes(): number {
    return this.#underWay.claimedBytes;
  }

  /** Whether to read the next request. */
  hasRoom(): boolean {
    return this.#underWay.hasRoom();
  }

  /** A payload of so many bytes waits for space; what is answered is called when it does no longer. */
  setAside(bytes: number): () => void {
    return this.#underWay.setAside(bytes);
  }

  /** Resolves when nothing that was begun touches the device any more and every reply was handed to the outbox. */
  settled(): Promise<void> {
    return this.#underWay.settled();
  }

  /** In the order in which they came; what was written of them may still come to be. */
  unanswered(): readonly Unanswered[] {
    return [...this.#underWay.unanswered].map((running) => ({
      request: running.request,
      write: this.#changes.leftOf(running),
    }));
  }

  /** A reply was sent by half. */
  get isInMidReply(): boolean {
    return this.#underWay.isInMidReply;
  }

  start(arrival: Arrival): void {
    switch (arrival.kind) {
      case 'refused':
        this.#replies.refused(this.#underWay.begin(arrival.request, SIMPLE_REPLY_BYTES), arrival.refusal);
        break;
      case 'failed':
        this.#changes.beginFailed(arrival.request, arrival.errno);
        break;
      case 'payload':
        this.#changes.writePiece(arrival);
        break;
      case 'request':
        this.#execute(arrival.request);
        break;
      default:
        unreachable(arrival);
    }
  }

  #execute(request: NbdRequest): void {
    switch (request.command) {
      case Command.Read:
        this.#reads.start(request);
        break;
      case Command.Flush:
      case Command.Trim:
      case Command.WriteZeroes:
        this.#changes.start(request);
        break;
      case Command.Cache:
        this.#queries.prefetch(request);
        break;
      case Command.BlockStatus:
        this.#queries.tellAllocation(request);
        break;
      default:
        throw new Error(`command ${request.command} was let through`);
    }
  }
}
