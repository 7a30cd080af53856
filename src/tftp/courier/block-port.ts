import type { Ipv4Address } from '../../base/addresses.js';
import { TFTP_STRANGERS_ANSWERED_MAX } from '../../base/limits.js';
import { PeerPort } from '../../os/peer-port.js';
import { ErrorCode, Opcode } from '../constants.js';
import type { PeerChannel } from '../delivery.js';
import type { Endpoint } from '../udp-socket.js';
import { encodeError, opcodeOf } from '../wire.js';

/** A transfer's own port (RFC 1350 section 4), of the address that was asked, so that the answer comes from where the board expects it. */
export class BlockPort implements PeerChannel {
  readonly #port: PeerPort;
  readonly #closed: (descriptors: readonly number[]) => void;
  #strangersLeft = TFTP_STRANGERS_ANSWERED_MAX;
  #sentCount = 0;
  #isClosed = false;

  /** Throws SystemCallError if there is no port to be had. */
  constructor(address: Ipv4Address, peer: Endpoint, closed: (descriptors: readonly number[]) => void) {
    this.#port = new PeerPort(address, peer);
    this.#closed = closed;
  }

  /** Calls of `send` and `sendAll`. */
  get sentCount(): number {
    return this.#sentCount;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Readable when the peer has said something. */
  get descriptor(): number {
    return this.#port.descriptor;
  }

  /** Readable when somebody else has. */
  get strangersDescriptor(): number {
    return this.#port.strangers.descriptor;
  }

  /** What the peer said; a view of `buffer`. */
  receive(buffer: Uint8Array): Uint8Array | undefined {
    const length = this.#port.receive(buffer);
    return length === undefined ? undefined : buffer.subarray(0, length);
  }

  /** Who else spoke, if an answer to that is safe; a few times only. */
  receiveStranger(buffer: Uint8Array): Endpoint | undefined {
    const said = this.#port.strangers.receive(buffer);
    if (said === undefined || this.#strangersLeft === 0) return undefined;
    // An ERROR is never answered: two that answer each other would never stop (CVE-2024-2169).
    if (opcodeOf(buffer.subarray(0, said.length)) === Opcode.ERROR) return undefined;
    this.#strangersLeft -= 1;
    return said.from;
  }

  /** RFC 1350 section 4: the stranger is told, the transfer goes on. */
  turnAway(stranger: Endpoint): void {
    this.#port.strangers.send(
      encodeError(ErrorCode.UnknownTransferId, 'this port is for the transfer of another'),
      stranger,
    );
  }

  send(packet: Uint8Array, length: number): boolean {
    this.#sentCount += 1;
    this.#port.send(packet, length);
    return true;
  }

  sendAll(packets: Uint8Array, length: number, packetBytes: number): boolean {
    this.#sentCount += 1;
    this.#port.sendSegments(packets, length, packetBytes);
    return true;
  }

  close(): void {
    this.#isClosed = true;
    const descriptors = [this.descriptor, this.strangersDescriptor];
    this.#port.close();
    this.#closed(descriptors);
  }
}
