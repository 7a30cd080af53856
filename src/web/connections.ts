import { HTTP_CONNECTIONS_MAX, HTTP_CONNECTIONS_PER_ADDRESS_MAX } from '../base/limits.js';

/** As much of a socket as is needed here. */
export interface Connection {
  destroy(): void;
  once(event: 'close', listener: () => void): void;
}

interface Held {
  readonly connection: Connection;
  readonly address: string;
  /** Under way; more than one where a client pipelines. */
  requestsCount: number;
}

/**
 * The connections of the web server. Where there is no room, somebody gives way to the newcomer: to refuse it would let anybody who
 * holds connections open keep Prometheus out.
 */
export class Connections {
  /** Oldest first, both. */
  readonly #held = new Map<Connection, Held>();
  readonly #byAddress = new Map<string, Set<Held>>();

  get count(): number {
    return this.#held.size;
  }

  admit(connection: Connection, address: string): void {
    const held: Held = { connection, address, requestsCount: 0 };
    const own = this.#byAddress.get(address) ?? new Set();
    if (own.size >= HTTP_CONNECTIONS_PER_ADDRESS_MAX) this.#close(leastMissed(own));
    else if (this.#held.size >= HTTP_CONNECTIONS_MAX) this.#close(leastMissed(this.#greediest(own)));
    this.#held.set(connection, held);
    this.#byAddress.set(address, own.add(held));
    connection.once('close', () => this.#forget(held));
  }

  requestBegan(connection: Connection): void {
    const held = this.#held.get(connection);
    if (held !== undefined) held.requestsCount += 1;
  }

  requestEnded(connection: Connection): void {
    const held = this.#held.get(connection);
    if (held !== undefined) held.requestsCount -= 1;
  }

  /** The connections of the address that has the most, the newcomer counted; of two that have as many, of the one that came first. */
  #greediest(newcomers: ReadonlySet<Held>): ReadonlySet<Held> {
    let most = newcomers;
    let mostCount = 0;
    for (const theirs of this.#byAddress.values()) {
      const count = theirs === newcomers ? theirs.size + 1 : theirs.size;
      if (count <= mostCount) continue;
      most = theirs;
      mostCount = count;
    }
    return most;
  }

  #close(held: Held | undefined): void {
    if (held === undefined) return;
    this.#forget(held);
    held.connection.destroy();
  }

  #forget(held: Held): void {
    if (!this.#held.delete(held.connection)) return;
    const theirs = this.#byAddress.get(held.address);
    theirs?.delete(held);
    if (theirs?.size === 0) this.#byAddress.delete(held.address);
  }
}

/** The oldest that waits for a request, or where all are answering one, the oldest. */
function leastMissed(connections: ReadonlySet<Held>): Held | undefined {
  let oldest: Held | undefined;
  for (const held of connections) {
    if (held.requestsCount === 0) return held;
    oldest ??= held;
  }
  return oldest;
}
