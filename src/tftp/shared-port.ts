import type { Clock } from '../base/clock.js';
import type { Carrier } from './carrier.js';
import { Delivery } from './delivery.js';
import type { UdpSocket } from './udp-socket.js';

/** `tftp.single_port`: files go out by the main port itself, where what comes in is told apart by who sent it. */
export function byMainPort(main: UdpSocket, clock: Clock): Carrier {
  return {
    deliver(job) {
      const channel = { send: (packet: Uint8Array, length: number) => main.send(packet, length, job.to), close() {} };
      const delivery = new Delivery({ ...job, channel, clock });
      delivery.handle({ kind: 'begin' });
      return delivery;
    },
  };
}
