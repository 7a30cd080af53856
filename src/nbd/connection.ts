import type { Duplex } from 'node:stream';
import { NBD_LINGER_MS } from '../base/limits.js';
import { Malformed } from '../base/malformed.js';
import { unreachable } from '../base/unreachable.js';
import type { Board } from '../boards/board.js';
import type { DiskUser, LockVerdict } from '../boards/writer-lock/writer-lock.js';
import type { ConnectionWorld } from './connection-world.js';
import type { FrozenConnection } from './handover/frozen-connection.js';
import { HaltedConnection, type HaltVerdict } from './handover/halted-connection.js';
import { exportsFor } from './handshake/admission.js';
import { termsAsTold } from './handshake/agreement.js';
import { Haggling } from './handshake/haggling.js';
import { CLEAR } from './handshake/tls-peer.js';
import type { Impatience } from './lanes/carried-connection.js';
import type { ConnectionOver } from './lanes/messages.js';
import { RequestReading } from './request-reading.js';
import { type DiskUse, ServedDisk } from './served-disk.js';
import { Transport } from './transport.js';
import { ByteQueue } from './wire/byte-queue.js';

type Phase =
  /** It was another process's: its client knows nothing of that. */
  | { readonly at: 'thawing' }
  | { readonly at: 'haggling'; readonly haggling: Haggling }
  | { readonly at: 'serving'; readonly reading: RequestReading }
  /** Nobody reads from it any more: it is to be another process's. */
  | { readonly at: 'halted'; readonly disk: ServedDisk }
  | { readonly at: 'closing'; readonly detached: Promise<void>; readonly giveUp: () => void };

/**
 * One client, from greeting to the last byte. Reads from the stream only as long as there is room for what it would read;
 * ends in one place, `close`, which lets what is under way be finished first.
 */
export class NbdConnection {
  readonly peer: string;
  readonly #transport: Transport;
  readonly #world: ConnectionWorld;
  readonly #queue = new ByteQueue();
  #phase: Phase = { at: 'thawing' };
  #peerEnded = false;
  #isHalting = false;
  /** Why nothing more is read, once that is so: what was read before is finished first. */
  #finishing: { readonly because: string; readonly lingerMs: number } | undefined;
  #advancing = false;
  readonly #whenClosed: (() => void)[] = [];

