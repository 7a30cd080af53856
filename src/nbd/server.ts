import { Socket } from 'node:net';
import { isUnixPeer, plainAddress } from '../base/addresses.js';
import { Budget } from '../base/budget.js';
import { type Clock, passed } from '../base/clock.js';
import {
  NBD_CONNECTIONS_MAX,
  NBD_CONNECTIONS_PER_ADDRESS_MAX,
  NBD_HELD_BYTES_MAX,
  NBD_LOG_AGAIN_MS,
  NBD_REFUSALS_LOGGED_MAX,
  NBD_STOP_HAGGLE_LOOK_MS,
  NBD_STOP_HAGGLE_MS,
  NBD_STOP_MS,
} from '../base/limits.js';
import type { Log } from '../base/log.js';
import type { Board } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import { probePeer } from '../os/tcp-probe.js';
import { probeUnixPeer } from '../os/unix-socket.js';
import { NbdConnection } from './connection.js';
import type { Attachment, ConnectionWorld, NbdTls } from './connection-world.js';
import { type FreezingWorld, type Frozen, freezeConnections } from './handover/freezing.js';
import type { FrozenConnection } from './handover/frozen-connection.js';
import type { ConnectionKeeper } from './handover/keeper.js';
import type { RefusedDisk } from './handshake/negotiation.js';
import { peerWords } from './handshake/tls-peer.js';
import { Lanes } from './lanes/lanes.js';
import { type BoundAddress, listenAt, type NbdListener, type NbdPlace, type PeerOrigin } from './listening.js';
import type { NbdMeter } from './meter.js';
import { BufferPool } from './session/buffer-pool.js';
import { TurnBudget } from './session/turn-budget.js';
import { UnixPeers } from './unix-peers.js';

export interface NbdWorld {
  /** Whether who comes from this address is answered at all. Asked once, at accept: no change of mind closes a connection. */
  readonly answers: (peer: string) => boolean;
  readonly lookup: BoardLookup;
  readonly tell: TellBoardEvent;
  readonly meter: NbdMeter;
  readonly clock: Clock;
  readonly log: Log;
  /** Without it there is no TLS. Asked anew for each connection. */
  readonly tls?: NbdTls | undefined;
}

export interface NbdServerOptions extends NbdWorld {
  /** IPv4, one listener each; `0.0.0.0` for all. Named, never `::`: its IPv4 peers would be IPv6 sockets. */
  readonly addresses: readonly string[];
  /** 0 lets the system choose, for tests. */
  readonly port: number;
}

export interface AttachedConnection {
  readonly board: string;
  readonly peer: string;
  readonly isSecured: boolean;
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

/** All connections of the server: who may come in, and who has whose disk. */
class Floor {
  readonly #options: NbdWorld;
  readonly #unixPeers = new UnixPeers();
  readonly #turn = new TurnBudget();
  readonly #pool = new BufferPool();
  readonly #lanes: Lanes;
  readonly #heldMemory = new Budget(NBD_HELD_BYTES_MAX);
  readonly #connections = new Set<NbdConnection>();
  readonly #countByPeer = new Map<string, number>();
  /** Per board, those that use its disk: all from one address, which the writer lock sees to. */
  readonly #attached = new Map<string, Set<NbdConnection>>();
  readonly #refusalsLogged = new Set<string>();
  #refusalsForgottenMs = Number.NEGATIVE_INFINITY;
  #turnedAwayLoggedMs = Number.NEGATIVE_INFINITY;
  #whenEmpty: (() => void) | undefined;

  constructor(options: NbdWorld) {
    this.#options = options;
    this.#lanes = new Lanes(options);
  }

