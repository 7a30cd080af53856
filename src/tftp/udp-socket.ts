/** A UDP socket as this folder needs it: bound to one local address, sending without a wait. */
import { createSocket } from 'node:dgram';
import type { Ipv4Address } from '../base/addresses.js';
import { TFTP_MAIN_PORT_BUFFER_BYTES, TFTP_MAIN_PORT_UNSENT_BYTES, TFTP_UNSENT_PACKETS_MAX } from '../base/limits.js';
import { bindAlone } from '../os/udp-socket.js';

/** Address and port; with TFTP's words, half of a transfer's identity. */
export interface Endpoint {
  readonly address: Ipv4Address;
  /** 1 to 65535. */
  readonly port: number;
}

export interface UdpSocket {
  readonly local: Endpoint;
  /**
   * Sends the first `length` bytes of `packet`. A packet that can't be sent is lost, as any packet may be.
   * True: the bytes are with the kernel and `packet` may be written to again. False: it must be left alone.
   */
  send(packet: Uint8Array, length: number, to: Endpoint): boolean;
  close(): void;
}

export interface UdpListener {
  /** `bytes` is the receiver's to keep. */
  received(bytes: Uint8Array, from: Endpoint): void;
  /** The socket itself failed; it stays open. */
  failed(error: Error): void;
}

/** A socket that was bound by somebody else. */
export interface BoundPort {
  readonly local: Endpoint;
  /** A descriptor of it, which is the caller's to close. */
  open(): number;
}

/** At `place`, or a free port of it where that is 0. Rejects with UdpSocketError (`code`: EADDRINUSE, EACCES, EADDRNOTAVAIL, EMFILE, …). */
export function bindUdp(place: Endpoint | BoundPort, listener: UdpListener): Promise<UdpSocket> {
  const { address } = 'open' in place ? place.local : place;
  // Addresses are literals: asking the resolver would put every packet off to a later turn of the event loop.
  const socket = createSocket({
    type: 'udp4',
    recvBufferSize: TFTP_MAIN_PORT_BUFFER_BYTES,
    sendBufferSize: TFTP_MAIN_PORT_UNSENT_BYTES,
    lookup: (address, _options, done) => done(null, address, 4),
  });
  return new Promise((resolve, reject) => {
    const refused = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', refused);
    socket.once('listening', () => {
      socket.off('error', refused);
      socket.on('error', (error) => listener.failed(error));
      const { port } = socket.address();
      resolve(new BoundSocket(socket, { address, port }));
    });
    socket.on('message', (bytes, from) => {
      // Nothing can be sent to port 0, so nothing that comes from there is ever answered.
      if (from.port !== 0) listener.received(bytes, from);
    });
    try {
      if ('open' in place) socket.bind({ fd: place.open() });
      else bindAlone(socket, address, place.port);
    } catch (error) {
      socket.close();
      reject(error);
    }
  });
}

class BoundSocket implements UdpSocket {
  readonly local: Endpoint;
  readonly #socket: ReturnType<typeof createSocket>;
  #open = true;

  constructor(socket: ReturnType<typeof createSocket>, local: Endpoint) {
    this.#socket = socket;
    this.local = local;
  }

  send(packet: Uint8Array, length: number, to: Endpoint): boolean {
    // Behind a full buffer Node would queue without end; a packet may be lost anywhere.
    if (!this.#open || this.#socket.getSendQueueCount() >= TFTP_UNSENT_PACKETS_MAX) return true;
    this.#socket.send(packet, 0, length, to.port, to.address);
    return this.#socket.getSendQueueCount() === 0;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.close();
  }
}