  /** `thawing`: its client has had its greeting from the process before us, and `thaw` follows. */
  constructor(socket: Duplex, peer: string, world: ConnectionWorld, begins: 'greeting' | 'thawing' = 'greeting') {
    this.peer = peer;
    this.#world = world;
    this.#transport = new Transport(socket, {
      received: (chunk) => this.#received(chunk),
      ended: () => this.#ended(),
      drained: () => this.#advance(),
      closed: (because) => this.#socketClosed(because),
    });
    if (begins === 'greeting') this.#haggle();
  }

  /** The board whose disk it uses, once it does. */
  get board(): string | undefined {
    return this.#disk?.use.board.name;
  }

  /** Its client has not got a disk yet. */
  get isHaggling(): boolean {
    return this.#phase.at === 'haggling';
  }

  /** It speaks TLS: nobody but OpenSSL knows where it is, and no other process can go on with it. */
  get isSecured(): boolean {
    return this.#transport.isSecured;
  }

  /** Bytes held in memory for this connection: not yet parsed, not yet written, not yet taken by the peer. */
  get bufferedBytes(): number {
    const phase = this.#phase;
    const collected = phase.at === 'serving' ? phase.reading.collectedBytes : 0;
    return this.#queue.length + (this.#disk?.claimedBytes ?? 0) + collected;
  }

  get #disk(): ServedDisk | undefined {
    const phase = this.#phase;
    if (phase.at === 'serving') return phase.reading.disk;
    return phase.at === 'halted' ? phase.disk : undefined;
  }

  /** Goes on where the process before us has stopped: at once after it was made. Only if the disk is its board's alone. */
  async thaw(board: Board, frozen: FrozenConnection): Promise<LockVerdict> {
    this.#queue.push(frozen.input);
    const user = this.#asUser();
    const verdict = await board.writerLock.acquire(user);
    if (verdict.answer !== 'granted' || this.#phase.at !== 'thawing') {
      if (verdict.answer === 'granted') board.writerLock.release(user);
      void this.close('not taken up', 'abrupt');
      return verdict;
    }
    try {
      const reading = this.#serve({ board, user, terms: termsAsTold(frozen.terms) });
      this.#world.attached(this, board.name, { channel: CLEAR, isKept: true });
      this.#transport.outbox.send(frozen.unsent, () => {});
      reading.resume(frozen.begun);
      reading.disk.resume(frozen.unanswered);
      this.#advance();
    } catch (error) {
      void this.close('not taken up', 'abrupt');
      throw error;
    }
    return verdict;
  }

  /**
   * Reads no more, so that another process can go on with it: what was read before is done meanwhile, or by that one. Resolves when it
   * is out of the lanes and out of Node's hands, which a peer that takes nothing may keep it from for ever.
   */
  async halt(impatience: Impatience): Promise<HaltVerdict> {
    this.#isHalting = true;
    if (this.#phase.at === 'serving') await this.#phase.reading.moved();
    if (this.#phase.at !== 'serving') return { answer: 'over' };
    const { reading } = this.#phase;
    const { disk } = reading;
    const left = reading.leaveOff();
    this.#phase = { at: 'halted', disk };
    const socket = await this.#transport.halt(impatience);
    if (socket === 'over' || this.#isClosing()) return { answer: 'over' };
    if (socket === 'outOfDescriptors') return { answer: 'stuck', because: 'no file descriptor is left for it' };
    const { descriptor, replies, fetched } = socket;
    this.#queue.push(fetched.input);
    disk.takeOver(fetched.unsynced);
    const begun = left ?? fetched.begun;
    const { outbox } = this.#transport;
    const isOver = () => this.#isClosing();
    const { isBusy } = fetched;
    const parts = { descriptor, replies, disk, outbox, queue: this.#queue, begun, isBusy, isOver };
    return { answer: 'halted', connection: new HaltedConnection(parts) };
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
    if (phase.at === 'haggling') phase.haggling.end();
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
    const phase = this.#phase;
    try {
      if (phase.at === 'serving' && phase.reading.isInLanes) await phase.reading.fetch();
      else this.#transport.readBuffered();
    } catch (error) {
      this.#failed(error);
    }
    this.#advance();
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
    if (this.#phase.at === 'haggling' && this.#phase.haggling.isChoosing)
      void this.close('connection closed', 'abrupt');
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
      } else if (this.#peerEnded && !this.#isHeldUp()) void this.close('connection closed', 'graceful');
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#advancing = false;
    }
    if (this.#phase.at === 'serving') this.#phase.reading.moveOn();
    this.#throttle();
  }

  #takeOne(): boolean {
    const phase = this.#phase;
    if (this.#isHeldUp()) return false;
    if (phase.at === 'haggling') return phase.haggling.takeOne();
    return phase.at === 'serving' && !phase.reading.movesOn && phase.reading.takeOne();
  }

  /** Whether something must happen on our side before the next message may be looked at. */
  #isHeldUp(): boolean {
    const phase = this.#phase;
    switch (phase.at) {
      case 'haggling':
        return phase.haggling.isHeldUp;
      case 'serving':
        return phase.reading.isHeldUp;
      case 'thawing':
      case 'halted':
        return true;
      case 'closing':
        return false;
      default:
        return unreachable(phase);
    }
  }

  #throttle(): void {
    const phase = this.#phase;
    const readsOn = phase.at === 'haggling' && phase.haggling.readsOn;
    const isLast = this.#finishing !== undefined && phase.at !== 'closing';
    if (isLast || (this.#isHeldUp() && !readsOn)) this.#transport.pause();
    else this.#transport.resume();
  }

  #haggle(): void {
    const { lookup, clock, tls } = this.#world;
    const haggling = new Haggling({
      ...{ clock, lookup, queue: this.#queue, transport: this.#transport, door: tls?.door },
      exports: exportsFor(this.peer, lookup, tls?.mode),
      user: () => this.#asUser(),
      agreed: (board, user, { channel, terms }) => {
        const reading = this.#serve({ board, user, terms });
        this.#world.attached(this, board.name, { channel, isKept: false });
        return reading.begin();
      },
      refused: (refused) => this.#world.refused(this, refused),
      tlsFailed: (because) => this.#world.tlsFailed(this, because),
      close: (because, how) => void this.close(because, how),
      failed: this.#failed,
      advance: () => this.#advance(),
    });
    this.#phase = { at: 'haggling', haggling };
    haggling.begin();
  }

  #serve(use: DiskUse): RequestReading {
    const { turn, pool, heldMemory, meter, clock, log, lanes } = this.#world;
    const transport = this.#transport;
    const disk = new ServedDisk(use, {
      ...{ turn, pool, heldMemory, meter, clock, log, outbox: transport.outbox },
      isFull: (full) => transport.tellFull(full),
      roomMade: () => {
        if (this.#phase.at !== 'serving' || !this.#phase.reading.isInLanes) this.#advance();
      },
      broken: (because) => void this.close(because, 'abrupt'),
      failed: this.#failed,
    });
    const reading = new RequestReading(disk, {
      ...{ transport, queue: this.#queue, pool, lanes },
      isOn: () => this.#phase.at === 'serving',
      mayMove: () => this.#phase.at === 'serving' && !this.#isHalting && this.#finishing === undefined,
      over: (end) => this.#readOut(end),
      failed: this.#failed,
      advance: () => this.#advance(),
    });
    if (this.#phase.at === 'haggling') this.#phase.haggling.end();
    this.#phase = { at: 'serving', reading };
    return reading;
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

  /** There is nothing more to come. */
  #readOut(end: ConnectionOver): void {
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

  #isClosing(): boolean {
    return this.#phase.at === 'closing';
  }

  readonly #failed = (error: unknown): void => {
    if (error instanceof Malformed) {
      void this.close(`not NBD: ${error.message}`, 'abrupt');
      return;
    }
    this.#world.log.error({ peer: this.peer, err: error }, 'nbd.connection.bug');
    void this.close('a fault of the server', 'abrupt');
  };
}
