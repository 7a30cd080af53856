import type { Log } from '../../base/log.js';
import type { Board } from '../../boards/board.js';
import type { FrozenConnection } from '../../nbd/handover/frozen-connection.js';
import type { FrozenBoard } from '../../nbd/handover/frozen-wire.js';
import type { ConnectionKeeper } from '../../nbd/handover/keeper.js';
import type { StoreKeeper } from '../../nbd/handover/store-keeper.js';
import type { NbdServer } from '../../nbd/server.js';
import type { HostTime } from '../../os/host-time.js';
import { resetConnection } from '../../os/tcp-probe.js';
import { diskIdentity, diskModified } from './disk-identity.js';
import type { FoundBoard, HandoverFolder } from './handover-folder.js';
import { DISK_LOST, reasonIn, STORE_SILENT, tooLate } from './verdicts.js';

export interface TakingUpOptions {
  /** What a service manager has kept comes back this way, by whatever we keep connections now. */
  readonly store: Pick<StoreKeeper, 'fetch' | 'empty'>;
  readonly folder: HandoverFolder;
  readonly nbdServer: Pick<NbdServer, 'thaw'>;
  readonly boards: () => readonly Board[];
  /** `server.handover_limit`. */
  readonly limitMs: number;
  readonly hostTime: () => HostTime;
  readonly log: Log;
}

/** A start: goes on with the connections that the process before us has written down. */
export class TakingUp {
  readonly #options: TakingUpOptions;
  /** Where this process may take connections over from the kernel. */
  readonly #keeper: ConnectionKeeper | undefined;
  /** Boards whose connections a start may go on with that may do so. */
  readonly #left = new Set<string>();

  constructor(options: TakingUpOptions, keeper: ConnectionKeeper | undefined) {
    this.#options = options;
    this.#keeper = keeper;
  }

  /** `letThrough` is called when all sockets are there: from then on their peers are heard. */
  async takeUp(found: readonly FoundBoard[], letThrough: () => Promise<void>): Promise<void> {
    const { folder, log } = this.#options;
    const sockets = this.#fetchAll(found);
    const left = found.filter((each) => this.#isForLater(each, sockets));
    const ours = found.filter((each) => !left.includes(each));
    // Their peers have heard nothing yet: what is written down is true until now, and of nobody from here on.
    await folder.clear(ours.map(boardOf));
    await this.#emptyStore();
    await letThrough();
    for (const each of left) this.#leave(boardOf(each));
    for (const each of ours) {
      const because = await this.#thawBoard(each, sockets);
      if (because !== undefined) log.warn({ board: boardOf(each), because, means: DISK_LOST }, 'handover.dropped');
    }
  }

  /** This process may not go on with it, and another may: what is written of it stays true, as long as the board knows of nothing else. */
  #isForLater(found: FoundBoard, sockets: Sockets): boolean {
    if (this.#keeper !== undefined || found.answer === 'unreadable') return false;
    const { at, connections } = found.frozen;
    const isKernels = connections.every((each) => each.socket.kind === 'tcp' && typeof sockets.get(each) === 'string');
    return isKernels && tooLate(at, this.#options.hostTime(), this.#options.limitMs) === undefined;
  }

  #leave(board: string): void {
    const { log, limitMs } = this.#options;
    this.#left.add(board);
    log.warn({ board, because: MAY_NOT, means: leftFor(limitMs), remedy: LET_IT }, 'handover.left');
  }

  /** A board has its disk: what was left of it is not to be gone on with any more. */
  forget(board: string): void {
    const { folder, log } = this.#options;
    if (!this.#left.delete(board)) return;
    folder.clear([board]).catch((error: unknown) => log.error({ err: error }, 'handover.bug'));
  }

  /** All of them, also those that nobody goes on with: a peer that is told nothing would wait for ever for what it has asked. */
  #fetchAll(found: readonly FoundBoard[]): Sockets {
    const sockets = new Map<FrozenConnection, number | string>();
    for (const each of found) {
      const connections = each.answer === 'frozen' ? each.frozen.connections : [];
      for (const connection of connections) sockets.set(connection, this.#fetch(connection));
    }
    return sockets;
  }

  #fetch({ socket }: FrozenConnection): number | string {
    const keeper = socket.kind === 'stored' ? this.#options.store : this.#keeper;
    if (keeper === undefined) return MAY_NOT;
    try {
      return keeper.fetch(socket);
    } catch (error) {
      return reasonIn(this.#options.log, error);
    }
  }

  /** Of what nobody goes on with, peers are told; and what is ours again is closed when we close it. */
  async #emptyStore(): Promise<void> {
    const { store, log } = this.#options;
    const { unclaimed, isEmpty } = await store.empty();
    for (const { name, because } of unclaimed) log.warn({ name, because }, 'handover.unclaimed');
    if (!isEmpty) log.error({ because: STORE_SILENT, means: NOT_CLOSED }, 'handover.store.silent');
  }

  async #thawBoard(found: FoundBoard, sockets: Sockets): Promise<string | undefined> {
    if (found.answer === 'unreadable') return `what was written of it can't be read: ${found.because}`;
    const { frozen } = found;
    const { boards, nbdServer, hostTime, log } = this.#options;
    const board = boards().find(({ name }) => name === frozen.board);
    const because = board === undefined ? 'it is in the inventory no longer' : this.#whyNot(frozen, board);
    const failures = because === undefined ? [] : [because];
    for (const connection of frozen.connections) {
      const socket = sockets.get(connection) ?? 'nobody has kept it';
      if (typeof socket === 'string') failures.push(socket);
      else if (board === undefined || because !== undefined) resetConnection(socket);
      else {
        await nbdServer.thaw(connection, board, socket).catch((error: unknown) => failures.push(reasonIn(log, error)));
      }
    }
    const connections = frozen.connections.length - failures.length;
    const pausedMs = hostTime().uptimeMs - frozen.at.uptimeMs;
    if (connections > 0 && because === undefined) {
      log.info({ board: frozen.board, connections, pausedMs }, 'handover.thawed');
    }
    return failures[0];
  }

  #whyNot(frozen: FrozenBoard, board: Board): string | undefined {
    const { hostTime, limitMs } = this.#options;
    const late = tooLate(frozen.at, hostTime(), limitMs);
    if (late !== undefined) return late;
    const disk = diskIdentity(board);
    if (disk === undefined) return 'its disk can’t be used';
    if (disk !== frozen.disk) return OTHER_DISK;
    const isSame = frozen.modified === undefined || frozen.modified === diskModified(board);
    return isSame ? undefined : OTHER_CONTENT;
  }
}

/** Or why there is none. */
type Sockets = ReadonlyMap<FrozenConnection, number | string>;

function boardOf(found: FoundBoard): string {
  return found.answer === 'frozen' ? found.frozen.board : found.board;
}

function leftFor(limitMs: number): string {
  return `its root disk stands still, and it is kept out until ${limitMs / 60_000} minutes after the stop, by rules that are in the packet filter still`;
}

const MAY_NOT = 'this process may not take connections over';
const LET_IT =
  'start it as before within that time, with CAP_NET_ADMIN and nft, and the board goes on; to let it boot anew instead, `nft delete table inet` what `nft list tables` has as brambleboot_…';
const OTHER_DISK = 'its disk is another one than when the server was stopped, of which it knows nothing';
const OTHER_CONTENT =
  'its image was written or replaced while the server was stopped, and what its kernel knows of it is another content';
const NOT_CLOSED = 'a connection that it has still is not closed when we close it; the next start tries again';
