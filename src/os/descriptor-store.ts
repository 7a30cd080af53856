/**
 * The service manager's descriptor store (sd_notify(3), FDSTORE=1): what is given to it stays open while we are away, and comes back
 * to who is started next, among the descriptors of LISTEN_FDS and under the name that it was given.
 */
import { closeSync } from 'node:fs';
import { systemUptimeMs } from '../base/clock.js';
import { DESCRIPTOR_STORE_ANSWER_MS, DESCRIPTOR_STORE_MAX } from '../base/limits.js';
import { sendMessage } from './descriptor-passing.js';
import { hasFailedBy, libcFunction, SystemCallError } from './libc.js';
import {
  AF_UNIX,
  getsockopt,
  intBytes,
  MSG_DONTWAIT,
  poll,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOL_SOCKET,
  setsockopt,
  socket,
} from './socket-calls.js';

/** Where descriptors can be left. */
export interface DescriptorStore {
  /** How many it takes; it says nothing of what it does not take. */
  readonly max: number;
  /** Leaves one there, which stays open here as well; false if it can't be told of it now. Waits for a manager that is busy, though not for long. */
  keep(name: string, descriptor: number): boolean;
  /** It need not keep what has this name any more; false as for `keep`. */
  forget(name: string): boolean;
  /** Whether it has dealt with all that it was told: who ends before that may lose what it was to keep. False if it does not say so within DESCRIPTOR_STORE_ANSWER_MS. */
  settled(): Promise<boolean>;
}

/** Undefined where the manager has none for us. `address`: of NOTIFY_SOCKET; `said`: what the variable FDSTORE says. */
export function descriptorStore(address: Uint8Array, said: string | undefined): DescriptorStore | undefined {
  if (said === undefined || !/^[1-9]\d{0,8}$/.test(said)) return undefined;
  const descriptor = openSocket();
  return descriptor === undefined
    ? undefined
    : new ManagersStore(descriptor, address, Math.min(Number(said), DESCRIPTOR_STORE_MAX));
}

class ManagersStore implements DescriptorStore {
  readonly max: number;
  readonly #socket: number;
  readonly #address: Uint8Array;
  /** For so long it may still make us wait until all that it was told is settled. */
  #patienceMs = DESCRIPTOR_STORE_ANSWER_MS;

  constructor(socket: number, address: Uint8Array, max: number) {
    this.#socket = socket;
    this.#address = address;
    this.max = max;
  }

  // FDPOLL=0: it is for us to find out that a peer has gone; a manager that drops such a socket by itself could not tell us.
  keep(name: string, descriptor: number): boolean {
    return this.#say(`FDSTORE=1\nFDNAME=${name}\nFDPOLL=0\n`, descriptor);
  }

  forget(name: string): boolean {
    return this.#say(`FDSTOREREMOVE=1\nFDNAME=${name}\n`);
  }

  async settled(): Promise<boolean> {
    // The manager closes its end of the pipe when it has come to this message; we hear that as the end of the pipe.
    const ends = Buffer.alloc(8);
    if (pipe2.attempt(ends, O_CLOEXEC) === undefined) return false;
    const [ours, theirs] = [ends.readInt32LE(0), ends.readInt32LE(4)];
    try {
      const isSaid = this.#say('BARRIER=1', theirs);
      closeSync(theirs);
      return isSaid && (await hasEnded(ours));
    } finally {
      closeSync(ours);
      this.#patienceMs = DESCRIPTOR_STORE_ANSWER_MS;
    }
  }

  #say(text: string, descriptor?: number): boolean {
    const message = { address: this.#address, bytes: Buffer.from(text), descriptor };
    if (sendMessage(this.#socket, message, MSG_DONTWAIT)) return true;
    // Its queue is full: that has room for ten where nobody has set it to more.
    if (!hasFailedBy('EAGAIN') || this.#patienceMs < 1) return false;
    const beganMs = systemUptimeMs();
    setSendTimeout(this.#socket, this.#patienceMs);
    const isSaid = sendMessage(this.#socket, message, 0);
    this.#patienceMs -= systemUptimeMs() - beganMs;
    return isSaid;
  }
}

/** What the kernel calls a socket by: no other has, or will have, this number until the host is started anew. Undefined if it is none. */
export function socketCookie(descriptor: number): string | undefined {
  const cookie = Buffer.alloc(8);
  if (getsockopt.attempt(descriptor, SOL_SOCKET, SO_COOKIE, cookie, intBytes(8)) === undefined) return undefined;
  return cookie.readBigUInt64LE().toString(16);
}

/** Kept open: there may be no descriptor left when it is needed. */
function openSocket(): number | undefined {
  try {
    return socket.now(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  } catch (error) {
    if (error instanceof SystemCallError) return undefined;
    throw error;
  }
}

/** struct timeval: seconds (8) | microseconds (8). */
function setSendTimeout(descriptor: number, delayMs: number): void {
  const time = Buffer.alloc(16);
  const microseconds = Math.max(1, Math.round(delayMs * 1000));
  time.writeBigInt64LE(BigInt(Math.floor(microseconds / 1_000_000)), 0);
  time.writeBigInt64LE(BigInt(microseconds % 1_000_000), 8);
  setsockopt.now(descriptor, SOL_SOCKET, SO_SNDTIMEO, time, time.length);
}

/** Waits on a thread of its own. */
async function hasEnded(pipe: number): Promise<boolean> {
  //  struct pollfd: descriptor (4) | asked for (2) | what is so (2)
  const asked = Buffer.alloc(8);
  asked.writeInt32LE(pipe, 0);
  const endMs = systemUptimeMs() + DESCRIPTOR_STORE_ANSWER_MS;
  for (let leftMs = DESCRIPTOR_STORE_ANSWER_MS; leftMs > 0; leftMs = endMs - systemUptimeMs()) {
    const count = await poll.later(asked, 1, Math.ceil(leftMs)).catch(interrupted);
    if (count !== undefined) return (asked.readInt16LE(6) & POLLHUP) !== 0;
  }
  return false;
}

/** By a signal, which may come to any thread. */
function interrupted(error: unknown): undefined {
  if (!(error instanceof SystemCallError)) throw error;
}

const pipe2 = libcFunction('pipe2', 'int pipe2(void *ends, int flags)');

/** Linux, the same on x86-64 and arm64 (asm-generic/socket.h, asm-generic/fcntl.h, asm-generic/poll.h). */
const SO_SNDTIMEO = 21;
const SO_COOKIE = 57;
const O_CLOEXEC = 0o2000000;
const POLLHUP = 16;
