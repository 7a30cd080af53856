import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../base/clock.js';
import type { SharedFile } from '../block/shared-file.js';
import { closeDescriptor, duplicate } from '../os/stream-calls.js';
import { CurrentSocket, descriptorOf, dropUnsent, keepConnected, OwnSocket } from '../os/tcp-probe.js';
import { HeldReplies } from './handover/held-replies.js';
import type { TlsDoor, TlsVerdict } from './handshake/tls-door.js';
import type { CarriedConnection, CarriedTies, Fetched, Impatience } from './lanes/carried-connection.js';
import type { Lanes } from './lanes/lanes.js';
import { Outbox, StreamSink } from './session/outbox.js';

/** Who a socket's events are for, as long as it is Node's. */
export interface TransportListener {
  received(chunk: Uint8Array): void;
  /** The peer says no more; it may still read. */
  ended(): void;
  /** There is room to write again. */
  drained(): void;
  /** Nothing is left of it. */
  closed(because: string): void;
}

/** A socket that nobody reads from or writes to any more. */
export interface HaltedSocket {
  readonly descriptor: number;
  /** Replies that come from here on. */
  readonly replies: HeldReplies;
  /** Of lanes. */
  readonly fetched: Fetched;
}

const NOTHING_FETCHED: Fetched = { input: new Uint8Array(0), begun: undefined, unsynced: [], isBusy: false };

/** A client's socket. It is Node's while the client chooses a disk and again while it takes its leave; between, it may be the lanes'. */
export class Transport {
  readonly outbox: Outbox;
  /** For questions to the kernel. */
  readonly socket = new CurrentSocket(() => this.#lanes?.socket ?? this.#beneath ?? this.#socket);
  readonly #listener: TransportListener;
  readonly #heard = {
    data: (chunk: Uint8Array) => this.#listener.received(chunk),
    end: () => this.#listener.ended(),
    drain: () => this.#listener.drained(),
    error: (error: NodeJS.ErrnoException) => {
      this.#lostBecause = `connection lost (${error.code ?? error.message})`;
    },
    close: () => this.#listener.closed(this.#lostBecause),
  };
  #socket: Duplex;
  /** Where TLS has taken a socket's place: the socket. */
  #beneath: Duplex | undefined;
  #lanes: { readonly socket: OwnSocket; readonly connection: CarriedConnection } | undefined;
  #fetching: Promise<Fetched> | undefined;
  #isDropped = false;
  #lostBecause = 'connection closed';

  constructor(socket: Duplex, listener: TransportListener) {
    this.#listener = listener;
    this.#socket = socket;
    this.outbox = new Outbox(new StreamSink(socket));
    keepConnected(socket);
    this.#listen();
  }

  /** It speaks TLS: what its descriptor carries is for OpenSSL alone. */
  get isSecured(): boolean {
    return this.#beneath !== undefined;
  }

