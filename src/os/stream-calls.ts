import { closeSync } from 'node:fs';
import koffi from 'koffi';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE } from './file-space.js';
import { libcFunction } from './libc.js';
import { MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK } from './socket-calls.js';

/**
 * What a thread needs that moves bytes between connections and files by itself: each call takes the place of its bytes as a
 * number (`addressOf`), because to name them by an object costs as much as the call. None of them waits for a peer; `readFile`,
 * `writeFile`, `zeroFile` and `syncFile` wait for a disk, as may FileSender, and are for threads that may.
 *
 * All answer −1 where the kernel said no; `failedBy` tells why, as long as nothing else was called.
 */
const calls = {
  recv: libcFunction('recv', 'int64_t recv(int fd, uint64_t bytes, uint64_t length, int flags)').bare,
  send: libcFunction('send', 'int64_t send(int fd, uint64_t bytes, uint64_t length, int flags)').bare,
  pread: libcFunction('pread', 'int64_t pread(int fd, uint64_t bytes, uint64_t length, int64_t offset)').bare,
  preadv2: libcFunction('preadv2', 'int64_t preadv2(int fd, uint64_t iov, int count, int64_t offset, int flags)').bare,
  pwrite: libcFunction('pwrite', 'int64_t pwrite(int fd, uint64_t bytes, uint64_t length, int64_t offset)').bare,
  sendfile: libcFunction('sendfile', 'int64_t sendfile(int socket, int file, uint64_t offset, uint64_t length)').bare,
  schedYield: libcFunction('sched_yield', 'int sched_yield()').bare,
  fallocate: libcFunction('fallocate', 'int fallocate(int fd, int mode, int64_t offset, int64_t length)').bare,
  fdatasync: libcFunction('fdatasync', 'int fdatasync(int fd)').bare,
};
const dup = libcFunction('fcntl', 'int fcntl(int fd, int command, int value)');

/** Where these bytes lie in memory. They must be shared memory, and outlive every use of the address: nothing keeps them. */
export function addressOf(bytes: Uint8Array): number {
  return Number(koffi.address(bytes));
}

/** Up to `length` bytes that have come; 0 where the peer says no more. */
export function receive(socket: number, address: number, length: number): number {
  return calls.recv(socket, address, length, MSG_DONTWAIT);
}

/** Whether `receive` would have something to say: bytes, an end or a failure. A byte of it is put at `address`. */
export function hasCome(socket: number, address: number): boolean {
  return calls.recv(socket, address, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || !isForLater(failedBy());
}

/** Lets whoever waits for this processor have it. */
export function giveWay(): void {
  calls.schedYield();
}

/** As many of them as the socket has room for. */
export function send(socket: number, address: number, length: number, moreComes = false): number {
  return calls.send(socket, address, length, MSG_DONTWAIT | MSG_NOSIGNAL | (moreComes ? MSG_MORE : 0));
}

/** Waits for the disk where it must. */
export function readFile(file: number, address: number, length: number, offset: number): number {
  return calls.pread(file, address, length, offset);
}

/** A thread's own way of sending bytes of a file without copying them: as many as the socket has room for. Waits for a disk where they are not in the page cache. */
export class FileSender {
  // off_t. In shared memory: that never moves.
  readonly #offset = new Uint32Array(new SharedArrayBuffer(8));
  readonly #address = addressOf(new Uint8Array(this.#offset.buffer));

  send(socket: number, file: number, offset: number, length: number): number {
    this.#offset[0] = offset;
    this.#offset[1] = offset / 0x1_0000_0000;
    return calls.sendfile(socket, file, this.#address, length);
  }
}

/** Into the page cache, which may wait for the disk all the same. */
export function writeFile(file: number, address: number, length: number, offset: number): number {
  return calls.pwrite(file, address, length, offset);
}

/** The range reads as zeroes; its space is given back or, with `keepAllocated`, stays. 0 where the filesystem can do that. */
export function zeroFile(file: number, offset: number, length: number, keepAllocated: boolean): number {
  return calls.fallocate(file, keepAllocated ? ZEROED : PUNCHED, offset, length);
}

/** Everything written before is on stable storage when it answers 0. */
export function syncFile(file: number): number {
  return calls.fdatasync(file);
}

/** A thread's own way of asking for what the page cache has, without waiting for a disk: fewer bytes, or EAGAIN, where some are missing. */
export class CachedFileReader {
  // struct iovec for each place: address and length, 64 bits each. In shared memory: that never moves.
  readonly #words: Uint32Array;
  readonly #address: number;
  #placeCount = 0;

  constructor(placesMax = 1) {
    this.#words = new Uint32Array(new SharedArrayBuffer(placesMax * 16));
    this.#address = addressOf(new Uint8Array(this.#words.buffer));
  }

  read(file: number, address: number, length: number, offset: number): number {
    this.#placeCount = 0;
    this.add(address, length);
    return this.readAdded(file, offset);
  }

  /** One more place, which takes what follows the place before it in the file. */
  add(address: number, length: number): void {
    const words = this.#words;
    const at = 4 * this.#placeCount;
    words[at] = address;
    words[at + 1] = address / 0x1_0000_0000;
    words[at + 2] = length;
    words[at + 3] = 0;
    this.#placeCount += 1;
  }

  /** Into all places that were added since the last call. */
  readAdded(file: number, offset: number): number {
    const count = this.#placeCount;
    this.#placeCount = 0;
    return calls.preadv2(file, this.#address, count, offset, RWF_NOWAIT);
  }
}

/** Another number for the same socket, closed by `closeDescriptor`; undefined where there is none left. */
export function duplicate(descriptor: number): number | undefined {
  return dup.attempt(descriptor, F_DUPFD_CLOEXEC, 3);
}

export function closeDescriptor(descriptor: number): void {
  closeSync(descriptor);
}

/** errno of the call that has just failed. */
export function failedBy(): number {
  return koffi.errno();
}

/** Nothing has come, or there is no room: ask again. So it is also while another thread looks whether the peer lives (`tcp-probe`): for those microseconds the kernel says EPERM to who reads, EINVAL to who writes. */
export function isForLater(errno: number): boolean {
  return errno === EAGAIN || errno === EPERM || errno === EINVAL;
}

const EPERM = 1;
const EINVAL = 22;
export const EAGAIN = 11;
export const EINTR = 4;

const PUNCHED = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
const ZEROED = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
const MSG_MORE = 0x8000;
const RWF_NOWAIT = 0x08;
const F_DUPFD_CLOEXEC = 1030;
