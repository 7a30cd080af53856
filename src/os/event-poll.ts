import { closeSync, readSync, writeSync } from 'node:fs';
import { libcFunction } from './libc.js';

/**
 * Waits for many descriptors at once, and for another thread's call (epoll(7), eventfd(2)): for a thread that does nothing
 * else. It blocks its thread, so the main thread must never wait by it.
 */
export class EventPoll {
  /** The number may be told to another thread: one may wait while another says what to wait for. */
  readonly descriptor: number;
  readonly #events = Buffer.alloc(READY_MAX * EVENT.bytes);
  #readyCount = 0;

  constructor(descriptor = calls.epoll_create1.now(EPOLL_CLOEXEC)) {
    this.descriptor = descriptor;
  }

  /** From now on `wait` tells when there is something to read from it; until it is closed. */
  add(descriptor: number): void {
    calls.epoll_ctl.now(this.descriptor, EPOLL_CTL_ADD, descriptor, eventOf(EPOLLIN, descriptor));
  }

  /**
   * As `add`, but told only when something comes, not as long as it is there: the kernel need not look again at each wait. So
   * whoever is told has to take all that is there, or to say that it did not, by `notAllTaken`.
   */
  addEdge(descriptor: number): void {
    calls.epoll_ctl.now(this.descriptor, EPOLL_CTL_ADD, descriptor, eventOf(EPOLLIN + EPOLLET, descriptor));
  }

  /** What `addEdge` told of is told of once more if there is something left. */
  notAllTaken(descriptor: number): void {
    calls.epoll_ctl.now(this.descriptor, EPOLL_CTL_MOD, descriptor, eventOf(EPOLLIN + EPOLLET, descriptor));
  }

  /** As `add`, but told once only, by this token in place of the descriptor, and of an error too. */
  addOnce(descriptor: number, token: number): void {
    calls.epoll_ctl.now(this.descriptor, EPOLL_CTL_ADD, descriptor, eventOf(EPOLLIN | EPOLLONESHOT, token));
  }

  /** What `addOnce` told of is to be told of once more. */
  again(descriptor: number, token: number): void {
    calls.epoll_ctl.now(this.descriptor, EPOLL_CTL_MOD, descriptor, eventOf(EPOLLIN | EPOLLONESHOT, token));
  }

  /** Not needed for one that is closed: the kernel takes that out itself. */
  remove(descriptor: number): void {
    calls.epoll_ctl.now(this.descriptor, EPOLL_CTL_DEL, descriptor, this.#events);
  }

  /** How many have something to be read; 0 when `timeoutMs` (whole milliseconds) have gone by, or a signal came. */
  wait(timeoutMs: number): number {
    this.#readyCount = this.#waitOnce(timeoutMs);
    return this.#readyCount;
  }

  /** The descriptors, or tokens, that the last `wait` counted, by 0 to count − 1. */
  ready(index: number): number {
    return this.#events.readInt32LE(index * EVENT.bytes + EVENT.dataAt);
  }

  close(): void {
    closeSync(this.descriptor);
  }

  #waitOnce(timeoutMs: number): number {
    return calls.epoll_wait.attempt(this.descriptor, this.#events, READY_MAX, timeoutMs) ?? 0;
  }
}

/** Wakes a thread that waits by an EventPoll. The number of its descriptor may be told to another thread. */
export class WakeUp {
  readonly descriptor: number;

  constructor(descriptor = calls.eventfd.now(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    this.descriptor = descriptor;
  }

  /** From any thread. */
  ring(): void {
    writeSync(this.descriptor, ONE);
  }

  /** So that `wait` does not tell of it again. */
  silence(): void {
    readSync(this.descriptor, new Uint8Array(8));
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

const calls = {
  epoll_create1: libcFunction('epoll_create1', 'int epoll_create1(int flags)'),
  epoll_ctl: libcFunction('epoll_ctl', 'int epoll_ctl(int poll, int operation, int fd, const void *event)'),
  epoll_wait: libcFunction('epoll_wait', 'int epoll_wait(int poll, void *events, int count, int timeout)'),
  eventfd: libcFunction('eventfd', 'int eventfd(unsigned int value, int flags)'),
};

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLLET = 2 ** 31;
const EPOLLIN = 1;
const EPOLLONESHOT = 0x4000_0000;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/** struct epoll_event is packed on x86-64 and nowhere else (epoll_ctl(2), sys/epoll.h). */
const EVENT = process.arch === 'x64' ? { bytes: 12, dataAt: 4 } : { bytes: 16, dataAt: 8 };
const READY_MAX = 64;

function eventOf(kinds: number, data: number): Buffer {
  const event = Buffer.alloc(EVENT.bytes);
  event.writeUInt32LE(kinds, 0);
  event.writeInt32LE(data, EVENT.dataAt);
  return event;
}

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);
