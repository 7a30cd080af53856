/**
 * A TCP connection, taken out of the kernel and put back, by another process if need be: what the peer knows of it goes on, and no
 * packet tells of the change. It is what CRIU does it with (TCP_REPAIR, tcp(7)), and takes CAP_NET_ADMIN. Linux 4.8 or later.
 *
 * Meanwhile there is no such connection here, and the kernel would answer what the peer sends with a RST: see `connection-hold`.
 */
import { closeSync } from 'node:fs';
import { localAddress, peerAddress } from './connection-ends.js';
import { libcFunction, SystemCallError } from './libc.js';
import {
  AF_INET,
  bind,
  connect,
  getsockopt,
  IPPROTO_TCP,
  intBytes,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_PEEK,
  recv,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  send,
  setNumber,
  setsockopt,
  socket,
  TCP_ESTABLISHED,
  TCP_INFO,
  TCP_REPAIR,
} from './socket-calls.js';

/** A connection as the peer knows it, between two of its packets. */
export interface FrozenTcp {
  /** struct sockaddr_in or sockaddr_in6. */
  readonly local: Uint8Array;
  readonly peer: Uint8Array;
  /** Of the byte that is sent next, behind all that waits to be sent. */
  readonly sendSequence: number;
  /** Of the byte that comes next. */
  readonly receiveSequence: number;
  /** Sent, and not acknowledged. */
  readonly unacknowledged: Uint8Array;
  /** Waits to be sent. */
  readonly unsent: Uint8Array;
  /** The largest segment that was agreed. */
  readonly segmentBytes: number;
  /** Bits of TCP_INFO's `options`: 1 timestamps, 2 SACK, 4 window scaling. */
  readonly options: number;
  readonly sendScale: number;
  readonly receiveScale: number;
  readonly timestamp: number;
  /** struct tcp_repair_window, as the kernel gave it. */
  readonly window: Uint8Array;
}

/** The connection is in no state to be handed on: its peer has ended it, or says no more. */
export class NotEstablished extends Error {
  override readonly name = 'NotEstablished';
}

export interface FreezeAnswer {
  readonly tcp: FrozenTcp;
  /** Had come, and was not read. */
  readonly received: Uint8Array;
}

/**
 * Takes it out. Nothing may come in or be written any more, and nobody else read there. From here on closing the descriptor, and every
 * other of the same socket, says nothing to the peer. Throws NotEstablished, or SystemCallError: EPERM without the capability.
 */
export function freezeTcp(descriptor: number): FreezeAnswer {
  const received = readReceived(descriptor);
  const info = tcpInfo(descriptor);
  if (info.readUInt8(STATE_AT) !== TCP_ESTABLISHED) throw new NotEstablished('its peer has ended it');
  const scales = info.readUInt8(SCALES_AT);
  const timestamp = numberOption(descriptor, TCP_TIMESTAMP);
  setTcp(descriptor, TCP_REPAIR, 1);
  const segmentBytes = numberOption(descriptor, TCP_MAXSEG);
  setTcp(descriptor, TCP_REPAIR_QUEUE, RECEIVE_QUEUE);
  // One that was on its way through the kernel when it was told to let nothing in.
  const late = peekQueue(descriptor, countBy(descriptor, SIOCINQ));
  const receiveSequence = numberOption(descriptor, TCP_QUEUE_SEQ);
  setTcp(descriptor, TCP_REPAIR_QUEUE, SEND_QUEUE);
  const sendSequence = numberOption(descriptor, TCP_QUEUE_SEQ);
  const queued = peekQueue(descriptor, countBy(descriptor, SIOCOUTQ));
  const sentBytes = queued.length - countBy(descriptor, SIOCOUTQNSD);
  const tcp = {
    ...{ local: localAddress(descriptor), peer: peerAddress(descriptor) },
    ...{ sendSequence, receiveSequence, segmentBytes, timestamp },
    ...{ unacknowledged: queued.slice(0, sentBytes), unsent: queued.slice(sentBytes) },
    ...{ options: info.readUInt8(OPTIONS_AT), sendScale: scales & 15, receiveScale: scales >> 4 },
    window: option(descriptor, TCP_REPAIR_WINDOW, WINDOW_BYTES),
  };
  return { tcp, received: Buffer.concat([received, late]) };
}

