import { closeSync } from 'node:fs';
import { libcFunction, SystemCallError } from './libc.js';
import { bind, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, setsockopt, socket } from './socket-calls.js';

/**
 * A socket below IP (packet(7), AF_PACKET with SOCK_DGRAM): IPv4 packets as they pass an interface, whoever they are for, with
 * the Ethernet header taken off. Needs CAP_NET_RAW. Node cannot poll such a descriptor, so a worker thread waits for packets.
 */
export interface PacketSocket {
  /** Sends an IPv4 packet to everybody on the interface (ff:ff:ff:ff:ff:ff). */
  broadcast(packet: Uint8Array): void;
  /** Resolves when the waiting thread has let go of the descriptor. */
  close(): Promise<void>;
}

const AF_PACKET = 17;
const SO_RCVTIMEO = 20;
const ETHERTYPE_IPV4 = 0x0800;
/** How long the waiting thread may take to notice that the socket was closed. */
const WAIT_MS = 100;
const PACKET_BYTES_MAX = 65_535;

const calls = {
  recv: libcFunction('recv', 'int64_t recv(int fd, void *buffer, size_t length, int flags)'),
  sendto: libcFunction(
    'sendto',
    'int64_t sendto(int fd, const void *buffer, size_t length, int flags, const void *address, unsigned int addressLength)',
  ),
  if_nametoindex: libcFunction('if_nametoindex', 'unsigned int if_nametoindex(const char *name)'),
};

/** Throws SystemCallError: EPERM without CAP_NET_RAW, ENODEV if there is no such interface. */
export function openPacketSocket(interfaceName: string, received: (packet: Uint8Array) => void): PacketSocket {
  const index = calls.if_nametoindex.now(interfaceName);
  if (index === 0) throw new SystemCallError(`if_nametoindex ${interfaceName}`, 19 /* ENODEV */);
  const descriptor = socket.now(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, bigEndian(ETHERTYPE_IPV4));
  try {
    const timeout = new BigInt64Array([0n, BigInt(WAIT_MS * 1000)]); // struct timeval
    setsockopt.now(descriptor, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.byteLength);
    const address = linkAddress(index);
    bind.now(descriptor, address, address.length);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return new WaitingSocket(descriptor, index, received);
}

class WaitingSocket implements PacketSocket {
  readonly #descriptor: number;
  readonly #index: number;
  readonly #waiting: Promise<void>;
  #open = true;

  constructor(descriptor: number, index: number, received: (packet: Uint8Array) => void) {
    this.#descriptor = descriptor;
    this.#index = index;
    this.#waiting = this.#wait(received);
  }

  broadcast(packet: Uint8Array): void {
    const address = linkAddress(this.#index);
    calls.sendto.now(this.#descriptor, packet, packet.length, 0, address, address.length);
  }

  async close(): Promise<void> {
    this.#open = false;
    await this.#waiting;
    closeSync(this.#descriptor);
  }

  async #wait(received: (packet: Uint8Array) => void): Promise<void> {
    const buffer = new Uint8Array(PACKET_BYTES_MAX);
    while (this.#open) {
      const length = await this.#receive(buffer);
      if (this.#open && length > 0) received(buffer.slice(0, length));
    }
  }

  async #receive(buffer: Uint8Array): Promise<number> {
    try {
      return await calls.recv.later(this.#descriptor, buffer, buffer.length, 0);
    } catch (error) {
      // EAGAIN: nothing came. ENETDOWN: the interface went down, and may come up again.
      if (error instanceof SystemCallError) return 0;
      throw error;
    }
  }
}

/**
 * struct sockaddr_ll: family (16, own order), protocol (16, network order), interface index (32, own order), hardware type (16),
 * packet type (8), address length (8), address (8).
 */
function linkAddress(index: number): Uint8Array {
  const bytes = Buffer.alloc(20);
  bytes.writeUInt16LE(AF_PACKET, 0);
  bytes.writeUInt16BE(ETHERTYPE_IPV4, 2);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt8(6, 11);
  bytes.fill(0xff, 12, 18);
  return bytes;
}

function bigEndian(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}
