import { Socket } from 'node:net';
import { isUnixPeer, plainAddress } from '../base/addresses.js';
import { Budget } from '../base/budget.js';
import type { Clock } from '../base/clock.js';
import {
  NBD_CONNECTIONS_MAX,
  NBD_CONNECTIONS_PER_ADDRESS_MAX,
  NBD_HELD_BYTES_MAX,
  NBD_LOG_AGAIN_MS,
  NBD_REFUSALS_LOGGED_MAX,
  NBD_STOP_MS,
} from '../base/limits.js';
import type { Log } from '../base/log.js';
import { News } from '../base/news.js';
import type { Board } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import { probePeer } from '../os/tcp-probe.js';
import { probeUnixPeer } from '../os/unix-socket.js';
import { NbdConnection } from './connection.js';
import type { Attachment, ConnectionWorld, NbdTls } from './connection-world.js';
import { type FreezingWorld, type Frozen, freezeConnections } from './handover/freezing.js';
import type { FrozenConnection } from './handover/frozen-connection.js';
import { CannotKeep } from './handover/keeper.js';
import type { RefusedDisk } from './handshake/negotiation.js';
import { peerWords } from './handshake/tls-peer.js';
import { Lanes } from './lanes/lanes.js';
import type { PeerOrigin } from './listening.js';
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

export interface AttachedConnection {
  readonly board: string;
  readonly peer: string;
  readonly isSecured: boolean;
}

/** All connections of the server: who may come in, and who has whose disk. */
export class Floor {
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
  readonly #refusals: News;
  readonly #turnedAway: News;
  #whenEmpty: (() => void) | undefined;

  constructor(options: NbdWorld) {
    this.#options = options;
    this.#lanes = new Lanes(options);
    this.#refusals = new News(options.clock, { againMs: NBD_LOG_AGAIN_MS, max: NBD_REFUSALS_LOGGED_MAX });
    this.#turnedAway = new News(options.clock, { againMs: NBD_LOG_AGAIN_MS, max: 1 });
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

  async freeze(world: Pick<FreezingWorld<NbdConnection>, 'keeper' | 'ports' | 'stopListening'>): Promise<Frozen> {
    const given = new Set<NbdConnection>();
    const connections = () => {
      for (const each of this.#connections) {
        if (each.board !== undefined && !each.isSecured && world.keeper.keeps(each.peer)) given.add(each);
      }
      return [...given];
    };
    const { clock, log } = this.#options;
    const bug = (error: unknown) => log.error({ err: error }, 'nbd.connection.bug');
    const areHaggling = () => [...this.#connections].some(({ isHaggling }) => isHaggling);
    const verdict = await freezeConnections({ ...world, clock, connections, areHaggling, bug });
    // Whatever has become of them, nobody waits for them here.
    for (const connection of given) this.#connections.delete(connection);
    return verdict;
  }

  /** Its address is that of before: it takes nobody's place. */
  async thaw(frozen: FrozenConnection, board: Board, descriptor: number): Promise<void> {
    const socket = new Socket({ fd: descriptor, allowHalfOpen: true });
    const { peer } = frozen;
    this.#countByPeer.set(countedAs(peer), (this.#countByPeer.get(countedAs(peer)) ?? 0) + 1);
    const connection = new NbdConnection(socket, peer, this.#worldOf(isUnixPeer(peer) ? 'host' : 'network'), 'thawing');
    this.#connections.add(connection);
    const verdict = await connection.thaw(board, frozen);
    if (verdict.answer === 'held') throw new CannotKeep(`its disk is in use by ${verdict.by}`);
    if (verdict.answer === 'unusable') throw new CannotKeep(verdict.because);
    // It may have started anew meanwhile.
    board.writerLock.suspect();
  }

  // NBD_ESHUTDOWN is never answered: a board that gets any error loses its root disk, while silence is waited out.
  async clear(): Promise<void> {
    for (const connection of this.#connections) {
      if (connection.board === undefined) void connection.close('server stopped', 'abrupt');
      else void connection.finish('server stopped', NBD_STOP_MS);
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
    // A board that tries again each second is said once, and who mended one thing is told the next.
    const level = this.#refusals.isNews(`${peer} ${exportName} ${because}`) ? 'warn' : 'debug';
    log[level]({ peer, board, exportName, because }, 'nbd.disk.refused');
  }

  #tlsFailed(peer: string, because: string): void {
    const { meter, log } = this.#options;
    meter.tlsFailed();
    const level = this.#refusals.isNews(`${peer} TLS ${because}`) ? 'warn' : 'debug';
    log[level]({ peer, because }, 'nbd.tls.failed');
  }

  #turnAway(socket: Socket, peer: string): void {
    close(socket);
    if (!this.#turnedAway.isNews('a connection')) return;
    this.#options.log.warn({ peer, connections: this.#connections.size }, 'nbd.connection.turned_away');
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
