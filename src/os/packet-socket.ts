import { closeSync } from 'node:fs';
import type { DescriptorWatch, Watched } from './descriptor-watch.js';
import { SystemCallError } from './libc.js';
import { interfaceIndex } from './network-interfaces.js';
import { attachFilter, type PacketFilter } from './packet-filter.js';
import { bind, getsockname, recv, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, sendto, socket } from './socket-calls.js';

/**
 * A socket below IP (packet(7), AF_PACKET with SOCK_DGRAM): IPv4 packets as they come in by an interface, with the Ethernet
 * header taken off. It has copies: whoever else listens hears the same, whatever is bound to the port, and a firewall is not
 * asked. Checksums are as the network card left them: not yet filled in, where the sender is on this machine. Needs CAP_NET_RAW.
 */
export interface PacketSocket {
  /** Sends an IPv4 packet to everybody on the interface (ff:ff:ff:ff:ff:ff). Throws SystemCallError (ENETDOWN, ENOBUFS, …). */
  broadcast(packet: Uint8Array): void;
  /** Why nothing will be heard any more: its interface is no longer the one that it was opened on, or the kernel failed. */
  failure(): string | undefined;
  close(): Promise<void>;
}

export interface PacketSocketPlace {
  readonly interfaceName: string;
  readonly filter: PacketFilter;
}

/** Throws SystemCallError: EPERM without CAP_NET_RAW, ENODEV if there is no such interface. `received` may keep the packet. */
export function openPacketSocket(
  place: PacketSocketPlace,
  watch: DescriptorWatch,
  received: (packet: Uint8Array) => void,
): PacketSocket {
  const index = interfaceIndex(place.interfaceName);
  if (index === 0) throw new SystemCallError(`if_nametoindex ${place.interfaceName}`, 19 /* ENODEV */);
  const descriptor = socket.now(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, NOTHING_YET);
  try {
    attachFilter(descriptor, place.filter);
    const address = linkAddress(index);
    bind.now(descriptor, address, address.length);
    return new OpenSocket(descriptor, index, watch, received);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** What this process lacks to open a packet socket; undefined if it may. */
export function whyNoPacketSocket(): string | undefined {
  try {
    closeSync(socket.now(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, NOTHING_YET));
    return undefined;
  } catch (error) {
    if (error instanceof SystemCallError) return isRefusal(error) ? 'no CAP_NET_RAW' : error.message;
    throw error;
  }
}

/** EPERM is the kernel's own; the others are those of sandboxes and of kernels without packet sockets. */
export function isRefusal({ code }: SystemCallError): boolean {
  return code === 'EPERM' || code === 'EACCES' || code === 'EAFNOSUPPORT';
}

const AF_PACKET = 17;
const ETHERTYPE_IPV4 = 0x0800;
/** The protocol comes with the address: until then the socket hears nothing. */
const NOTHING_YET = 0;
const PACKET_BYTES_MAX = 65_535;
/** Between two looks at everything else that the process has to do. */
const PACKETS_PER_TURN = 64;

class OpenSocket implements PacketSocket {
  readonly #descriptor: number;
  readonly #index: number;
  readonly #received: (packet: Uint8Array) => void;
  readonly #watched: Watched;
  readonly #buffer = new Uint8Array(PACKET_BYTES_MAX);
  #state: 'open' | 'closed' | { readonly failed: string } = 'open';

  constructor(descriptor: number, index: number, watch: DescriptorWatch, received: (packet: Uint8Array) => void) {
    this.#descriptor = descriptor;
    this.#index = index;
    this.#received = received;
    this.#watched = watch.watch(descriptor, {
      ready: () => this.#drain(),
      lost: (because) => this.#fail(because),
    });
  }

  broadcast(packet: Uint8Array): void {
    if (this.#state === 'closed') return;
    const address = linkAddress(this.#index);
    sendto.now(this.#descriptor, packet, packet.length, 0, address, address.length);
  }

  failure(): string | undefined {
    if (this.#state === 'closed') return undefined;
    if (this.#state !== 'open') return this.#state.failed;
    // The kernel takes it off an interface that goes, and does not put it on the next one of that name or number.
    return boundIndex(this.#descriptor) === this.#index ? undefined : 'its interface is gone';
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    const ended = this.#watched.end();
    closeSync(this.#descriptor);
    await ended;
  }

  #drain(): void {
    for (let count = 0; count < PACKETS_PER_TURN && this.#state === 'open'; count += 1) {
      const packet = this.#receive();
      if (packet === undefined) break;
      this.#received(packet);
    }
    if (this.#state === 'open') this.#watched.again();
  }

  #receive(): Uint8Array | undefined {
    try {
      return this.#buffer.slice(0, recv.now(this.#descriptor, this.#buffer, this.#buffer.length, 0));
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      // ENETDOWN is told once when the interface goes down; when it is up again, so is the socket.
      if (!TRANSIENT.has(error.code)) this.#fail(error.message);
      return undefined;
    }
  }

  #fail(because: string): void {
    if (this.#state === 'open') this.#state = { failed: because };
  }
}

const TRANSIENT: ReadonlySet<string> = new Set(['EAGAIN', 'EINTR', 'ENETDOWN', 'ENOBUFS', 'ENOMEM']);

/**
 * struct sockaddr_ll: family (16, own order), protocol (16, network order), interface index (32, own order), hardware type (16),
 * packet type (8), address length (8), address (8).
 */
function linkAddress(index: number): Uint8Array {
  const bytes = Buffer.alloc(LINK_ADDRESS_BYTES);
  bytes.writeUInt16LE(AF_PACKET, 0);
  bytes.writeUInt16BE(ETHERTYPE_IPV4, 2);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt8(6, 11);
  bytes.fill(0xff, 12, 18);
  return bytes;
}

const LINK_ADDRESS_BYTES = 20;

/** −1 once its interface is gone. */
function boundIndex(descriptor: number): number {
  const address = Buffer.alloc(LINK_ADDRESS_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(address.length);
  getsockname.now(descriptor, address, length);
  return address.readInt32LE(4);
}
