import type { Duplex } from 'node:stream';
import type { Budget } from '../base/budget.js';
import type { Clock, Timer } from '../base/clock.js';
import { NBD_EARLY_BYTES_MAX, NBD_HANDSHAKE_MS, NBD_LANE_INPUT_BYTES, NBD_LINGER_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { Malformed } from '../base/malformed.js';
import { unreachable } from '../base/unreachable.js';
import type { Board, TlsMode } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { DiskUser, LockVerdict } from '../boards/writer-lock/writer-lock.js';
import type { FrozenConnection } from './handover/frozen-connection.js';
import { HaltedConnection } from './handover/halted-connection.js';
import { type Exports, exportsFor } from './handshake/admission.js';
import { type Terms, termsAsTold } from './handshake/agreement.js';
import {
  NEGOTIATION_BEGINS,
  type NegotiationCommand,
  type NegotiationEvent,
  type NegotiationState,
  negotiate,
  type RefusedDisk,
} from './handshake/negotiation.js';
import type { TlsDoor } from './handshake/tls-door.js';
import { type Channel, CLEAR } from './handshake/tls-peer.js';
import type { Impatience } from './lanes/carried-connection.js';
import type { Lanes } from './lanes/lanes.js';
import type { ConnectionOver } from './lanes/messages.js';
import type { NbdMeter } from './meter.js';
import { ServedDisk } from './served-disk.js';
import type { BufferPool } from './session/buffer-pool.js';
import type { TurnBudget } from './session/turn-budget.js';
import { Transport } from './transport.js';
import { ByteQueue } from './wire/byte-queue.js';
import { Command } from './wire/constants.js';
import { type Arrival, type BegunPayload, HandshakeFraming, type RequestFraming } from './wire/framing.js';
import { COMPACT_REQUESTS } from './wire/transmission-wire.js';

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
  readonly lanes: Pick<Lanes, 'ready' | 'carry'>;
  readonly tls: NbdTls | undefined;
  /** Whether who is at the other end of a socket still answers. */
  probe(socket: object): Promise<'alive' | 'gone'>;
  attached(connection: NbdConnection, board: string, how: Attachment): void;
  /** The disk is no longer touched by this connection; told before its lock is released. */
  detached(connection: NbdConnection, board: string, because: string): void;
  /** Its TLS came to nothing, and so does the connection. */
  tlsFailed(connection: NbdConnection, because: string): void;
  refused(connection: NbdConnection, refused: RefusedDisk): void;
  /** Nothing is left of it. */
  closed(connection: NbdConnection): void;
}

/** `isKept`: it is still attached, from before we were started. */
export interface Attachment {
  readonly channel: Channel;
  readonly isKept: boolean;
}

/** How clients may come by TLS, where they may. */
export interface NbdTls {
  /** `nbd.tls.mode`. */
  readonly mode: TlsMode;
  readonly door: TlsDoor;
}

type Phase =
  /** It was another process's: its client knows nothing of that. */
  | { readonly at: 'thawing' }
  | { readonly at: 'negotiating'; readonly framing: HandshakeFraming; readonly state: NegotiationState }
  | {
      readonly at: 'transmitting';
      readonly framing: RequestFraming;
      readonly disk: ServedDisk;
    }
  /** The lanes take requests, and hand over what is not for them. */
  | { readonly at: 'carried'; readonly disk: ServedDisk }
  /** Nobody reads from it any more: it is to be another process's. */
  | { readonly at: 'halted'; readonly disk: ServedDisk }
  | { readonly at: 'closing'; readonly detached: Promise<void>; readonly giveUp: () => void };

type Agreed = Extract<NegotiationState, { readonly at: 'transmitting' }>;

/** States in which the next message is not looked at. */
const HELD_UP: ReadonlySet<NegotiationState['at']> = new Set(['startingTls', 'choosing', 'transmitting']);

/**
 * One client, from greeting to the last byte. Reads from the stream only as long as there is room for what it would read;
 * ends in one place, `close`, which lets what is under way be finished first.
 */
