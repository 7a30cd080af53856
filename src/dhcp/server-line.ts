/** How one interface is heard and answered on: below IP where that is allowed, by a UDP socket where not. */
import type { Ipv4Address } from '../base/addresses.js';
import { Malformed } from '../base/malformed.js';
import type { DescriptorWatch } from '../os/descriptor-watch.js';
import { SystemCallError } from '../os/libc.js';
import { isRefusal, openPacketSocket } from '../os/packet-socket.js';
import { openUdpSocket } from '../os/udp-socket.js';
import { decodeUdpPacket, encodeUdpPacket, LINUX_STYLE } from './ip-packet.js';

/** Where boards ask and are answered. */
export interface DhcpInterface {
  readonly name: string;
  /** What boards are told to ask (option 54); the interface's own address unless the configuration says otherwise. */
  readonly address: Ipv4Address;
  /** Heard and sent to: 255.255.255.255, on loopback 127.255.255.255. */
  readonly broadcast: Ipv4Address;
}

/**
 * `packet`: the port is left to whoever has it, and answers come from `DhcpInterface.address`. `udp`: they come from the
 * interface's primary address, and who wants the port for itself alone is in our way, or we in its.
 */
export type DhcpWay = 'packet' | 'udp';

export interface ServerLine {
  readonly way: DhcpWay;
  readonly port: number;
  /** To everybody there, from our port. */
  send(payload: Uint8Array, port: number): void;
  /** Why it hears nothing any more. */
  failure(): string | undefined;
  close(): Promise<void>;
}

export interface LineEvents {
  received(message: Uint8Array): void;
  notSent(because: string): void;
}

/** Throws UdpSocketError or SystemCallError. Without `watch` it is a UDP socket in any case. */
export function openServerLine(
  place: DhcpInterface,
  port: number,
  watch: DescriptorWatch | undefined,
  events: LineEvents,
): ServerLine {
  if (watch === undefined || isLoopback(place)) return udpLine(place, port, events);
  try {
    return packetLine(place, port, watch, events);
  } catch (error) {
    if (error instanceof SystemCallError && isRefusal(error)) return udpLine(place, port, events);
    throw error;
  }
}

/** There are no boards there but pretend ones, and whoever tries things out has no rights. */
function isLoopback({ broadcast }: DhcpInterface): boolean {
  return broadcast.startsWith('127.');
}

/**
 * Only what is for 255.255.255.255: a DHCP server's clients renew by unicast, which is none of our business, and nobody can
 * send that address through a router.
 */
function packetLine(place: DhcpInterface, port: number, watch: DescriptorWatch, events: LineEvents): ServerLine {
  const filter = { destinationPort: port, broadcastOnly: true };
  const socket = openPacketSocket({ interfaceName: place.name, filter }, watch, (packet) => {
    const message = payloadOf(packet);
    if (message !== undefined) events.received(message);
  });
  return {
    way: 'packet',
    port,
    send(payload, destinationPort) {
      const ends = { source: place.address, sourcePort: port, destination: place.broadcast, destinationPort };
      try {
        socket.broadcast(encodeUdpPacket({ ...ends, payload }, LINUX_STYLE));
      } catch (error) {
        if (!(error instanceof SystemCallError)) throw error;
        events.notSent(error.message);
      }
    },
    failure: () => socket.failure(),
    close: () => socket.close(),
  };
}

/**
 * Bound to the broadcast address, never to 0.0.0.0: tried, a socket there takes away the unicast renewals that are meant for a
 * DHCP server on the same machine.
 */
function udpLine({ name, broadcast }: DhcpInterface, port: number, events: LineEvents): ServerLine {
  const socket = openUdpSocket({ address: broadcast, port, interfaceName: name });
  let failed: string | undefined;
  let open = true;
  socket.on('message', (bytes) => events.received(bytes));
  socket.on('error', (error) => {
    failed = error.message;
  });
  return {
    way: 'udp',
    port: socket.address().port,
    send(payload, destinationPort) {
      if (!open) return;
      socket.send(payload, destinationPort, broadcast, (error) => {
        if (error) events.notSent(error.message);
      });
    },
    failure: () => failed,
    async close() {
      if (!open) return;
      open = false;
      await new Promise<void>((resolve) => socket.close(resolve));
    },
  };
}

function payloadOf(packet: Uint8Array): Uint8Array | undefined {
  try {
    return decodeUdpPacket(packet).payload;
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}
