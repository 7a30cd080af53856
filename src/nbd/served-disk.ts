import { Malformed } from '../base/malformed.js';
import { WaitingDevice } from '../block/waiting-device.js';
import type { Board } from '../boards/board.js';
import type { DiskUser } from '../boards/writer-lock/writer-lock.js';
import type { Terms } from './handshake/agreement.js';
import type { Fetched } from './lanes/carried-connection.js';
import { Form } from './lanes/lane-table.js';
import type { Piece } from './session/disk-changes.js';
import { DiskSession, type Unanswered } from './session/disk-session.js';
import type { SessionWorld } from './session/session-world.js';
import { refusal, type Serving } from './session/transmission.js';
import type { ByteQueue } from './wire/byte-queue.js';
import { Command, type ErrnoName } from './wire/constants.js';
import { type Arrival, RequestFraming } from './wire/framing.js';
import type { NbdRequest } from './wire/transmission-wire.js';

interface UnansweredSoFar {
  readonly request: NbdRequest;
  readonly write: { readonly pieces: Piece[]; hasCome: boolean; readonly failure: ErrnoName | undefined } | undefined;
}

/** Whose disk it is, who has it, and what was agreed. */
export interface DiskUse {
  readonly board: Board;
  readonly user: DiskUser;
  readonly terms: Terms;
}

/** What a disk's connection gives, and wants to hear. */
export interface ServedDiskTies extends Omit<SessionWorld, 'board' | 'device' | 'form'> {
  /** Whether there is too much to do for lanes to hand over more. */
  isFull(full: boolean): void;
}

/** A disk in use by one client: its requests are done here on the main thread, whether they were read here or handed over by lanes. */
export class ServedDisk {
  readonly use: DiskUse;
  readonly #session: DiskSession;
  readonly #waiting: WaitingDevice | undefined;
  readonly #isFull: (full: boolean) => void;
  readonly #serving: Serving;
  /** Came from the lanes, and there was no room for it yet: little, since they hand over no more meanwhile. */
  readonly #arrivals: Arrival[] = [];
  #isTaking = false;
  #whenTaken: (() => void) | undefined;