export class NbdConnection {
  readonly peer: string;
  readonly #transport: Transport;
  readonly #world: ConnectionWorld;
  readonly #exports: Exports;
  readonly #queue = new ByteQueue();
  #phase: Phase;
  #deadline: Timer;
  #peerEnded = false;
  #isHalting = false;
  /** On its way to the lanes, before they have it. */
  #carrying: Promise<unknown> | undefined;
  /** It is served here until what it had sent to the process before is dealt with. */
  #isForLanes = false;
  /** Why nothing more is read, once that is so: what was read before is finished first. */
  #finishing: { readonly because: string; readonly lingerMs: number } | undefined;
  #advancing = false;
  readonly #whenClosed: (() => void)[] = [];

  /** `thawing`: its client has had its greeting from the process before us, and `thaw` follows. */
  constructor(socket: Duplex, peer: string, world: ConnectionWorld, begins: 'greeting' | 'thawing' = 'greeting') {
    this.peer = peer;
    this.#world = world;
    this.#exports = exportsFor(peer, world.lookup, world.tls?.mode);
    this.#phase = { at: 'negotiating', framing: new HandshakeFraming(this.#queue), state: NEGOTIATION_BEGINS };
    this.#deadline = this.#startDeadline();
    this.#transport = new Transport(socket, {
      received: (chunk) => this.#received(chunk),
      ended: () => this.#ended(),
      drained: () => this.#advance(),
      closed: (because) => this.#socketClosed(because),
    });
    if (begins === 'greeting') this.#step({ kind: 'connected' });
    else this.#phase = { at: 'thawing' };
  }

  /** The board whose disk it uses, once it does. */
  get board(): string | undefined {
    return this.#disk?.use.board.name;
  }

  /** Its client has not got a disk yet. */
  get isHaggling(): boolean {
    return this.#phase.at === 'negotiating';
  }

  /** It speaks TLS: nobody but OpenSSL knows where it is, and no other process can go on with it. */
  get isSecured(): boolean {
    return this.#transport.isSecured;
  }

  /** Bytes held in memory for this connection: not yet parsed, not yet written, not yet taken by the peer. */
  get bufferedBytes(): number {
    const phase = this.#phase;
    const collected = phase.at === 'transmitting' ? phase.framing.collectedBytes : 0;
    return this.#queue.length + (this.#disk?.claimedBytes ?? 0) + collected;
  }

  get #disk(): ServedDisk | undefined {
    const phase = this.#phase;
    return 'disk' in phase ? phase.disk : undefined;
  }

  /** Goes on where the process before us has stopped: at once after it was made. Only if the disk is its board's alone. */
  async thaw(board: Board, frozen: FrozenConnection): Promise<LockVerdict> {
    this.#deadline.cancel();
    this.#queue.push(frozen.input);
    const user = this.#asUser();
    const verdict = await board.writerLock.acquire(user);
    if (verdict.answer !== 'granted' || this.#phase.at !== 'thawing') {
      if (verdict.answer === 'granted') board.writerLock.release(user);
      void this.close('not taken up', 'abrupt');
      return verdict;
    }
    try {
      const disk = this.#serving(board, user, termsAsTold(frozen.terms));
      this.#world.attached(this, board.name, { channel: CLEAR, isKept: true });
      this.#transport.outbox.send(frozen.unsent, () => {});
      this.#transmitHere(disk, frozen.begun);
      disk.resume(frozen.unanswered);
      this.#isForLanes = true;
      this.#advance();
    } catch (error) {
      void this.close('not taken up', 'abrupt');
      throw error;
    }
    return verdict;
  }

  /**
   * Reads no more, so that another process can go on with it: what was read before is done meanwhile, or by that one. Resolves when it
   * is out of the lanes and out of Node's hands, which a peer that takes nothing may keep it from for ever; or with why it can't be.
   */
  async halt(impatience: Impatience): Promise<HaltedConnection | string> {
    this.#isHalting = true;
    await this.#carrying;
    const phase = this.#phase;
    if (phase.at !== 'transmitting' && phase.at !== 'carried') return 'it was over just then';
    const left = phase.at === 'transmitting' ? phase.framing.leaveOff() : undefined;
    const rest = this.#queue.take(this.#queue.length);
    for (const bytes of [left?.collected, rest]) if (bytes !== undefined) this.#queue.push(bytes);
    const { disk } = phase;
    this.#phase = { at: 'halted', disk };
    const socket = await this.#transport.halt(impatience);
    if (socket === undefined || this.#isClosing()) return 'it was over just then';
    const { descriptor, replies, fetched } = socket;
    this.#queue.push(fetched.input);
    for (const request of fetched.unsynced) disk.handed({ kind: 'request', request });
    const begun = left === undefined ? fetched.begun : left.begun;
    const { outbox } = this.#transport;
    const isOver = () => this.#isClosing();
    const { isBusy } = fetched;
    return new HaltedConnection({ descriptor, replies, disk, outbox, queue: this.#queue, begun, isBusy, isOver });
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
    const disk = this.#disk;
    const detached = disk === undefined ? Promise.resolve() : this.#detach(disk, because, how);
    this.#phase = { at: 'closing', detached, giveUp: () => disk?.giveUp() };
    if (how === 'abrupt') this.#drop();
    else this.#transport.sayGoodbye(detached, this.#world.clock, lingerMs, () => this.#drop());
    this.#world.log.debug({ peer: this.peer, because }, 'nbd.connection.ended');
    return detached;
  }

  /**
   * Closes gracefully when all requests that were read are under way: they are out of the kernel, and nobody else could answer them.
   * Those that find no room within `lingerMs` are dropped.
   */
  async finish(because: string, lingerMs: number): Promise<void> {
    this.#finishing ??= { because, lingerMs };
    const late = this.#world.clock.after(lingerMs, () => void this.close(because, 'abrupt'));
    this.#whenClosed.push(() => late.cancel());
    if (this.#phase.at === 'carried')
      await this.#fetchFromLanes(this.#phase).catch((error: unknown) => this.#fail(error));
    else this.#transport.readBuffered();
    this.#advance();
  }

  async #fetchFromLanes({ disk }: Extract<Phase, { readonly at: 'carried' }>): Promise<void> {
    const left = await this.#transport.fetch();
    if (this.#phase.at !== 'carried') return;
    this.#queue.push(disk.goOn(left));
    this.#transport.readBuffered();
    this.#transmitHere(disk);
  }

  async #detach(disk: ServedDisk, because: string, how: 'graceful' | 'abrupt'): Promise<void> {
    await this.#transport.fetch();
    await disk.settled();
    const { board, user } = disk.use;
    this.#world.detached(this, board.name, because);
    board.writerLock.release(user, how === 'graceful' ? 'left' : 'lost');
  }

  // A write that was held must not come over whatever the board does to its disk after it was started again.
  #drop(): void {
    this.#transport.drop();
    if (this.#phase.at === 'closing') this.#phase.giveUp();
  }

  #socketClosed(because: string): void {
    for (const tell of this.#whenClosed.splice(0)) tell();
    void this.close(because, 'abrupt').finally(() => this.#world.closed(this));
  }

  #received(chunk: Uint8Array): void {
    if (this.#phase.at === 'closing') return;
    this.#queue.push(chunk);
    this.#advance();
  }

  /** The peer says no more, but waits for what it asked for. */
  #ended(): void {
    this.#peerEnded = true; // lanes that have it will meet it behind what comes before it
    if (this.#isChoosing()) void this.close('connection closed', 'abrupt');
    this.#advance();
  }

  /** Does all that can be done with the bytes that are here, then decides whether to read more. */
  #advance(): void {
    if (this.#advancing) return; // a reply to a stream that is gone reports room from within
    this.#advancing = true;
    try {
      let goesOn = true;
      while (goesOn) goesOn = !this.#mayMoveOn() && this.#takeOne();
      if (this.#finishing !== undefined && !this.#isHeldUp()) {
        void this.close(this.#finishing.because, 'graceful', this.#finishing.lingerMs);
      } else if (this.#peerEnded && !this.#isHeldUp()) void this.close('connection closed', 'graceful');
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#advancing = false;
    }
    this.#moveOn();
    this.#throttle();
  }

  /** What was thawed goes to the lanes where a request ends: a client that always has more to send would not come to an end by itself. */
  #moveOn(): void {
    const phase = this.#phase;
    if (phase.at !== 'transmitting' || !this.#mayMoveOn()) return;
    this.#isForLanes = false;
    void this.#toLanes(phase.disk)
      .then(() => this.#advance())
      .catch((error: unknown) => this.#fail(error));
  }

  #mayMoveOn(): boolean {
    const phase = this.#phase;
    if (!this.#isForLanes || phase.at !== 'transmitting') return false;
    if (this.#isHalting || this.#finishing !== undefined) return false;
    return phase.framing.isBetweenRequests && this.#queue.length <= NBD_LANE_INPUT_BYTES;
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
        if (arrival !== undefined) this.#serve(phase.disk, arrival);
        return arrival !== undefined;
      }
      case 'carried':
      case 'thawing':
      case 'halted':
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
        return HELD_UP.has(phase.state.at) || this.#transport.needsDrain;
      case 'transmitting':
        return !phase.disk.hasRoom();
      case 'carried':
      case 'thawing':
      case 'halted':
        return true;
      case 'closing':
        return false;
      default:
        return unreachable(phase);
    }
  }

  // While the writer lock is waited for the stream is read on, so that a client that gives up is noticed.
  #throttle(): void {
    const phase = this.#phase;
    const isEarly = phase.at === 'negotiating' && phase.state.at !== 'startingTls';
    const patient = isEarly && this.#queue.length < NBD_EARLY_BYTES_MAX;
    const isLast = this.#finishing !== undefined && phase.at !== 'closing';
    if (isLast || (this.#isHeldUp() && !patient)) this.#transport.pause();
    else this.#transport.resume();
  }

  #serve(disk: ServedDisk, arrival: Arrival): void {
    if (arrival.request.command === Command.Disc) void this.close('disconnected', 'graceful');
    else disk.start(arrival);
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
        this.#transport.outbox.send(command.bytes, () => {});
        break;
      case 'startTls':
        void this.#startTls(command.acknowledgement).catch((error: unknown) => this.#fail(error));
        break;
      case 'takeDisk':
        void this.#takeDisk(command.board).catch((error: unknown) => this.#fail(error));
        break;
      case 'tellRefused': {
        const { kind: _, ...refused } = command;
        this.#world.refused(this, refused);
        break;
      }
      case 'close':
        void this.close(command.because, 'graceful');
        break;
      default:
        unreachable(command);
    }
  }

  // The ten seconds for the handshake go on.
  async #startTls(acknowledgement: Uint8Array): Promise<void> {
    const { tls } = this.#world;
    if (tls === undefined) throw new Error('TLS was promised, and there is none');
    if (this.#queue.length + this.#transport.unseenBytes > 0) {
      this.#tlsFailed('there are bytes behind STARTTLS in the clear, which anybody may have put there');
      return;
    }
    this.#transport.pause();
    this.#transport.outbox.send(acknowledgement, () => {});
    await this.#transport.flushed();
    if (this.#isClosing()) return;
    const verdict = await this.#transport.secure(tls.door);
    if (this.#isClosing()) return;
    if (verdict.answer === 'failed') {
      this.#tlsFailed(verdict.because);
      return;
    }
    this.#step({ kind: 'tlsBegun', peer: verdict.peer });
    this.#advance();
  }

  // It was promised: there is no way back into the clear (proto.md, "FORCEDTLS mode").
  #tlsFailed(because: string): void {
    this.#world.tlsFailed(this, because);
    void this.close(`no TLS: ${because}`, 'abrupt');
  }

  async #takeDisk(name: string): Promise<void> {
    const board = this.#world.lookup.byName(name);
    if (board === undefined) throw new Error(`${name} was found a moment ago`);
    const user = this.#asUser();
    this.#deadline.cancel(); // it is we who keep the client waiting
    const locked = await board.writerLock.acquire(user);
    const verdict = locked.answer === 'granted' ? await begun(board) : locked;
    if (locked.answer === 'granted' && (verdict.answer !== 'granted' || this.#phase.at !== 'negotiating')) {
      board.writerLock.release(user);
    }
    if (this.#phase.at !== 'negotiating') return;
    this.#step({ kind: 'lock', verdict });
    const agreed = this.#agreed();
    if (agreed !== undefined) await this.#transmit(board, user, agreed);
    else if (!this.#isClosing()) this.#deadline = this.#startDeadline();
    this.#advance();
  }

  /** What was negotiated, once it was. */
  #agreed(): Agreed | undefined {
    const phase = this.#phase;
    return phase.at === 'negotiating' && phase.state.at === 'transmitting' ? phase.state : undefined;
  }

  #asUser(): DiskUser {
    return {
      peerAddress: this.peer,
      probe: () => this.#probe(),
      close: (because) => this.close(because, 'abrupt'),
    };
  }

  /** Once it is halted nothing tells whether its peer answers: nobody lets it through. */
  async #probe(): Promise<'alive' | 'gone'> {
    const verdict = await this.#world.probe(this.#transport.socket);
    return this.#isHalting ? 'alive' : verdict;
  }

  async #transmit(board: Board, user: DiskUser, { channel, terms }: Agreed): Promise<void> {
    const disk = this.#serving(board, user, terms);
    this.#world.attached(this, board.name, { channel, isKept: false });
    await this.#toLanes(disk);
  }

  #serving(board: Board, user: DiskUser, terms: Terms): ServedDisk {
    const { turn, pool, heldMemory, meter, clock, log } = this.#world;
    return new ServedDisk(
      { board, user, terms },
      {
        ...{ turn, pool, heldMemory, meter, clock, log, outbox: this.#transport.outbox },
        isFull: (full) => this.#transport.tellFull(full),
        roomMade: () => {
          if (this.#phase.at !== 'carried') this.#advance();
        },
        broken: (because) => void this.close(because, 'abrupt'),
        failed: (error) => this.#fail(error),
      },
    );
  }

  /** Or served here, where they can't have it. */
  async #toLanes(disk: ServedDisk): Promise<void> {
    const carrying = this.#carry(disk);
    this.#carrying = carrying.catch(() => {});
    if (await carrying) return;
    // A stop may have begun with it meanwhile.
    if (this.#phase.at === 'carried' || this.#phase.at === 'negotiating') this.#transmitHere(disk);
  }

  #transmitHere(disk: ServedDisk, begun?: BegunPayload): void {
    const framing = disk.framing(this.#queue, this.#world);
    if (begun !== undefined) framing.goOn(begun);
    this.#phase = { at: 'transmitting', framing, disk };
  }

  /** To the lanes, where they can have it: false if it stays here. */
  async #carry(disk: ServedDisk): Promise<boolean> {
    const { board, terms } = disk.use;
    // Nobody but our own client has headers of the other length, and what comes by TLS is for OpenSSL alone.
    const mayBe = terms.requests === COMPACT_REQUESTS && !this.#transport.isSecured;
    if (board.disk.shared === undefined || !mayBe) return false;
    this.#phase = { at: 'carried', disk };
    // Until there are lanes nobody looks at what comes.
    this.#transport.pause();
    await Promise.all([this.#transport.flushed(), this.#world.lanes.ready()]);
    this.#transport.readBuffered();
    const isStopping = this.#isClosing() || this.#isHalting || this.#finishing !== undefined;
    if (isStopping || this.#queue.length > NBD_LANE_INPUT_BYTES) return false;
    // Not before: another may have taken its place meanwhile.
    const file = board.disk.shared;
    if (file === undefined) return false;
    const input = this.#queue.take(this.#queue.length) ?? new Uint8Array(0);
    const isCarried = this.#transport.carry(this.#world.lanes, board.name, file, {
      input,
      form: disk.laneForm,
      handed: (arrival) => disk.handed(arrival),
      over: (end) => this.#laneOver(end),
      failed: (error) => this.#fail(error),
    });
    if (!isCarried) this.#queue.push(input);
    return isCarried;
  }

  #laneOver(end: ConnectionOver): void {
    switch (end.kind) {
      case 'disconnect':
        void this.close('disconnected', 'graceful');
        break;
      case 'ended':
        void this.close('connection closed', 'graceful');
        break;
      case 'lost':
        void this.close(`connection lost (${end.because})`, 'abrupt');
        break;
      case 'notNbd':
        void this.close(`not NBD: ${end.because}`, 'abrupt');
        break;
      default:
        unreachable(end);
    }
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

/** A disk that is thrown away at each boot is, before anybody uses it. */
async function begun({ own }: Board): Promise<LockVerdict> {
  const verdict = await own?.begin();
  return verdict?.answer === 'refused' ? { answer: 'unusable', because: verdict.because } : { answer: 'granted' };
}
