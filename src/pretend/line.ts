import type { Ipv4Address } from '../base/addresses.js';
import { Malformed } from '../base/malformed.js';
import { decodeUdpPacket, encodeUdpPacket, PI_STYLE } from '../dhcp/ip-packet.js';
import { DescriptorWatch } from '../os/descriptor-watch.js';
import { openPacketSocket } from '../os/packet-socket.js';
import { openUdpSocket } from '../os/udp-socket.js';

/** What a board has before it has an address: it can broadcast to the DHCP servers, and hears what is said to its client port. */
export interface DhcpLine {
  send(message: Uint8Array): void;
  onMessage(listener: (message: Uint8Array, source: Ipv4Address) => void): void;
  close(): Promise<void>;
}

export interface LinePlace {
  readonly interfaceName: string;
  readonly serverPort: number;
  readonly clientPort: number;
}

/** Below IP, as a board: also hears a router that unicasts its OFFER to the address it offers. Needs CAP_NET_RAW. */
export function packetLine({ interfaceName, serverPort, clientPort }: LinePlace): DhcpLine {
  let listener: (message: Uint8Array, source: Ipv4Address) => void = () => {};
  const filter = { destinationPort: clientPort, broadcastOnly: false };
  const socket = openPacketSocket({ interfaceName, filter }, new DescriptorWatch(), (packet) => {
    const datagram = udpIn(packet);
    if (datagram !== undefined) listener(datagram.payload, datagram.source);
  });
  return {
    send(payload) {
      const source = { source: '0.0.0.0', sourcePort: clientPort };
      const destination = { destination: '255.255.255.255', destinationPort: serverPort };
      socket.broadcast(encodeUdpPacket({ ...source, ...destination, payload }, PI_STYLE));
    },
    onMessage(wanted) {
      listener = wanted;
    },
    close: () => socket.close(),
  };
}

/** On loopback, where an unprivileged user tries things out: ordinary UDP to its broadcast address. */
export function loopbackLine({ interfaceName, serverPort, clientPort }: LinePlace): DhcpLine {
  const broadcast = '127.255.255.255';
  const socket = openUdpSocket({ address: broadcast, port: clientPort, interfaceName });
  return {
    send: (payload) => socket.send(payload, serverPort, broadcast),
    onMessage(listener) {
      socket.on('message', (message, from) => listener(message, from.address));
    },
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

function udpIn(packet: Uint8Array): ReturnType<typeof decodeUdpPacket> | undefined {
  try {
    return decodeUdpPacket(packet);
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}