  get needsDrain(): boolean {
    return this.#socket.writableNeedDrain;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  /** What Node has read, and nobody has seen yet. */
  get unseenBytes(): number {
    return this.#socket.readableLength;
  }

  /**
   * Puts TLS in the socket's place, for good. What is to go out in the clear has to be gone, and the socket paused: what has come
   * in since is the client's first word of TLS.
   */
  async secure(door: TlsDoor): Promise<TlsVerdict> {
    const beneath = this.#socket;
    this.#ignore();
    beneath.on('error', () => {}); // the door tells of it, and later the socket above
    const verdict = await door.enter(beneath);
    if (verdict.answer === 'secured') {
      this.#beneath = beneath;
      this.#socket = verdict.socket;
      this.outbox.moveTo(new StreamSink(verdict.socket));
    }
    this.#listen();
    // Who waits for the verdict is to have it first.
    if (this.#socket.closed) setImmediate(() => this.#listener.closed(this.#lostBecause));
    return verdict;
  }

  /** What Node has read for a socket that is paused comes to the listener at once. */
  readBuffered(): void {
    if (this.#socket.isPaused()) this.#socket.read();
  }

  /** Resolves when all that was given to the outbox has gone to the kernel, or never will. */
  flushed(): Promise<void> {
    return new Promise((resolve) => this.outbox.send(new Uint8Array(0), () => resolve()));
  }

  /**
   * To the lanes, with bytes that have come and were not looked at. False if they can't have it: then it goes on as before.
   * Nothing of the peer comes to the listener any more until it is back.
   */
  carry(
    lanes: Pick<Lanes, 'carry'>,
    board: string,
    file: SharedFile,
    { input, ...ties }: Omit<CarriedTies, 'descriptor' | 'echo' | 'reply'>,
  ): boolean {
    const known = this.isSecured ? undefined : descriptorOf(this.#socket);
    if (known === undefined || this.#isDropped) return false;
    const descriptor = duplicate(known);
    const echo = duplicate(known);
    const connection =
      descriptor === undefined || echo === undefined
        ? undefined
        : lanes.carry(board, file, {
            ...ties,
            descriptor,
            echo,
            input,
            reply: (bytes) => this.outbox.send(bytes, () => {}),
          });
    if (descriptor === undefined || connection === undefined) {
      for (const unused of [descriptor, echo]) if (unused !== undefined) closeDescriptor(unused);
      return false;
    }
    this.#lanes = { socket: new OwnSocket(descriptor), connection };
    this.#fetching = undefined;
    this.outbox.moveTo(connection);
    this.#endNodes();
    connection.begin();
    return true;
  }

  /** Of another number of the same socket nothing is heard on the wire. */
  #endNodes(): void {
    this.#socket.removeAllListeners();
    this.#socket.on('error', () => {});
    this.#socket.destroy();
  }

  /** There is too much to do for what comes from the lanes, or no longer. */
  tellFull(full: boolean): void {
    if (this.#lanes !== undefined) this.#lanes.connection.isFull = full;
  }

  /** Back from the lanes, if it was there: resolves when none of them does anything for it any more. */
  async fetch(): Promise<Fetched> {
    this.#fetching ??= this.#fetch();
    return await this.#fetching;
  }

  async #fetch(): Promise<Fetched> {
    const lanes = this.#lanes;
    if (lanes === undefined) return NOTHING_FETCHED;
    await lanes.connection.release();
    this.#lanes = undefined;
    this.#socket = new Socket({ fd: lanes.socket.give(), allowHalfOpen: true });
    this.#listen();
    if (this.#isDropped) this.drop();
    const sink = new StreamSink(this.#socket);
    const fetched = lanes.connection.moveTo(sink);
    this.outbox.moveTo(sink);
    return fetched;
  }

  /**
   * Out of everybody's hands, so that it can be another process's. Resolves when no lane is in it and all that was given to Node has
   * gone to the kernel: never, where the peer does not let that happen. `over`: there is no connection any more, or it takes its leave.
   */
  async halt(impatience: Impatience): Promise<HaltedSocket | 'over' | 'outOfDescriptors'> {
    if (this.#fetching !== undefined) return 'over';
    const halting = this.#halt(impatience);
    this.#fetching = halting.then(() => NOTHING_FETCHED);
    return await halting;
  }

  async #halt(impatience: Impatience): Promise<HaltedSocket | 'over' | 'outOfDescriptors'> {
    const replies = new HeldReplies();
    const lanes = this.#lanes;
    if (lanes === undefined) {
      this.#socket.pause();
      const before = this.outbox.moveTo(replies);
      await new Promise<void>((resolve) => before.write(new Uint8Array(0), () => resolve()));
      this.readBuffered();
      const known = descriptorOf(this.#socket);
      if (known === undefined) return 'over';
      // Node reads on from a socket that is paused, until its buffer is full: so it must not have it any more.
      const descriptor = duplicate(known);
      if (descriptor === undefined) return 'outOfDescriptors';
      this.#endNodes();
      return { descriptor, replies, fetched: NOTHING_FETCHED };
    }
    await lanes.connection.release(impatience);
    this.#lanes = undefined;
    const fetched = lanes.connection.moveTo(replies);
    this.outbox.moveTo(replies);
    return { descriptor: lanes.socket.give(), replies, fetched };
  }

  /**
   * Takes leave once `finished`. Bytes that still come in are read and dropped: closing over unread bytes is a RST, which could
   * overtake our last replies. Who does not take them within `lingerMs` loses them.
   */
  sayGoodbye(finished: Promise<void>, clock: Clock, lingerMs: number, late: () => void): void {
    const linger: Timer = clock.after(lingerMs, late);
    void finished.then(() => {
      this.#socket.once('close', () => linger.cancel());
      if (this.#socket.closed) linger.cancel();
      this.#socket.resume();
      this.#socket.end(() => this.#socket.destroy());
    });
    if (this.#lanes === undefined) this.#socket.resume();
  }

  /** Closes it at once; what the kernel has not sent is dropped too. */
  drop(): void {
    this.#isDropped = true;
    dropUnsent(this.socket);
    if (this.#lanes === undefined) this.#socket.destroy();
  }

  #listen(): void {
    for (const [event, heard] of Object.entries(this.#heard)) this.#socket.on(event, heard);
  }

  /** Others may listen to the same. */
  #ignore(): void {
    for (const [event, heard] of Object.entries(this.#heard)) this.#socket.off(event, heard);
  }
}
