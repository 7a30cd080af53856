/**
 * Sockets that a service manager has made and hands over at the start (sd_listen_fds(3)): LISTEN_FDS of them from descriptor 3
 * on, named by LISTEN_FDNAMES, for the process LISTEN_PID.
 */
import { DESCRIPTOR_STORE_MAX, HANDED_SOCKETS_MAX } from '../base/limits.js';
import { libcFunction, SystemCallError } from './libc.js';
import { getsockname, getsockopt, intBytes, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET } from './socket-calls.js';
import { type SocketPlace, socketPlace } from './socket-place.js';

export interface HandedDescriptor {
  readonly descriptor: number;
  /** `FileDescriptorName=` of the unit; systemd's own default is the unit's name. */
  readonly name: string;
}

export type HandedVerdict =
  | { readonly answer: 'descriptors'; readonly descriptors: readonly HandedDescriptor[] }
  /** Something was handed over, and not as it should have been. */
  | { readonly answer: 'refused'; readonly because: string };

const VARIABLES = ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES'] as const;
/** SD_LISTEN_FDS_START. */
const FIRST = 3;
/** sd_listen_fds_with_names(3): where the manager gave no name. */
const NO_NAME = 'unknown';
/** What comes back from the store comes this way, too. */
const HANDED_MAX = HANDED_SOCKETS_MAX + DESCRIPTOR_STORE_MAX;

/** Takes the variables out of the environment, so that no child takes the descriptors for its own, and closes these on exec. */
export function takeHandedDescriptors(environment: NodeJS.ProcessEnv, pid: number): HandedVerdict {
  const [count, forPid, names] = VARIABLES.map((name) => environment[name]);
  for (const name of VARIABLES) delete environment[name];
  if (count === undefined) return { answer: 'descriptors', descriptors: [] };
  if (!/^\d{1,9}$/.test(count) || Number(count) > HANDED_MAX) {
    return refused(`LISTEN_FDS is "${count}": a number up to ${HANDED_MAX} is expected there (sd_listen_fds(3))`);
  }
  if (Number(forPid) !== pid) {
    return refused(
      `LISTEN_PID is ${forPid ?? 'not set'}, and this is process ${pid}: the sockets were handed to a program that started this one. Let the unit's ExecStart= start node itself, or a script that ends in \`exec node …\`; if none were meant for it, start it without LISTEN_FDS in its environment`,
    );
  }
  const named = names === undefined ? [] : names.split(':');
  const descriptors = Array.from({ length: Number(count) }, (_, index) => ({
    descriptor: FIRST + index,
    name: named[index] || NO_NAME,
  }));
  for (const { descriptor } of descriptors) closeOnExec(descriptor);
  return { answer: 'descriptors', descriptors };
}

export interface HandedSocket {
  readonly type: 'stream' | 'datagram' | 'other';
  /** Whether listen(2) was called: a connection that was accepted already is no listening socket. */
  readonly listens: boolean;
  readonly place: SocketPlace;
}

/** Undefined if that descriptor is no socket, or none at all. */
export function lookAtSocket(descriptor: number): HandedSocket | undefined {
  try {
    const type = numberOption(descriptor, SO_TYPE);
    return {
      type: type === SOCK_STREAM ? 'stream' : type === SOCK_DGRAM ? 'datagram' : 'other',
      listens: numberOption(descriptor, SO_ACCEPTCONN) === 1,
      place: placeOf(descriptor),
    };
  } catch (error) {
    if (error instanceof SystemCallError) return undefined;
    throw error;
  }
}

/** Another descriptor of the same socket: whoever listens on it closes it when stopping, and can be started again. */
export function duplicate(descriptor: number): number {
  return fcntl.now(descriptor, F_DUPFD_CLOEXEC, 'int', FIRST);
}

const fcntl = libcFunction('fcntl', 'int fcntl(int fd, int command, ...)');

/** bits/fcntl-linux.h, asm-generic/socket.h. */
const F_SETFD = 2;
const F_DUPFD_CLOEXEC = 1030;
const FD_CLOEXEC = 1;
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
/** struct sockaddr_storage. */
const ADDRESS_BYTES_MAX = 128;

/** One that is not open is found out when it is looked at. */
function closeOnExec(descriptor: number): void {
  fcntl.attempt(descriptor, F_SETFD, 'int', FD_CLOEXEC);
}

function numberOption(descriptor: number, option: number): number {
  const value = Buffer.alloc(4);
  getsockopt.now(descriptor, SOL_SOCKET, option, value, intBytes(value.length));
  return value.readInt32LE();
}

function placeOf(descriptor: number): SocketPlace {
  const address = Buffer.alloc(ADDRESS_BYTES_MAX);
  const length = intBytes(address.length);
  getsockname.now(descriptor, address, length);
  return socketPlace(address.subarray(0, length.readInt32LE()));
}

function refused(because: string): HandedVerdict {
  return { answer: 'refused', because };
}