  /** The one way in, whatever it came by. */
  admit(socket: Socket, origin: PeerOrigin): void {
    // Who may open a Unix socket is for the permissions of its file to say.
    const peer = origin === 'host' ? this.#unixPeers.nameOf(socket) : plainAddress(socket.remoteAddress ?? '');
    if (origin === 'network' && !this.#options.answers(peer)) {
      close(socket);
      return;
    }
    const count = this.#countByPeer.get(countedAs(peer)) ?? 0;
    if (count >= NBD_CONNECTIONS_PER_ADDRESS_MAX || this.#connections.size >= NBD_CONNECTIONS_MAX) {
      this.#turnAway(socket, peer);
      return;
    }
    this.#countByPeer.set(countedAs(peer), count + 1);
    this.#connections.add(new NbdConnection(socket, peer, this.#worldOf(origin)));
  }

  attachedConnections(): readonly AttachedConnection[] {
    return [...this.#attached].flatMap(([board, connections]) =>
      [...connections].map(({ peer, isSecured }) => ({ board, peer, isSecured })),
    );
  }

  bufferedBytes(): number {
    return [...this.#connections].reduce((sum, connection) => sum + connection.bufferedBytes, 0);
  }

  tellMeter(): void {
    for (const tally of this.#lanes.tallies()) if (tally.count > 0) this.#options.meter.requestsFinished(tally);
  }

  async freeze(world: Omit<FreezingWorld<NbdConnection>, 'clock' | 'connections'>): Promise<Frozen> {
    await this.#haggled();
    const given = new Set<NbdConnection>();
    const connections = () => {
      for (const each of this.#connections) {
        if (each.board !== undefined && !each.isSecured && world.keeper.keeps(each.peer)) given.add(each);
      }
      return [...given];
    };
    const verdict = await freezeConnections({ ...world, clock: this.#options.clock, connections });
    // Whatever has become of them, nobody waits for them here.
    for (const connection of given) this.#connections.delete(connection);
    return verdict;
  }

  /** Who is just choosing a disk, for its board's boot, is let have it first: nobody could go on with half a handshake. */
  async #haggled(): Promise<void> {
    const { clock } = this.#options;
    for (let waitedMs = 0; waitedMs < NBD_STOP_HAGGLE_MS; waitedMs += NBD_STOP_HAGGLE_LOOK_MS) {
      if (![...this.#connections].some(({ isHaggling }) => isHaggling)) return;
      await passed(clock, NBD_STOP_HAGGLE_LOOK_MS);
    }
  }

  /** Its address is that of before: it takes nobody's place. */
  async thaw(frozen: FrozenConnection, board: Board, descriptor: number): Promise<void> {
    const socket = new Socket({ fd: descriptor, allowHalfOpen: true });
    const { peer } = frozen;
    this.#countByPeer.set(countedAs(peer), (this.#countByPeer.get(countedAs(peer)) ?? 0) + 1);
    const connection = new NbdConnection(socket, peer, this.#worldOf(isUnixPeer(peer) ? 'host' : 'network'), 'thawing');
    this.#connections.add(connection);
    const verdict = await connection.thaw(board, frozen);
    if (verdict.answer === 'held') throw new Error(`its disk is in use by ${verdict.by}`);
    if (verdict.answer === 'unusable') throw new Error(verdict.because);
    // It may have started anew meanwhile.
    board.writerLock.suspect();
  }

  // NBD_ESHUTDOWN is never answered: a board that gets any error loses its root disk, while silence is waited out.
  async clear(): Promise<void> {
    for (const connection of this.#connections) {
      if (connection.board === undefined) void connection.close('server stopped', 'abrupt');
      else connection.finish('server stopped', NBD_STOP_MS);
    }
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => {
        this.#whenEmpty = resolve;
      });
    }
    await this.#lanes.stop();
    this.tellMeter();
  }

  #worldOf(origin: PeerOrigin): ConnectionWorld {
    const { lookup, clock, log, meter, tls } = this.#options;
    return {
      lookup,
      clock,
      log,
      meter,
      turn: this.#turn,
      pool: this.#pool,
      heldMemory: this.#heldMemory,
      lanes: this.#lanes,
      tls,
      probe: async (socket) => (origin === 'host' ? probeUnixPeer(socket) : probePeer(socket, clock)),
      attached: (connection, board, how) => this.#attach(connection, board, how),
      detached: (connection, board, because) => this.#detach(connection, board, because),
      tlsFailed: ({ peer }, because) => this.#tlsFailed(peer, because),
      refused: ({ peer }, refused) => this.#refused(peer, refused),
      closed: (connection) => this.#closed(connection),
    };
  }

  #attach(connection: NbdConnection, board: string, { channel, isKept }: Attachment): void {
    const { meter, tell, log } = this.#options;
    const users = this.#attached.get(board) ?? new Set();
    users.add(connection);
    this.#attached.set(board, users);
    meter.connectionOpened(board);
    if (users.size > 1) {
      log.debug({ board, peer: connection.peer }, 'nbd.connection.added');
      return;
    }
    tell({ kind: 'attached', board, peer: connection.peer });
    const over = channel.kind === 'tls' ? { tls: peerWords(channel.peer) } : {};
    log.info({ board, peer: connection.peer, ...over }, isKept ? 'nbd.disk.kept' : 'nbd.disk.attached');
  }

  #detach(connection: NbdConnection, board: string, because: string): void {
    const { meter, tell, log } = this.#options;
    const users = this.#attached.get(board);
    users?.delete(connection);
    meter.connectionClosed(board);
    if (users !== undefined && users.size > 0) {
      log.debug({ board, peer: connection.peer, because }, 'nbd.connection.removed');
      return;
    }
    this.#attached.delete(board);
    tell({ kind: 'detached', board, peer: connection.peer, because });
    log.info({ board, peer: connection.peer, because }, 'nbd.disk.detached');
  }

  #refused(peer: string, { board, exportName, reason, because }: RefusedDisk): void {
    const { tell, log } = this.#options;
    tell({ kind: 'refused', board, peer, exportName, reason, because });
    const level = this.#isNews(`${peer} ${exportName} ${because}`) ? 'warn' : 'debug';
    log[level]({ peer, board, exportName, because }, 'nbd.disk.refused');
  }

