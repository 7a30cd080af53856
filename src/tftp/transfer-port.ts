/** Where a transfer's packets go out and come in: a port of its own (RFC 1350 section 4), or the main port shared by all. */
import type { Ipv4Address } from '../base/addresses.js';
import { TFTP_STRANGERS_ANSWERED_MAX } from '../base/limits.js';
import { ErrorCode, Opcode } from './constants.js';
import type { PeerChannel } from './delivery.js';
import { bindUdp, type Endpoint, type UdpSocket } from './udp-socket.js';
import { encodeError, opcodeOf } from './wire.js';

export interface TransferPortListener {
  /** From the peer and nobody else. */
  received(bytes: Uint8Array): void;
  /** The port is of no more use; no other transfer is harmed. */
  failed(error: Error): void;
}

/**
 * A fresh port of the address that was asked, so that the answer comes from where the board expects it. `answers`: whether a stranger
 * with this address may be told that it is one.
 */
export async function openTransferPort(
  localAddress: Ipv4Address,
  peer: Endpoint,
  listener: TransferPortListener,
  answers: (stranger: string) => boolean,
): Promise<PeerChannel> {
  let strangersLeft = TFTP_STRANGERS_ANSWERED_MAX;
  const socket = await bindUdp(
    { address: localAddress, port: 0 },
    {
      received(bytes, from) {
        if (from.port === peer.port && from.address === peer.address) return listener.received(bytes);
        // An ERROR is never answered: two that answer each other would never stop (CVE-2024-2169).
        if (opcodeOf(bytes) === Opcode.ERROR || strangersLeft === 0 || !answers(from.address)) return;
        strangersLeft -= 1;
        const answer = encodeError(ErrorCode.UnknownTransferId, 'this port is for the transfer of another');
        socket.send(answer, answer.length, from);
      },
      failed: (error) => listener.failed(error),
    },
  );
  return { send: (packet, length) => socket.send(packet, length, peer), close: () => socket.close() };
}

/** `tftp.single_port`: what comes in is told apart by who sent it. */
export function shareMainPort(main: UdpSocket, peer: Endpoint): PeerChannel {
  return { send: (packet, length) => main.send(packet, length, peer), close() {} };
}
