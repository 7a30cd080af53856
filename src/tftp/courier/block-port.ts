import type { Ipv4Address } from '../../base/addresses.js';
import { TFTP_STRANGERS_ANSWERED_MAX } from '../../base/limits.js';
import { DatagramPort, type ReceivedDatagram } from '../../os/datagram-port.js';
import { endpointOf, socketAddress } from '../../os/socket-calls.js';
import { ErrorCode, Opcode } from '../constants.js';
import type { PeerChannel } from '../delivery.js';
import type { Endpoint } from '../udp-socket.js';
import { encodeError, opcodeOf } from '../wire.js';

export interface BlockPortListener {
  /** A stranger said something that may be answered by `turnAway`; told a few times only. */
  spokenToBy(stranger: Endpoint): void;
  closed(descriptor: number): void;
}

/** A transfer's own port (RFC 1350 section 4), of the address that was asked, so that the answer comes from where the board expects it. */
export class BlockPort implements PeerChannel {
  readonly #port: DatagramPort;
  readonly #peer: Buffer;
  readonly #listener: BlockPortListener;
  #strangersLeft = TFTP_STRANGERS_ANSWERED_MAX;

  /** Throws SystemCallError if there is no port to be had. */
  constructor(address: Ipv4Address, peer: Endpoint, listener: BlockPortListener) {
    this.#port = new DatagramPort(address);
    this.#peer = socketAddress(peer.address, peer.port);
    this.#listener = listener;
  }

  get descriptor(): number {
    return this.#port.descriptor;
  }

  /** What the peer said, and nobody else; a view of `into`. */
  receive(into: ReceivedDatagram): Uint8Array | undefined {
    const length = this.#port.receive(into);
    if (length === undefined) return undefined;
    const bytes = into.bytes.subarray(0, length);
    if (into.isFrom(this.#peer)) return bytes;
    this.#strangerSaid(bytes, into);
    return undefined;
  }

  send(packet: Uint8Array, length: number): boolean {
    this.#port.send(packet, length, this.#peer);
    return true;
  }

  sendAll(packets: Uint8Array, length: number, packetBytes: number): boolean {
    this.#port.sendSegments(packets, length, packetBytes, this.#peer);
    return true;
  }

  close(): void {
    this.#port.close();
    this.#listener.closed(this.#port.descriptor);
  }

  /** RFC 1350 section 4: the stranger is told, the transfer goes on. */
  turnAway({ address, port }: Endpoint): void {
    const answer = encodeError(ErrorCode.UnknownTransferId, 'this port is for the transfer of another');
    this.#port.send(answer, answer.length, socketAddress(address, port));
  }

  #strangerSaid(bytes: Uint8Array, { sender }: ReceivedDatagram): void {
    // An ERROR is never answered: two that answer each other would never stop (CVE-2024-2169).
    if (opcodeOf(bytes) === Opcode.ERROR || this.#strangersLeft === 0) return;
    this.#strangersLeft -= 1;
    this.#listener.spokenToBy(endpointOf(sender));
  }
}
