import type { Duplex } from 'node:stream';
import type { Budget } from '../base/budget.js';
import type { Clock, Timer } from '../base/clock.js';
import { NBD_EARLY_BYTES_MAX, NBD_HANDSHAKE_MS, NBD_LINGER_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { Malformed } from '../base/malformed.js';
import { unreachable } from '../base/unreachable.js';
import { WaitingDevice } from '../block/waiting-device.js';
import type { Board } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { DiskUser } from '../boards/writer-lock/writer-lock.js';
import type { Terms } from './agreement.js';
import type { BufferPool } from './buffer-pool.js';
import { ByteQueue } from './byte-queue.js';
import { Command } from './constants.js';
import { DiskSession } from './disk-session.js';
import { type Arrival, HandshakeFraming, RequestFraming } from './framing.js';
import type { NbdMeter } from './meter.js';
import {
  type Exports,
  NEGOTIATION_BEGINS,
  type NegotiationCommand,
  type NegotiationEvent,
  type NegotiationState,
  negotiate,
} from './negotiation.js';
import { Outbox } from './outbox.js';
import { refusal } from './transmission.js';
import type { TurnBudget } from './turn-budget.js';

/** What the server gives a connection and wants to hear of it. */
export interface ConnectionWorld {
  readonly lookup: BoardLookup;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: NbdMeter;
  readonly turn: TurnBudget;
  readonly pool: BufferPool;
  /** For payloads that wait for space. */
  readonly heldMemory: Budget;
  /** Of the socket beneath the stream. */
  probe(): Promise<'alive' | 'gone'>;
  /** The socket beneath drops what it has not sent yet when it is destroyed. */
  abandon(): void;
  attached(connection: NbdConnection, board: string): void;
  /** The disk is no longer touched by this connection; told before its lock is released. */
  detached(connection: NbdConnection, board: string, because: string): void;
  refused(connection: NbdConnection, board: string | undefined, exportName: string, because: string): void;
  /** Nothing is left of it. */
  closed(connection: NbdConnection): void;
}

type Phase =
  | { readonly at: 'negotiating'; readonly framing: HandshakeFraming; readonly state: NegotiationState }
  | {
      readonly at: 'transmitting';
      readonly framing: RequestFraming;
      readonly session: DiskSession;
      readonly use: DiskUse;
    }
  | { readonly at: 'closing'; readonly detached: Promise<void>; readonly giveUp: () => void };

interface DiskUse {
  readonly board: Board;
  readonly user: DiskUser;
  /** What waits for space does so no longer, and is not done. */
  readonly giveUp: () => void;
}

/**
 * One client, from greeting to the last byte. Reads from the stream only as long as there is room for what it would read;
 * ends in one place, `close`, which lets what is under way be finished first.
 */
export class NbdConnection {
  readonly peer: string;
  readonly #stream: Duplex;
  readonly #world: ConnectionWorld;
  readonly #exports: Exports;
  readonly #queue = new ByteQueue();
  readonly #outbox: Outbox;
  #phase: Phase;
  #deadline: Timer;
  #peerEnded = false;
  /** Why nothing more is read, once that is so: what was read before is finished first. */
  #finishing: { readonly because: string; readonly lingerMs: number } | undefined;
  #advancing = false;
  #lostBecause = 'connection closed';

  constructor(stream: Duplex, peer: string, world: ConnectionWorld) {
    this.peer = peer;
    this.#stream = stream;
    this.#world = world;
    this.#exports = exportsOf(world.lookup);
    this.#outbox = new Outbox(stream);
    this.#phase = { at: 'negotiating', framing: new HandshakeFraming(this.#queue), state: NEGOTIATION_BEGINS };
    this.#deadline = this.#startDeadline();
    stream.on('data', (chunk: Uint8Array) => this.#received(chunk));
    stream.on('end', () => this.#ended());
    stream.on('drain', () => this.#advance());
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.#lostBecause = `connection lost (${error.code ?? error.message})`;
    });
    stream.on('close', () => this.#streamClosed());
    this.#step({ kind: 'connected' });
  }

  /** The board whose disk it uses, once it does. */
  get board(): string | undefined {
    return this.#phase.at === 'transmitting' ? this.#phase.use.board.name : undefined;
  }

  /** Bytes held in memory for this connection: not yet parsed, not yet written, not yet taken by the peer. */
  get bufferedBytes(): number {
    const phase = this.#phase;
    const inSession = phase.at === 'transmitting' ? phase.session.claimedBytes + phase.framing.collectedBytes : 0;
    return this.#queue.length + inSession;
  }

  /**
   * Reads no more; requests under way are finished, and answered if `how` is graceful. Those that wait for space are given up
   * when nobody could take the answer any more: at once if `how` is abrupt, else after `lingerMs`. Resolves when the disk is
   * no longer touched. A second call changes nothing, unless it is abrupt.
   */
  close(because: string, how: 'graceful' | 'abrupt', lingerMs = NBD_LINGER_MS): Promise<void> {
    const phase = this.#phase;
    if (phase.at === 'closing') {
      if (how === 'abrupt') this.#drop();
      return phase.detached;
    }
    this.#deadline.cancel();
    this.#queue.clear();
    const detached = phase.at === 'transmitting' ? this.#detach(phase, because) : Promise.resolve();
    this.#phase = { at: 'closing', detached, giveUp: phase.at === 'transmitting' ? phase.use.giveUp : () => {} };
    if (how === 'abrupt') this.#drop();
    else this.#sayGoodbye(detached, lingerMs);
    this.#world.log.debug({ peer: this.peer, because }, 'nbd.connection.ended');
    return detached;
  }

  /**
   * Closes gracefully when all requests that were read are under way: they are out of the kernel, and nobody else could answer them.
   * Those that find no room within `lingerMs` are dropped.
   */
  finish(because: string, lingerMs: number): void {
    this.#finishing ??= { because, lingerMs };
    const late = this.#world.clock.after(lingerMs, () => void this.close(because, 'abrupt'));
    this.#stream.once('close', () => late.cancel());
    // What Node has read for a stream that is paused comes as 'data' here, at once.
    if (this.#stream.isPaused()) this.#stream.read();
    this.#advance();
  }

  async #detach({ session, use }: Extract<Phase, { readonly at: 'transmitting' }>, because: string): Promise<void> {
    await session.settled();
    this.#world.detached(this, use.board.name, because);
    use.board.writerLock.release(use.user);
  }

  // Bytes that still come in are read and dropped: closing over unread bytes is a RST, which could overtake our last replies.
  #sayGoodbye(detached: Promise<void>, lingerMs: number): void {
    this.#stream.resume();
    const linger = this.#world.clock.after(lingerMs, () => this.#drop());
    this.#stream.once('close', () => linger.cancel());
    void detached.then(() => this.#stream.end(() => this.#stream.destroy()));
  }

  // A write that was held must not come over whatever the board does to its disk after it was started again.
  #drop(): void {
    this.#world.abandon();
    this.#stream.destroy();
    if (this.#phase.at === 'closing') this.#phase.giveUp();
  }

  #streamClosed(): void {
    void this.close(this.#lostBecause, 'abrupt').finally(() => this.#world.closed(this));
  }

  #received(chunk: Uint8Array): void {
    if (this.#phase.at === 'closing') return;
    this.#queue.push(chunk);
    this.#advance();
  }

  /** The peer says no more, but waits for what it asked for. */
  #ended(): void {
    this.#peerEnded = true;
    if (this.#isChoosing()) void this.close(this.#lostBecause, 'abrupt');
    this.#advance();
  }

  /** Does all that can be done with the bytes that are here, then decides whether to read more. */
  #advance(): void {
    if (this.#advancing) return; // a reply to a stream that is gone reports room from within
    this.#advancing = true;
    try {
      let goesOn = true;
      while (goesOn) goesOn = this.#takeOne();
      if (this.#finishing !== undefined && !this.#isHeldUp()) {
        void this.close(this.#finishing.because, 'graceful', this.#finishing.lingerMs);
      } else if (this.#peerEnded && !this.#isHeldUp()) void this.close(this.#lostBecause, 'graceful');
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#advancing = false;
    }
    this.#throttle();
  }

  #takeOne(): boolean {
    const phase = this.#phase;
    if (this.#isHeldUp()) return false;
    switch (phase.at) {
      case 'negotiating': {
        const message = phase.framing.next();
        if (message !== undefined) this.#step(message);
        return message !== undefined;
      }
      case 'transmitting': {
        const arrival = phase.framing.next();
        if (arrival !== undefined) this.#serve(phase.session, arrival);
        return arrival !== undefined;
      }
      case 'closing':
        return false;
      default:
        return unreachable(phase);
    }
  }

  /** Whether something must happen on our side before the next message may be looked at. */
  #isHeldUp(): boolean {
    const phase = this.#phase;
    switch (phase.at) {
      case 'negotiating':
        return this.#isChoosing() || this.#stream.writableNeedDrain;
      case 'transmitting':
        return !phase.session.hasRoom();
      case 'closing':
        return false;
      default:
        return unreachable(phase);
    }
  }

  // While the writer lock is waited for the stream is read on, so that a client that gives up is noticed.
  #throttle(): void {
    const phase = this.#phase;
    const patient = phase.at === 'negotiating' && this.#queue.length < NBD_EARLY_BYTES_MAX;
    const isLast = this.#finishing !== undefined && phase.at !== 'closing';
    if (isLast || (this.#isHeldUp() && !patient)) this.#stream.pause();
    else if (this.#stream.isPaused()) this.#stream.resume();
  }

  #serve(session: DiskSession, arrival: Arrival): void {
    if (arrival.request.command === Command.Disc) void this.close('disconnected', 'graceful');
    else session.start(arrival);
  }

  #step(event: NegotiationEvent): void {
    const phase = this.#phase;
    if (phase.at !== 'negotiating') throw new Error(`${event.kind} while ${phase.at}`);
    const { state, commands } = negotiate(phase.state, event, this.#exports);
    this.#phase = { ...phase, state };
    for (const command of commands) this.#obey(command);
  }

  #obey(command: NegotiationCommand): void {
    switch (command.kind) {
      case 'send':
        this.#outbox.send(command.bytes, () => {});
        break;
      case 'takeDisk':
        void this.#takeDisk(command.board).catch((error: unknown) => this.#fail(error));
        break;
      case 'tellRefused':
        this.#world.refused(this, command.board, command.exportName, command.because);
        break;
      case 'close':
        void this.close(command.because, 'graceful');
        break;
      default:
        unreachable(command);
    }
  }

  async #takeDisk(name: string): Promise<void> {
    const board = this.#world.lookup.byName(name);
    if (board === undefined) throw new Error(`${name} was found a moment ago`);
    const user: DiskUser = {
      peerAddress: this.peer,
      probe: () => this.#world.probe(),
      close: (because) => this.close(because, 'abrupt'),
    };
    this.#deadline.cancel(); // it is we who keep the client waiting
    const verdict = await board.writerLock.acquire(user);
    if (this.#phase.at !== 'negotiating') {
      if (verdict.answer === 'granted') board.writerLock.release(user);
      return;
    }
    this.#step({ kind: 'lock', verdict });
    const terms = this.#terms();
    if (terms !== undefined) this.#transmit(board, user, terms);
    else if (!this.#isClosing()) this.#deadline = this.#startDeadline();
    this.#advance();
  }

  /** What was negotiated, once it was. */
  #terms(): Terms | undefined {
    const phase = this.#phase;
    return phase.at === 'negotiating' && phase.state.at === 'transmitting' ? phase.state.terms : undefined;
  }

  #transmit(board: Board, user: DiskUser, { form, requests, tellsAllocation }: Terms): void {
    const { turn, pool, heldMemory, meter, clock, log } = this.#world;
    const waiting = board.space && new WaitingDevice(board.disk, board.space, (bytes) => session.setAside(bytes));
    const session = new DiskSession({
      turn,
      pool,
      heldMemory,
      meter,
      clock,
      log,
      form,
      board: board.name,
      device: waiting ?? board.disk,
      outbox: this.#outbox,
      roomMade: () => this.#advance(),
      broken: (because) => void this.close(because, 'abrupt'),
      failed: (error) => this.#fail(error),
    });
    const { inChunks } = form;
    const { flagsPayload } = requests;
    const serving = { sizeBytes: board.disk.sizeBytes, inChunks, flagsPayload, tellsAllocation };
    const framing = new RequestFraming(this.#queue, (request) => refusal(request, serving), pool, requests);
    const use = { board, user, giveUp: () => waiting?.giveUp() };
    this.#phase = { at: 'transmitting', framing, session, use };
    this.#world.attached(this, board.name);
  }

  #isChoosing(): boolean {
    return this.#phase.at === 'negotiating' && this.#phase.state.at === 'choosing';
  }

  #isClosing(): boolean {
    return this.#phase.at === 'closing';
  }

  #startDeadline(): Timer {
    return this.#world.clock.after(NBD_HANDSHAKE_MS, () => void this.close('chose no export in time', 'abrupt'));
  }

  #fail(error: unknown): void {
    if (error instanceof Malformed) {
      void this.close(`not NBD: ${error.message}`, 'abrupt');
      return;
    }
    this.#world.log.error({ peer: this.peer, err: error }, 'nbd.connection.bug');
    void this.close('a fault of the server', 'abrupt');
  }
}

/** The inventory may change while a client haggles: nothing is remembered between two options. */
function exportsOf(lookup: BoardLookup): Exports {
  return {
    find(name) {
      const board = lookup.byName(name);
      if (board === undefined) return undefined;
      const { description, disk } = board;
      return { name: board.name, sizeBytes: disk.sizeBytes, description, rotational: false };
    },
    names: () => lookup.names(),
  };
}
