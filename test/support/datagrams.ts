import type { Socket } from 'node:dgram';

export interface Datagram {
  readonly bytes: Buffer;
  readonly address: string;
  readonly port: number;
}

/** Hands out what a socket receives in order, to who waits for it. Only ends by the test's own limit: nothing here counts seconds. */
export class Datagrams {
  readonly #arrived: Datagram[] = [];
  #waiting: ((datagram: Datagram) => void) | undefined;

  constructor(socket: Socket) {
    socket.on('message', (bytes, { address, port }) => {
      const datagram = { bytes, address, port };
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting) waiting(datagram);
      else this.#arrived.push(datagram);
    });
  }

  next(): Promise<Datagram> {
    const first = this.#arrived.shift();
    if (first) return Promise.resolve(first);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  get waitingCount(): number {
    return this.#arrived.length;
  }
}
