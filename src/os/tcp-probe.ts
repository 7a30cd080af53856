import { closeSync } from 'node:fs';
import { type Clock, passed } from '../base/clock.js';
import { TCP_PROBE_LOOK_MS, TCP_PROBE_SILENCE_MS } from '../base/limits.js';
import { SystemCallError } from './libc.js';
import {
  getsockopt,
  IPPROTO_TCP,
  intBytes,
  SO_REUSEADDR,
  SOL_SOCKET,
  setNumber,
  setsockopt,
  TCP_ESTABLISHED,
  TCP_INFO,
  TCP_REPAIR,
} from './socket-calls.js';

/**
 * Is the peer of a connection still there? TCP can be asked without a byte of the stream: a probe segment makes a live
 * kernel acknowledge, and a dead one keep silent (or, rebooted, send a RST).
 */

/** The same on x86-64 and arm64 (include/uapi/asm-generic/socket.h, include/uapi/linux/tcp.h). */
const SO_KEEPALIVE = 9;
const SO_LINGER = 13;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;
const TCP_CLOSE_WAIT = 8;

//  struct tcp_info:  0 state … 8 rto … 24 unacked … 44 last_data_sent, last_ack_sent, last_data_recv, 56 last_ack_recv …
const TCP_INFO_BYTES = 104;
const STATE_AT = 0;
const LAST_ACK_RECEIVED_AT = 56;

/** The kernel counts in jiffies of up to 10 ms: an acknowledgement this much younger than the probe is surely younger. */
const CLOCK_GRAIN_MS = 20;
const BETWEEN_PROBES_MS = 1_000;

/** A cable may be out for an hour and an idle board never notice; it must not lose its root disk by our impatience. */
const GENTLE = { idleSeconds: 3600, intervalSeconds: 300, count: 12, giveUpMs: 7_200_000 };
const PROBING = { idleSeconds: 1, intervalSeconds: 1, count: 12 };

/** A socket that Node knows nothing of. */
export class OwnSocket {
  #descriptor: number | undefined;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  get descriptor(): number | undefined {
    return this.#descriptor;
  }

  /** Its descriptor is somebody else's from now on. */
  give(): number {
    if (this.#descriptor === undefined) throw new Error('it was given away already');
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    return descriptor;
  }
}

/** A connection whose socket becomes another one in time: a question that takes a while is always put to the one of the moment. */
export class CurrentSocket {
  readonly #current: () => object;

  constructor(current: () => object) {
    this.#current = current;
  }

  get descriptor(): number | undefined {
    return descriptorOf(this.#current());
  }
}

/**
 * For every accepted socket: two hours of silence, or of data that is not acknowledged, before the kernel gives the peer up.
 * (Its own 15 minutes for unacknowledged data are less than some switches take to be replaced.)
 */
export function keepConnected(socket: object): void {
  attempt(socket, (descriptor) => {
    setNumber(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, GENTLE.giveUpMs);
    setKeepalive(descriptor, GENTLE);
  });
}

/**
 * `alive` as soon as the peer acknowledged anything, `gone` after its RST or TCP_PROBE_SILENCE_MS of silence. The kernel is
 * only made to ask, never to give up: with TCP_USER_TIMEOUT at two hours it ends no connection over a lost probe, so the
 * verdict is ours. Silence is counted in looks from the first question on, not by the clock: a process that stood still
 * (a paused container, a sleeping host) has not listened meanwhile, and would take an idle board for dead.
 */
export async function probePeer(socket: object, clock: Clock): Promise<'alive' | 'gone'> {
  const beganMs = clock.nowMs();
  // An answer must be told from an acknowledgement that came just before: the first question waits for one look.
  for (let silentMs = -TCP_PROBE_LOOK_MS; ; silentMs += TCP_PROBE_LOOK_MS) {
    const sight = look(socket, clock.nowMs() - beganMs);
    if (sight !== 'silent' || silentMs >= TCP_PROBE_SILENCE_MS) {
      keepConnected(socket);
      return sight === 'alive' ? 'alive' : 'gone';
    }
    if (silentMs >= 0 && silentMs % BETWEEN_PROBES_MS === 0) {
      attempt(socket, probeAtOnce);
      attempt(socket, (descriptor) => setKeepalive(descriptor, PROBING));
    }
    await passed(clock, TCP_PROBE_LOOK_MS);
  }
}

/** Closing the socket will be a RST: nothing that is queued in the kernel is sent any more, or kept for a peer that is gone. */
export function dropUnsent(socket: object): void {
  attempt(socket, (descriptor) => {
    const linger = Buffer.alloc(8); // struct linger { int on; int seconds }
    linger.set(intBytes(1));
    setsockopt.now(descriptor, SOL_SOCKET, SO_LINGER, linger, linger.length);
  });
}

/** Ends it, and tells the peer by a RST. */
export function resetConnection(descriptor: number): void {
  dropUnsent(new OwnSocket(descriptor));
  closeSync(descriptor);
}

function look(socket: object, sinceMs: number): 'alive' | 'gone' | 'silent' {
  const info = attempt(socket, readTcpInfo);
  if (info === undefined || (info.state !== TCP_ESTABLISHED && info.state !== TCP_CLOSE_WAIT)) return 'gone';
  return info.lastAckReceivedMs + CLOCK_GRAIN_MS < sinceMs ? 'alive' : 'silent';
}

/**
 * Leaving TCP repair mode makes Linux send a window probe there and then (tcp(7) calls the mode CRIU's; it wants
 * CAP_NET_ADMIN). The keepalive timer, which is what remains without it, says nothing while data is unacknowledged or the
 * peer's window is closed, and a live board that is merely slow would be taken for dead.
 */
function probeAtOnce(descriptor: number): void {
  setNumber(descriptor, IPPROTO_TCP, TCP_REPAIR, 1);
  setNumber(descriptor, IPPROTO_TCP, TCP_REPAIR, 0);
  setNumber(descriptor, SOL_SOCKET, SO_REUSEADDR, 1); // repair mode takes it away
}

function setKeepalive(descriptor: number, timing: typeof PROBING): void {
  setNumber(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, timing.intervalSeconds);
  setNumber(descriptor, IPPROTO_TCP, TCP_KEEPCNT, timing.count);
  setNumber(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, timing.idleSeconds);
  setNumber(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
}

function readTcpInfo(descriptor: number): { readonly state: number; readonly lastAckReceivedMs: number } {
  const bytes = Buffer.alloc(TCP_INFO_BYTES);
  const length = intBytes(TCP_INFO_BYTES);
  getsockopt.now(descriptor, IPPROTO_TCP, TCP_INFO, bytes, length);
  return { state: bytes.readUInt8(STATE_AT), lastAckReceivedMs: bytes.readUInt32LE(LAST_ACK_RECEIVED_AT) };
}

/** Undefined where the socket is closed or the kernel says no. */
function attempt<T>(socket: object, action: (descriptor: number) => T): T | undefined {
  const descriptor = descriptorOf(socket);
  if (descriptor === undefined) return undefined;
  try {
    return action(descriptor);
  } catch (error) {
    if (error instanceof SystemCallError) return undefined;
    throw error;
  }
}

/**
 * Asked anew each time: the number of a closed socket belongs to another one soon. Node has no public way to it.
 */
export function descriptorOf(socket: object): number | undefined {
  if (socket instanceof OwnSocket || socket instanceof CurrentSocket) return socket.descriptor;
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const descriptor: unknown = Reflect.get(handle, 'fd');
  return typeof descriptor === 'number' && descriptor >= 0 ? descriptor : undefined;
}