/**
 * Puts it back, without what waited to be sent (`unsent`): that is the first to be written. Answers its descriptor, which does not
 * block. Throws SystemCallError, and there is no connection then: EPERM without the capability, EADDRNOTAVAIL where its address is
 * not this host's any more.
 */
export function thawTcp(frozen: FrozenTcp): number {
  const descriptor = socket.now(frozen.local[0] ?? 0, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  try {
    // Not by the option of the repair alone: that leaves the segment size at its default of 524 bytes.
    if (frozen.segmentBytes >= SEGMENT_BYTES_MIN) setTcp(descriptor, TCP_MAXSEG, frozen.segmentBytes);
    setTcp(descriptor, TCP_REPAIR, 1);
    const queuedBytes = frozen.unacknowledged.length + frozen.unsent.length;
    setSequence(descriptor, SEND_QUEUE, frozen.sendSequence - queuedBytes);
    setSequence(descriptor, RECEIVE_QUEUE, frozen.receiveSequence);
    // In repair mode neither a listener at that port is in the way, nor is a packet sent.
    bind.now(descriptor, frozen.local, frozen.local.length);
    connect.now(descriptor, frozen.peer, frozen.peer.length);
    const options = repairOptions(frozen);
    setsockopt.now(descriptor, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, options.length);
    if (hasTimestamps(frozen)) setTcp(descriptor, TCP_TIMESTAMP, frozen.timestamp | 0);
    fillQueue(descriptor, frozen.unacknowledged);
    setsockopt.now(descriptor, IPPROTO_TCP, TCP_REPAIR_WINDOW, frozen.window, frozen.window.length);
    setTcp(descriptor, TCP_REPAIR, 0);
    setNumber(descriptor, SOL_SOCKET, SO_REUSEADDR, 1); // repair mode takes it away, and a listener could not be bound
    setTcp(descriptor, TCP_NODELAY, 1);
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function readReceived(descriptor: number): Uint8Array {
  const pieces: Buffer[] = [];
  for (;;) {
    const piece = Buffer.alloc(PIECE_BYTES);
    const length = recv.attempt(descriptor, piece, piece.length, MSG_DONTWAIT);
    if (length === undefined || length === 0) return Buffer.concat(pieces);
    pieces.push(piece.subarray(0, length));
  }
}

/** How many of these bytes the kernel takes now. */
export function sendNow(descriptor: number, bytes: Uint8Array): number {
  return send.attempt(descriptor, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL) ?? 0;
}

/** How many bytes of ours its peer has not acknowledged. */
export function unacknowledgedBytes(descriptor: number): number {
  return countBy(descriptor, SIOCOUTQ);
}

/** What this process lacks to do any of it; undefined if it may. */
export function whyNoTcpRepair(): string | undefined {
  try {
    const descriptor = socket.now(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    try {
      setTcp(descriptor, TCP_REPAIR, 1);
      return undefined;
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (error instanceof SystemCallError) return error.code === 'EPERM' ? 'no CAP_NET_ADMIN' : error.message;
    throw error;
  }
}

const ioctl = libcFunction('ioctl', 'int ioctl(int fd, unsigned long request, void *value)');

/** The same on x86-64 and arm64: linux/tcp.h, linux/sockios.h, bits/socket.h. */
const TCP_NODELAY = 1;
const TCP_MAXSEG = 2;
const TCP_REPAIR_QUEUE = 20;
const TCP_QUEUE_SEQ = 21;
const TCP_REPAIR_OPTIONS = 22;
const TCP_TIMESTAMP = 24;
const TCP_REPAIR_WINDOW = 29;
const RECEIVE_QUEUE = 1;
const SEND_QUEUE = 2;
const SIOCINQ = 0x541b;
const SIOCOUTQ = 0x5411;
const SIOCOUTQNSD = 0x894b;
const SO_SNDBUFFORCE = 32;
const SO_BUF_LOCK = 72;
/** TCP_MIN_MSS: less can't be set. */
const SEGMENT_BYTES_MIN = 88;
const WINDOW_BYTES = 20;
const PIECE_BYTES = 64 * 1024;
/** The kernel counts what its buffers take and not what is in them; of what is set here it makes twice as much. */
const SPARE_BYTES = 256 * 1024;

//  struct tcp_info:  0 state … 5 options, 6 window scales (sender's in the lower half) …
const TCP_INFO_BYTES = 104;
const STATE_AT = 0;
const OPTIONS_AT = 5;
const SCALES_AT = 6;
const HAS_TIMESTAMPS = 1;
const HAS_SACK = 2;
const HAS_SCALES = 4;
/** Kinds of TCP options (RFC 9293, 7323, 2018), as struct tcp_repair_opt has them. */
const OPTION_MAXSEG = 2;
const OPTION_WINDOW_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_TIMESTAMPS = 8;

function hasTimestamps({ options }: FrozenTcp): boolean {
  return (options & HAS_TIMESTAMPS) !== 0;
}

/** struct tcp_repair_opt (code, value), 32 bits each: what was agreed when it was opened. */
function repairOptions(frozen: FrozenTcp): Uint8Array {
  const { options, segmentBytes, sendScale, receiveScale } = frozen;
  const agreed = [
    [OPTION_MAXSEG, segmentBytes],
    // Always: where none was agreed, the scale that the socket has chosen for itself would stand.
    [OPTION_WINDOW_SCALE, (options & HAS_SCALES) === 0 ? 0 : sendScale | (receiveScale << 16)],
    ...((options & HAS_SACK) === 0 ? [] : [[OPTION_SACK_PERMITTED, 0]]),
    ...(hasTimestamps(frozen) ? [[OPTION_TIMESTAMPS, 0]] : []),
  ];
  return new Uint8Array(new Uint32Array(agreed.flat()).buffer);
}

/** Sequence numbers go around at 2³². */
function setSequence(descriptor: number, queue: number, sequence: number): void {
  setTcp(descriptor, TCP_REPAIR_QUEUE, queue);
  setTcp(descriptor, TCP_QUEUE_SEQ, sequence | 0);
}

function fillQueue(descriptor: number, bytes: Uint8Array): void {
  if (bytes.length === 0) return;
  setTcp(descriptor, TCP_REPAIR_QUEUE, SEND_QUEUE);
  // The buffer of the one before had grown as it was needed. A size that is set stays as it is, unless the kernel (5.15) is told that it may change.
  setNumber(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, bytes.length + SPARE_BYTES);
  allowGrowth(descriptor);
  for (let at = 0; at < bytes.length; ) {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    at += send.now(descriptor, piece, piece.length, 0);
  }
}

function allowGrowth(descriptor: number): void {
  const nothing = intBytes(0);
  setsockopt.attempt(descriptor, SOL_SOCKET, SO_BUF_LOCK, nothing, nothing.length);
}

function peekQueue(descriptor: number, length: number): Uint8Array {
  const bytes = Buffer.alloc(length);
  return length === 0 ? bytes : bytes.subarray(0, recv.now(descriptor, bytes, length, MSG_PEEK | MSG_DONTWAIT));
}

function tcpInfo(descriptor: number): Buffer {
  return option(descriptor, TCP_INFO, TCP_INFO_BYTES);
}

function setTcp(descriptor: number, name: number, value: number): void {
  setNumber(descriptor, IPPROTO_TCP, name, value);
}

/** Unsigned: most of them are. */
function numberOption(descriptor: number, name: number): number {
  return option(descriptor, name, 4).readUInt32LE();
}

function option(descriptor: number, name: number, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  getsockopt.now(descriptor, IPPROTO_TCP, name, bytes, intBytes(lengthBytes));
  return bytes;
}

function countBy(descriptor: number, request: number): number {
  const count = Buffer.alloc(4);
  ioctl.now(descriptor, request, count);
  return count.readInt32LE();
}