  constructor(use: DiskUse, { isFull, roomMade, ...ties }: ServedDiskTies) {
    const { board, terms } = use;
    this.use = use;
    this.#isFull = isFull;
    this.#waiting = board.space && new WaitingDevice(board.disk, board.space, (bytes) => this.#session.setAside(bytes));
    this.#session = new DiskSession({
      ...ties,
      form: terms.form,
      board: board.name,
      device: this.#waiting ?? board.disk,
      roomMade: () => {
        this.#take();
        roomMade();
      },
    });
    const { sizeBytes } = board.disk;
    const { form, requests, tellsAllocation } = terms;
    this.#serving = { sizeBytes, inChunks: form.inChunks, flagsPayload: requests.flagsPayload, tellsAllocation };
  }

  /** What was agreed, as lanes are told it. */
  get laneForm(): number {
    const { inChunks, tellsAllocation } = this.#serving;
    return (inChunks ? Form.InChunks : 0) | (tellsAllocation ? Form.TellsAllocation : 0);
  }

  /** Bytes of payloads and replies in memory. */
  get claimedBytes(): number {
    const arrived = this.#arrivals.reduce((sum, each) => sum + (each.kind === 'payload' ? each.bytes.length : 0), 0);
    return this.#session.claimedBytes + arrived;
  }

  hasRoom(): boolean {
    return this.#arrivals.length === 0 && this.#session.hasRoom();
  }

  /** Requests out of what is read on this thread. */
  framing(queue: ByteQueue, { pool }: Pick<SessionWorld, 'pool'>): RequestFraming {
    const judge = (request: NbdRequest) => refusal(request, this.#serving);
    return new RequestFraming(queue, judge, pool, this.use.terms.requests);
  }

  /** Only where there is room. */
  start(arrival: Arrival): void {
    this.#session.start(arrival);
  }

  /** From a lane: waits until there is room. */
  handed(arrival: Arrival): void {
    this.#arrivals.push(arrival);
    this.#take();
  }

  /** In place of those that a lane is still at. */
  takeOver(requests: readonly NbdRequest[]): void {
    for (const request of requests) this.handed({ kind: 'request', request });
  }

  /**
   * Where lanes have left off: a payload that they had begun with is dealt with to its end, if it has come whole; otherwise its
   * request was not read. Answers what follows it.
   */
  goOn({ input, begun, unsynced }: Fetched): Uint8Array {
    this.takeOver(unsynced);
    if (begun === undefined) return input;
    const { request, leftBytes } = begun;
    if (leftBytes > input.length) return new Uint8Array(0);
    const because = refusal(request, this.#serving);
    const rest = { at: request.lengthBytes - leftBytes, bytes: input.slice(0, leftBytes), isLast: true };
    if (because === undefined) this.handed({ kind: 'payload', request, ...rest });
    else this.handed({ kind: 'refused', request, refusal: because });
    return input.subarray(leftBytes);
  }

  /** What was read and not answered, in order. */
  unanswered(): readonly Unanswered[] {
    return [...this.#session.unanswered(), ...this.#notBegun()];
  }

  /** Whether somebody else could go on with it: not in the middle of a reply. */
  get isBetweenReplies(): boolean {
    return !this.#session.isInMidReply;
  }

  /** What was not answered by who had the connection before. Throws Malformed. */
  resume(all: readonly Unanswered[]): void {
    for (const each of all) for (const arrival of this.#arrivalsOf(each)) this.handed(arrival);
  }

  // The last of them may be a WRITE whose payload has not come whole; pieces of one lie next to each other.
  #notBegun(): readonly Unanswered[] {
    const all: UnansweredSoFar[] = [];
    for (const arrival of this.#arrivals) {
      const open = all.at(-1)?.write;
      if (arrival.kind === 'payload') {
        const piece = { at: arrival.at, bytes: arrival.bytes.slice() }; // it goes on to be done here
        const write = open !== undefined && !open.hasCome ? open : { pieces: [], hasCome: false, failure: undefined };
        if (write !== open) all.push({ request: arrival.request, write });
        write.pieces.push(piece);
        write.hasCome = arrival.isLast;
      } else if (arrival.kind === 'failed') {
        all.push({ request: arrival.request, write: { pieces: [], hasCome: false, failure: arrival.errno } });
      } else {
        all.push({ request: arrival.request, write: undefined });
      }
    }
    return all;
  }

  #arrivalsOf({ request, write }: Unanswered): readonly Arrival[] {
    const because = refusal(request, this.#serving);
    // What has not come whole is answered when it has.
    if (because !== undefined) {
      return write?.hasCome === false ? [] : [{ kind: 'refused', request, refusal: because }];
    }
    if (write === undefined && request.command === Command.Write)
      throw new Malformed('a WRITE is left without its payload');
    if (write === undefined) return [{ kind: 'request', request }];
    const { pieces, hasCome, failure } = write;
    const failed: readonly Arrival[] = failure === undefined ? [] : [{ kind: 'failed', request, errno: failure }];
    const payload = pieces.map((piece, index): Arrival => {
      const isLast = hasCome && index === pieces.length - 1;
      return { kind: 'payload', request, ...piece, isLast };
    });
    return [...failed, ...payload];
  }

  /** Resolves when nothing more is done to the disk for this client. Lanes hand over no more. */
  async settled(): Promise<void> {
    if (this.#arrivals.length > 0) {
      await new Promise<void>((resolve) => {
        this.#whenTaken = resolve;
      });
    }
    await this.#session.settled();
  }

  /** What waits, for space or for its turn, does so no longer, and is not done. */
  giveUp(): void {
    this.#waiting?.giveUp();
    this.#arrivals.length = 0;
    this.#whenTaken?.();
  }

  #take(): void {
    if (this.#isTaking) return; // what is done at once makes room at once
    this.#isTaking = true;
    while (this.#session.hasRoom()) {
      const next = this.#arrivals.shift();
      if (next === undefined) break;
      this.#session.start(next);
    }
    this.#isTaking = false;
    this.#isFull(!this.hasRoom());
    if (this.#arrivals.length === 0) this.#whenTaken?.();
  }
}
