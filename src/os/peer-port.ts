import { closeSync } from 'node:fs';
import type { Ipv4Address } from '../base/addresses.js';
import { hasFailedBy, libcFunction, SystemCallError } from './libc.js';
import {
  AF_INET,
  bind,
  connect,
  endpointOf,
  getsockname,
  ignoreLearntMtu,
  MSG_DONTWAIT,
  recv,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCKET_ADDRESS_BYTES,
  SOL_SOCKET,
  send,
  sendto,
  setNumber,
  socket,
  socketAddress,
} from './socket-calls.js';

export interface PortAddress {
  readonly address: Ipv4Address;
  readonly port: number;
}

/**
 * A UDP port of ours for one peer, for a thread that waits by an EventPoll. node:dgram makes objects for each datagram and takes
 * two turns of libuv for an answer; here one call receives and one sends, and since the socket is connected, the kernel looks for
 * the way only once.
 *
 * What others send to the same port comes in at a second socket (`strangers`): without that the kernel would refuse it by ICMP.
 */
export class PeerPort {
  readonly descriptor: number;
  readonly strangers: StrangersPort;
  #segmentBytes = 0;
  #canCut = true;

  /** Bound to a free port of that address. Throws SystemCallError (EMFILE, EADDRNOTAVAIL, …). */
  constructor(address: Ipv4Address, peer: PortAddress) {
    this.descriptor = openSocket();
    try {
      setNumber(this.descriptor, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES);
      ignoreLearntMtu(this.descriptor);
      bindTo(this.descriptor, { address, port: 0 });
      // Not before it is bound: the free port that the kernel picks must be nobody else's.
      setNumber(this.descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
      const remote = socketAddress(peer.address, peer.port);
      connect.now(this.descriptor, remote, remote.length);
      this.strangers = new StrangersPort(boundTo(this.descriptor));
    } catch (error) {
      closeSync(this.descriptor);
      throw error;
    }
  }

  /** The length of the datagram of the peer that is now in `into`; undefined if there is none. */
  receive(into: Uint8Array): number | undefined {
    const length = recv.attempt(this.descriptor, into, into.length, MSG_DONTWAIT);
    if (length !== undefined || !hasFailedBy('ECONNREFUSED')) return length;
    // The kernel tells that an answer of ours was refused (by ICMP) before it tells what the peer had said: an ERROR, mostly.
    return recv.attempt(this.descriptor, into, into.length, MSG_DONTWAIT);
  }

  /** Sends the first `length` bytes at once or not at all: a datagram may be lost anywhere. */
  send(packet: Uint8Array, length: number): void {
    // An ERROR may be longer than a small block, and would be cut too.
    if (length > this.#segmentBytes && this.#segmentBytes > 0 && this.#canCut) this.#cutInto(0);
    send.attempt(this.descriptor, packet, length, MSG_DONTWAIT);
  }

  /**
   * Several datagrams that lie one behind the other, each of `segmentBytes`, the last one shorter: the kernel cuts them apart as
   * late as it can (udp(7), UDP_SEGMENT), so that they pass through it as one. Together at most 65,507 bytes and 64 of them. Sent
   * one by one where it refuses (a block larger than the way takes, or a network card that can't).
   */
  sendSegments(packets: Uint8Array, length: number, segmentBytes: number): void {
    if (this.#segmentBytes !== segmentBytes) this.#cutInto(segmentBytes);
    if (this.#canCut && this.#sentAsOne(packets, length)) return;
    for (let at = 0; at < length; at += segmentBytes) {
      const packet = packets.subarray(at, Math.min(at + segmentBytes, length));
      this.send(packet, packet.length);
    }
  }

  close(): void {
    closeSync(this.descriptor);
    this.strangers.close();
  }

  #cutInto(segmentBytes: number): void {
    this.#segmentBytes = segmentBytes;
    try {
      setNumber(this.descriptor, SOL_UDP, UDP_SEGMENT, segmentBytes);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#canCut = false;
    }
  }

  /** False if they have to go one by one. */
  #sentAsOne(packets: Uint8Array, length: number): boolean {
    try {
      send.now(this.descriptor, packets, length, MSG_DONTWAIT);
      return true;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      // Only these say that it can't be cut (udp(7)); what is lost for another reason is lost like any datagram.
      const canBeCut = !CAN_NOT_CUT.has(error.code);
      if (!canBeCut) this.#stopCutting();
      return canBeCut;
    }
  }

  #stopCutting(): void {
    this.#canCut = false;
    setNumber(this.descriptor, SOL_UDP, UDP_SEGMENT, 0);
  }
}

/** The same port, for everybody but the peer. */
export class StrangersPort {
  readonly descriptor: number;
  readonly #senderLength = new Uint32Array([SOCKET_ADDRESS_BYTES]);

  constructor(local: PortAddress) {
    this.descriptor = openSocket();
    try {
      setNumber(this.descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
      bindTo(this.descriptor, local);
    } catch (error) {
      closeSync(this.descriptor);
      throw error;
    }
  }

  /** A datagram's length, its bytes in `into`, and who sent it; undefined if there is none. */
  receive(into: Uint8Array): { readonly length: number; readonly from: PortAddress } | undefined {
    const sender = Buffer.alloc(SOCKET_ADDRESS_BYTES);
    const length = recvfrom.attempt(this.descriptor, into, into.length, MSG_DONTWAIT, sender, this.#senderLength);
    return length === undefined ? undefined : { length, from: endpointOf(sender) };
  }

  send(packet: Uint8Array, to: PortAddress): void {
    const remote = socketAddress(to.address, to.port);
    sendto.attempt(this.descriptor, packet, packet.length, MSG_DONTWAIT, remote, remote.length);
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

const recvfrom = libcFunction(
  'recvfrom',
  'int64_t recvfrom(int fd, void *buffer, size_t length, int flags, void *address, void *addressLength)',
);

function openSocket(): number {
  return socket.now(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

function bindTo(descriptor: number, { address, port }: PortAddress): void {
  const local = socketAddress(address, port);
  bind.now(descriptor, local, local.length);
}

function boundTo(descriptor: number): PortAddress {
  const local = Buffer.alloc(SOCKET_ADDRESS_BYTES);
  getsockname.now(descriptor, local, new Uint32Array([local.length]));
  return endpointOf(local);
}

/** asm-generic/socket.h and bits/socket.h. */
const SO_SNDBUF = 7;
/** linux/udp.h, since Linux 4.18. */
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
/** A segment larger than the MTU; a card without checksums; more than the kernel takes at once. */
const CAN_NOT_CUT: ReadonlySet<string> = new Set(['EINVAL', 'EIO', 'EMSGSIZE', 'EOPNOTSUPP']);
/** A window of TFTP_WINDOW_BYTES_MAX with what the kernel counts for each datagram; the kernel cuts it to net.core.wmem_max. */
const SEND_BUFFER_BYTES = 512 * 1024;
