import type { Board } from '../boards/board.js';
import { type AttachedConnection, Floor, type NbdWorld } from './floor.js';
import type { Frozen } from './handover/freezing.js';
import type { FrozenConnection } from './handover/frozen-connection.js';
import type { ConnectionKeeper } from './handover/keeper.js';
import { type BoundAddress, listenAt, type NbdListener, type NbdPlace } from './listening.js';

export interface NbdServerOptions extends NbdWorld {
  /** IPv4, one listener each; `0.0.0.0` for all. Named, never `::`: its IPv4 peers would be IPv6 sockets. */
  readonly addresses: readonly string[];
  /** 0 lets the system choose, for tests. */
  readonly port: number;
}

export interface NbdServer {
  /** One more way in. Rejects with what Node or the kernel says if it can't be had, and once the server is stopped. */
  listen(place: NbdPlace): Promise<NbdListener>;
  /** Where it listens, in the order asked for; Unix sockets have none. */
  addresses(): readonly BoundAddress[];
  /** Those that use a disk. */
  connections(): readonly AttachedConnection[];
  /** What all connections together hold in memory. */
  bufferedBytes(): number;
  /**
   * Takes the connections that use a disk out of this process, for the next one: `stop` follows, and nothing is done for them any more
   * but what is under way.
   */
  freeze(keeper: ConnectionKeeper): Promise<Frozen>;
  /** Goes on with one of the process before us, before anybody else comes in. Rejects where that can't be: why not; its peer is told. */
  thaw(frozen: FrozenConnection, board: Board, descriptor: number): Promise<void>;
  /** Tells the meter of all requests that it was not told of yet: of those that lanes do it hears only so. */
  tellMeter(): void;
  /** Accepts no more, finishes what is under way (NBD_STOP_MS at most) and closes. */
  stop(): Promise<void>;
}

/** One that listens nowhere yet. */
export function nbdServer(world: NbdWorld): NbdServer {
  const floor = new Floor(world);
  const listeners = new Set<NbdListener>();
  let stopped: Promise<void> | undefined;
  return {
    async listen(place) {
      const { bound, stop } = await listenAt(place, world.log, (socket, origin) => floor.admit(socket, origin));
      const listener = {
        bound,
        async stop() {
          listeners.delete(listener);
          await stop();
        },
      };
      listeners.add(listener);
      if (stopped === undefined) return listener;
      await listener.stop();
      throw new Error('the server is being stopped');
    },
    addresses: () => [...listeners].flatMap(({ bound }) => (bound === undefined ? [] : [bound])),
    connections: () => floor.attachedConnections(),
    bufferedBytes: () => floor.bufferedBytes(),
    tellMeter: () => floor.tellMeter(),
    async freeze(keeper) {
      const bound = [...listeners].flatMap(({ bound }) => bound ?? []);
      const stopListening = async () => {
        await Promise.all([...listeners].map((listener) => listener.stop()));
      };
      const ports = [...new Set(bound.map(({ port }) => port))];
      return await floor.freeze({ keeper, ports, stopListening });
    },
    thaw: (frozen, board, descriptor) => floor.thaw(frozen, board, descriptor),
    async stop() {
      stopped ??= Promise.all([...[...listeners].map((listener) => listener.stop()), floor.clear()]).then(() => {});
      await stopped;
    },
  };
}

/** Rejects with Node's error (EADDRINUSE, EACCES, …) if one address cannot be had; then none is. */
export async function startNbdServer({ addresses, port, ...world }: NbdServerOptions): Promise<NbdServer> {
  const server = nbdServer(world);
  try {
    for (const address of addresses) await server.listen({ kind: 'tcp', address, port });
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}
