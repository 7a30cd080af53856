/**
 * What a service manager is told of us (sd_notify(3)): datagrams of `NAME=value` lines to the Unix socket NOTIFY_SOCKET. Node has
 * no such socket. Nothing here waits or fails: without a manager, or with one that does not listen, nobody is told.
 */
import { unreachable } from '../base/unreachable.js';
import { type DescriptorStore, descriptorStore } from './descriptor-store.js';
import { SystemCallError } from './libc.js';
import { AF_UNIX, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, sendto, socket } from './socket-calls.js';
import { unixAddress } from './unix-socket.js';

export type ServiceNotice =
  /** Started: what is ordered after us may go on. */
  | { readonly kind: 'ready'; readonly status: string }
  /** A sentence that `systemctl status` shows. */
  | { readonly kind: 'status'; readonly status: string }
  /** The configuration is being read anew; `ready` ends it. The time is CLOCK_MONOTONIC's, by which the manager tells two reloads apart. */
  | { readonly kind: 'reloading'; readonly monotonicUs: bigint }
  | { readonly kind: 'stopping'; readonly status: string }
  /** We live: told more seldom than the manager asks for, we are killed and started again. */
  | { readonly kind: 'alive' };

export interface ServiceManager {
  /** How often it wants to hear that we live (WatchdogSec=); undefined: not at all. */
  readonly watchdogMs: number | undefined;
  /** Undefined where it keeps nothing for us (FileDescriptorStoreMax=). */
  readonly store: DescriptorStore | undefined;
  /** False if it could not be told now. */
  tell(notice: ServiceNotice): boolean;
}

export const NO_MANAGER: ServiceManager = { watchdogMs: undefined, store: undefined, tell: () => false };

/**
 * Takes the variables out of the environment: what a child says is not about us. FDSTORE is what systemd says of its store since version 254,
 * and the unit itself for those before.
 */
export function serviceManager(environment: NodeJS.ProcessEnv, pid: number): ServiceManager {
  const path = environment['NOTIFY_SOCKET'] ?? '';
  const watchdogMs = watchdogOf(environment, pid);
  const storeMax = environment['FDSTORE'];
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID', 'FDSTORE']) delete environment[name];
  // A path, or an abstract name; `vsock:…` is for whole virtual machines.
  if (!/^[/@]./.test(path)) return NO_MANAGER;
  const descriptor = openSocket();
  if (descriptor === undefined) return NO_MANAGER;
  const address = unixAddress(path);
  return {
    watchdogMs,
    store: descriptorStore(address, storeMax),
    tell(notice) {
      const bytes = Buffer.from(encodeNotice(notice));
      return sendto.attempt(descriptor, bytes, bytes.length, MSG_DONTWAIT, address, address.length) !== undefined;
    },
  };
}

/** A value ends with its line, so a sentence has only one. */
export function encodeNotice(notice: ServiceNotice): string {
  switch (notice.kind) {
    case 'ready':
      return `READY=1\nSTATUS=${oneLine(notice.status)}\n`;
    case 'status':
      return `STATUS=${oneLine(notice.status)}\n`;
    case 'reloading':
      return `RELOADING=1\nMONOTONIC_USEC=${notice.monotonicUs}\n`;
    case 'stopping':
      return `STOPPING=1\nSTATUS=${oneLine(notice.status)}\n`;
    case 'alive':
      return 'WATCHDOG=1\n';
    default:
      return unreachable(notice);
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}

/** sd_watchdog_enabled(3): of no concern to us where another process is meant. */
function watchdogOf(environment: NodeJS.ProcessEnv, pid: number): number | undefined {
  const { WATCHDOG_USEC: microseconds = '', WATCHDOG_PID: forPid = String(pid) } = environment;
  if (!/^[1-9]\d{0,14}$/.test(microseconds) || forPid !== String(pid)) return undefined;
  return Number(microseconds) / 1000;
}

/** Kept open for as long as we live: that we live must be told even when there is no descriptor left. */
function openSocket(): number | undefined {
  try {
    return socket.now(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  } catch (error) {
    if (error instanceof SystemCallError) return undefined;
    throw error;
  }
}
