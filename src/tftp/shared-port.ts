import type { Clock } from '../base/clock.js';
import type { Carrier } from './carrier.js';
import { Delivery, type PeerChannel } from './delivery.js';
import type { Endpoint, UdpSocket } from './udp-socket.js';

/** `tftp.single_port`: files go out by the main port itself, where what comes in is told apart by who sent it. */
export function byMainPort(main: UdpSocket, clock: Clock): Carrier {
  return {
    deliver(job) {
      const delivery = new Delivery({ ...job, channel: channelTo(job.to, main), clock });
      delivery.handle({ kind: 'begin' });
      return delivery;
    },
  };
}

function channelTo(peer: Endpoint, main: UdpSocket): PeerChannel {
  return {
    send: (packet, length) => main.send(packet, length, peer),
    sendAll(packets, length, packetBytes) {
      let isReusable = true;
      for (let at = 0; at < length; at += packetBytes) {
        const packet = packets.subarray(at, Math.min(at + packetBytes, length));
        isReusable = main.send(packet, packet.length, peer) && isReusable;
      }
      return isReusable;
    },
    close() {},
  };
}
