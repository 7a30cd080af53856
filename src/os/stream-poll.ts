import { closeSync } from 'node:fs';
import { errnoName, libcFunction } from './libc.js';
import { addressOf, EINTR, failedBy } from './stream-calls.js';

/**
 * Many threads wait for the same sockets (epoll(7)): what becomes ready is told to one of them, once, and to nobody else until it is
 * asked for again. The descriptor may be told to other threads.
 */
export class StreamPoll {
  readonly descriptor: number;
  readonly #event = new Int32Array(new SharedArrayBuffer(16));
  readonly #address = addressOf(new Uint8Array(this.#event.buffer));

  constructor(descriptor = calls.create.now(EPOLL_CLOEXEC)) {
    this.descriptor = descriptor;
  }

  /** The token of what is ready; undefined where a signal came. Blocks its thread. One at a time: who is told of two keeps one waiting. */
  wait(): number | undefined {
    const count = calls.wait.bare(this.descriptor, this.#address, 1, FOR_EVER);
    if (count === 1) return this.#event[TOKEN_AT];
    if (failedBy() === EINTR) return undefined;
    throw new Error(`epoll_wait(2) failed: ${errnoName(failedBy())}`);
  }

  /** Throws where the kernel has no room for another (`max_user_watches`). Nothing is told before it is asked for, but that a connection is gone: once, with NO_TOKEN. Level-triggered, that would be told for ever. */
  add(descriptor: number): void {
    this.#control(EPOLL_CTL_ADD, descriptor, EPOLLONESHOT, NO_TOKEN, calls.control.now);
  }

  /** Told to all who wait, again and again. Throws as `add`. */
  addForAll(descriptor: number, token: number): void {
    this.#control(EPOLL_CTL_ADD, descriptor, EPOLLIN, token, calls.control.now);
  }

  /** To be told once: that there is something to read or an end, room to write, or either. */
  ask(descriptor: number, what: Readiness, token: number): void {
    this.#control(EPOLL_CTL_MOD, descriptor, EPOLLONESHOT | what, token);
  }

  /** Before it is closed: a socket with two descriptors stays known otherwise. */
  remove(descriptor: number): void {
    this.#control(EPOLL_CTL_DEL, descriptor, 0, 0);
  }

  close(): void {
    closeSync(this.descriptor);
  }

  #control(operation: number, descriptor: number, kinds: number, token: number, call = calls.control.bare): void {
    this.#event[0] = kinds;
    this.#event[TOKEN_AT] = token;
    call(this.descriptor, operation, descriptor, this.#address);
  }
}

/** Of what nobody asked for: whoever asks next is told of it too. */
export const NO_TOKEN = 0;
export const Readiness = { Read: 1, Write: 4, Either: 5 } as const;
export type Readiness = (typeof Readiness)[keyof typeof Readiness];

const calls = {
  create: libcFunction('epoll_create1', 'int epoll_create1(int flags)'),
  control: libcFunction('epoll_ctl', 'int epoll_ctl(int poll, int operation, int fd, uint64_t event)'),
  wait: libcFunction('epoll_wait', 'int epoll_wait(int poll, uint64_t events, int count, int timeout)'),
};

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLLIN = 1;
const EPOLLONESHOT = 0x4000_0000;
const FOR_EVER = -1;
/** struct epoll_event is packed on x86-64 and nowhere else; its data, of which we use the lower half, begins at this int. */
const TOKEN_AT = process.arch === 'x64' ? 1 : 2;
