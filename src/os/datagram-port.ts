import { closeSync } from 'node:fs';
import type { Ipv4Address } from '../base/addresses.js';
import { libcFunction, SystemCallError } from './libc.js';
import {
  AF_INET,
  bind,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCKET_ADDRESS_BYTES,
  SOL_SOCKET,
  setNumber,
  socket,
  socketAddress,
} from './socket-calls.js';

/**
 * A UDP socket for a thread that waits by an EventPoll. node:dgram makes objects for each datagram and takes two turns of
 * libuv for an answer; here a block costs one call to receive the ACK and one to send the next.
 */
export class DatagramPort {
  readonly descriptor: number;
  #segmentBytes = 0;
  #canCut = true;

  /** Bound to a free port of that address. Throws SystemCallError (EMFILE, EADDRNOTAVAIL, …). */
  constructor(address: Ipv4Address) {
    this.descriptor = socket.now(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    try {
      setNumber(this.descriptor, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES);
      const local = socketAddress(address, 0);
      bind.now(this.descriptor, local, local.length);
    } catch (error) {
      closeSync(this.descriptor);
      throw error;
    }
  }

  /** The length of the datagram that is now in `into`; undefined if there is none. */
  receive(into: ReceivedDatagram): number | undefined {
    return calls.recvfrom.attempt(
      this.descriptor,
      into.bytes,
      into.bytes.length,
      MSG_DONTWAIT,
      into.sender,
      into.senderLength,
    );
  }

  /** Sends the first `length` bytes at once or not at all: a datagram may be lost anywhere. `to` is made by `socketAddress`. */
  send(packet: Uint8Array, length: number, to: Uint8Array): void {
    calls.sendto.attempt(this.descriptor, packet, length, MSG_DONTWAIT, to, SOCKET_ADDRESS_BYTES);
  }

  /**
   * Several datagrams that lie one behind the other, each of `segmentBytes`, the last one shorter: the kernel cuts them apart as
   * late as it can (udp(7), UDP_SEGMENT), so that they pass through it as one. Together at most 65,507 bytes and 64 of them. Sent
   * one by one where it refuses (a block larger than the way takes, or a network card that can't).
   */
  sendSegments(packets: Uint8Array, length: number, segmentBytes: number, to: Uint8Array): void {
    if (this.#segmentBytes !== segmentBytes) this.#cutInto(segmentBytes);
    if (this.#canCut && this.#sent(packets, length, to)) return;
    for (let at = 0; at < length; at += segmentBytes) {
      const packet = packets.subarray(at, Math.min(at + segmentBytes, length));
      this.send(packet, packet.length, to);
    }
  }

  close(): void {
    closeSync(this.descriptor);
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
  #sent(packets: Uint8Array, length: number, to: Uint8Array): boolean {
    try {
      calls.sendto.now(this.descriptor, packets, length, MSG_DONTWAIT, to, SOCKET_ADDRESS_BYTES);
      return true;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      // A full queue is no reason to give up cutting, and what did not fit is lost like any datagram.
      const isFull = error.code === 'EAGAIN' || error.code === 'ENOBUFS';
      if (!isFull) this.#stopCutting();
      return isFull;
    }
  }

  #stopCutting(): void {
    this.#canCut = false;
    setNumber(this.descriptor, SOL_UDP, UDP_SEGMENT, 0);
  }
}

/** Where a datagram and its sender's address are put; used again for each. */
export class ReceivedDatagram {
  readonly bytes: Uint8Array;
  /** struct sockaddr_in. */
  readonly sender = Buffer.alloc(SOCKET_ADDRESS_BYTES);
  readonly senderLength = new Uint32Array([SOCKET_ADDRESS_BYTES]);

  /** What is longer than `bytesMax` is cut off there. */
  constructor(bytesMax: number) {
    this.bytes = new Uint8Array(bytesMax);
  }

  /** Whether address and port are those of this struct sockaddr_in. */
  isFrom(address: Uint8Array): boolean {
    for (let at = 2; at < 8; at += 1) if (this.sender[at] !== address[at]) return false;
    return true;
  }
}

const calls = {
  recvfrom: libcFunction(
    'recvfrom',
    'int64_t recvfrom(int fd, void *buffer, size_t length, int flags, void *address, void *addressLength)',
  ),
  sendto: libcFunction(
    'sendto',
    'int64_t sendto(int fd, const void *buffer, size_t length, int flags, const void *address, unsigned int addressLength)',
  ),
};

/** asm-generic/socket.h and bits/socket.h. */
const SO_SNDBUF = 7;
const MSG_DONTWAIT = 0x40;
/** linux/udp.h, since Linux 4.18. */
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
/** A window of TFTP_WINDOW_BYTES_MAX with what the kernel counts for each datagram; the kernel cuts it to net.core.wmem_max. */
const SEND_BUFFER_BYTES = 512 * 1024;