  #tlsFailed(peer: string, because: string): void {
    const { meter, log } = this.#options;
    meter.tlsFailed();
    const level = this.#isNews(`${peer} TLS ${because}`) ? 'warn' : 'debug';
    log[level]({ peer, because }, 'nbd.tls.failed');
  }

  /** Whether this refusal was not logged in the last while: a board that tries again each second is said once, and who mended one thing is told the next. */
  #isNews(refusal: string): boolean {
    const nowMs = this.#options.clock.nowMs();
    if (nowMs - this.#refusalsForgottenMs > NBD_LOG_AGAIN_MS) {
      this.#refusalsForgottenMs = nowMs;
      this.#refusalsLogged.clear();
    }
    if (this.#refusalsLogged.has(refusal) || this.#refusalsLogged.size >= NBD_REFUSALS_LOGGED_MAX) return false;
    this.#refusalsLogged.add(refusal);
    return true;
  }

  #turnAway(socket: Socket, peer: string): void {
    close(socket);
    const { clock, log } = this.#options;
    if (clock.nowMs() - this.#turnedAwayLoggedMs < NBD_LOG_AGAIN_MS) return;
    this.#turnedAwayLoggedMs = clock.nowMs();
    log.warn({ peer, connections: this.#connections.size }, 'nbd.connection.turned_away');
  }

  #closed(connection: NbdConnection): void {
    this.#connections.delete(connection);
    const counted = countedAs(connection.peer);
    const left = (this.#countByPeer.get(counted) ?? 1) - 1;
    if (left > 0) this.#countByPeer.set(counted, left);
    else this.#countByPeer.delete(counted);
    if (this.#connections.size === 0) this.#whenEmpty?.();
  }
}

/** All that come by Unix sockets count as one: a process is made more easily than an address, and boards need room too. */
function countedAs(peer: string): string {
  return isUnixPeer(peer) ? 'unix' : peer;
}

/** Before a byte is sent: who is not let in learns nothing. */
function close(socket: Socket): void {
  socket.on('error', () => {});
  socket.destroy();
}
