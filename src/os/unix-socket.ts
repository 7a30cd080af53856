/** Unix sockets as Node does not know them: who is at the other end, and whether somebody listens at a path. */
import { accessSync, chmodSync, closeSync, constants, lstatSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { whoWeAre } from '../base/own-user.js';
import { hasFailedBy } from './libc.js';
import {
  AF_UNIX,
  connect,
  getsockopt,
  intBytes,
  poll,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  socket,
} from './socket-calls.js';
import { descriptorOf } from './tcp-probe.js';

/** A path that can't be listened at: the message says why, and what to do. */
export class SocketPathTaken extends Error {
  override readonly name = 'SocketPathTaken';
}

/** Removes a socket that nobody listens at any more (its server was killed). Throws SocketPathTaken; other files are left alone. */
export function removeStaleSocket(path: string): void {
  const obstacle = socketPathObstacle(path);
  if (obstacle !== undefined) throw new SocketPathTaken(`${obstacle.problem}: ${obstacle.remedy}`);
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  if (isListening(path)) {
    throw new SocketPathTaken(`another program listens at ${path}: stop it, or choose another path`);
  }
  rmSync(path, { force: true });
}

export interface SocketPathObstacle {
  readonly kind: 'noFolder' | 'noSocket' | 'notAllowed';
  readonly problem: string;
  readonly remedy: string;
}

/**
 * What keeps a socket from being made at a path, or from taking the place of one that is there; whether somebody listens at that is not
 * asked. It has to be looked at beforehand: Node says EACCES of a folder that is not there, as of one that may not be written in.
 */
export function socketPathObstacle(path: string): SocketPathObstacle | undefined {
  const folder = dirname(path);
  try {
    const place = statSync(folder, { throwIfNoEntry: false });
    if (place === undefined)
      return { kind: 'noFolder', problem: `the folder ${folder} does not exist`, remedy: 'make it' };
    if (!place.isDirectory())
      return { kind: 'noSocket', problem: `${folder} is no folder`, remedy: 'choose another path' };
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isSocket() === false) {
      return { kind: 'noSocket', problem: `${path} is there already, and is no socket`, remedy: 'choose another path' };
    }
    accessSync(folder, constants.W_OK | constants.X_OK);
    return undefined;
  } catch {
    const problem = `${whoWeAre()} may not write in the folder ${folder}`;
    return {
      kind: 'notAllowed',
      problem,
      remedy: 'let that user (`chown`, `chmod`; see `namei -l`), or choose another path',
    };
  }
}

/** Owner and group may connect: to be allowed to write to a socket is to be allowed to connect (unix(7)). */
export function allowGroup(path: string): void {
  chmodSync(path, 0o660);
}

/**
 * The process that connected, as the kernel saw it then (SO_PEERCRED), with its start time (clock ticks since the host's boot): a
 * number alone may belong to another process by now. Undefined where the kernel can't tell (a process of a PID namespace that is
 * not ours) or that process is gone or hidden already.
 */
export function peerProcess(connection: object): { readonly pid: number; readonly startedAt: string } | undefined {
  const descriptor = descriptorOf(connection);
  if (descriptor === undefined) return undefined;
  const credentials = Buffer.alloc(UCRED_BYTES);
  if (getsockopt.attempt(descriptor, SOL_SOCKET, SO_PEERCRED, credentials, intBytes(UCRED_BYTES)) === undefined) {
    return undefined;
  }
  const pid = credentials.readInt32LE(0);
  const startedAt = pid > 0 ? startTimeOf(pid) : undefined;
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** Asked of the kernel: it closes a dead process's sockets at once, whatever was still unread. */
export function probeUnixPeer(connection: object): 'alive' | 'gone' {
  const descriptor = descriptorOf(connection);
  if (descriptor === undefined) return 'gone';
  //  struct pollfd: descriptor (4) | asked for (2) | what is so (2)
  const asked = Buffer.alloc(8);
  asked.writeInt32LE(descriptor, 0);
  poll.now(asked, 1, 0);
  return (asked.readInt16LE(6) & (POLLHUP | POLLERR | POLLNVAL)) === 0 ? 'alive' : 'gone';
}

/** struct sockaddr_un (unix(7)): the family, then the path and a NUL; of an abstract name (`@name`) a NUL and then the name. */
export function unixAddress(path: string): Buffer {
  const isAbstract = path.startsWith('@');
  const name = isAbstract ? Buffer.from(`\0${path.slice(1)}`) : Buffer.from(`${path}\0`);
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name]);
}

/** asm-generic/socket.h, bits/types/struct_ucred.h (pid, uid, gid), bits/poll.h. */
const SO_PEERCRED = 17;
const UCRED_BYTES = 12;
const POLLERR = 8;
const POLLHUP = 16;
const POLLNVAL = 32;

/** Field 22 of /proc/PID/stat. Field 2, the name, may hold blanks and brackets, so fields count from its last bracket on. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/** Whether a connection is taken, or would be if its queue were not full. */
function isListening(path: string): boolean {
  const descriptor = socket.now(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  try {
    const address = unixAddress(path);
    if (connect.attempt(descriptor, address, address.length) !== undefined) return true;
    return !(hasFailedBy('ECONNREFUSED') || hasFailedBy('ENOENT'));
  } finally {
    closeSync(descriptor);
  }
}
