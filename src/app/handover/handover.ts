import { isOnThisHost } from '../../base/addresses.js';
import { type Clock, passed } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import { HANDOVER_FLUSH_LOOK_MS, HANDOVER_FLUSH_MS } from '../../base/limits.js';
import type { Log } from '../../base/log.js';
import type { Board } from '../../boards/board.js';
import type { HandoverStatus } from '../../boards/journal/status.js';
import type { FrozenConnection, LostConnection } from '../../nbd/handover/frozen-connection.js';
import type { FrozenBoard } from '../../nbd/handover/frozen-wire.js';
import { CannotKeep, isRefusal } from '../../nbd/handover/keeper.js';
import type { StoreKeeper } from '../../nbd/handover/store-keeper.js';
import type { NbdServer } from '../../nbd/server.js';
import type { HostTime } from '../../os/host-time.js';
import { resetConnection } from '../../os/tcp-probe.js';
import { diskIdentity, diskModified } from './disk-identity.js';
import type { FoundBoard, HandoverFolder } from './handover-folder.js';
import type { Keeping, KeepingVerdict } from './keeping.js';
import { tooLate } from './verdicts.js';

export interface HandoverOptions {
  /** Whether connections can be kept here. */
  readonly look: () => Promise<KeepingVerdict>;
  /** What a service manager has kept comes back this way, by whatever we keep connections now. */
  readonly store: Pick<StoreKeeper, 'fetch' | 'empty'>;
  readonly folder: HandoverFolder;
  readonly nbdServer: Pick<NbdServer, 'freeze' | 'thaw' | 'connections'>;
  readonly boards: () => readonly Board[];
  /** `server.handover_limit`. */
  readonly limitMs: number;
  readonly hostTime: () => HostTime;
  readonly clock: Clock;
  readonly log: Log;
}

/** What became of connections at a stop. */
export interface HandedOn {
  /** Boards that are kept for the next process: their disks go on as if nothing had happened. */
  readonly kept: readonly string[];
  /** Boards, kept or lost, to whose disks something of ours may still be done: nobody may close them, and we have to end without waiting for it. */
  readonly busy: ReadonlySet<string>;
}

/** Hands the boards' connections on from one process to the next: what they have of us goes on while the program is started anew. */
export class Handover {
  readonly #options: HandoverOptions;
  #isHolding = false;
  #writing: Promise<void> = Promise.resolve();
  /** Boards whose connections a start may go on with that may do so. */
  readonly #left = new Set<string>();
  #verdict: KeepingVerdict = { answer: 'cannot', because: 'nobody has looked yet', remedy: '' };

  constructor(options: HandoverOptions) {
    this.#options = options;
  }

  /** Goes on with what the process before us has left, before anybody else may come in. */
  async thaw(): Promise<void> {
    const { folder, look, log } = this.#options;
    const found = await folder.read().catch((error: unknown) => {
      log.error({ folder: folder.path, because: this.#reasonOf(error), means: NOT_READ }, 'handover.unreadable');
      return [];
    });
    this.#verdict = await look();
    if (this.#verdict.answer === 'cannot') {
      const { because, remedy } = this.#verdict;
      log.warn({ because, means: RESTART_LOSES, remedy }, 'handover.impossible');
    }
    const sockets = this.#fetchAll(found);
    const left = found.filter((each) => this.#isForLater(each, sockets));
    const ours = found.filter((each) => !left.includes(each));
    // Their peers have heard nothing yet: what is written down is true until now, and of nobody from here on.
    await folder.clear(ours.map(boardOf));
    await this.#emptyStore();
    // Nothing is touched where nothing was: who went before us may have been killed, and left rules that keep everybody out.
    this.#isHolding = found.length > 0 || (await this.#keeping?.isHolding()) === true;
    if (this.#isHolding) await this.#insist(async () => this.#keeping?.letThrough());
    await this.#releaseOthers(found);
    for (const each of left) this.#leave(boardOf(each));
    for (const each of ours) {
      const because = await this.#thawBoard(each, sockets);
      if (because !== undefined) log.warn({ board: boardOf(each), because, means: DISK_LOST }, 'handover.dropped');
    }
  }

  /** The rules have their name from the state folder, which may be another one now. */
  async #releaseOthers(found: readonly FoundBoard[]): Promise<void> {
    const holds = found.flatMap((each) => (each.answer === 'frozen' && each.frozen.hold) || []);
    for (const hold of new Set(holds)) {
      if (hold !== this.#keeping?.hold) await this.#insist(async () => this.#keeping?.release(hold));
    }
  }

  /** This process may not go on with it, and another may: what is written of it stays true, as long as the board knows of nothing else. */
  #isForLater(found: FoundBoard, sockets: Sockets): boolean {
    if (this.#keeping !== undefined || found.answer === 'unreadable') return false;
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
  attached(board: string): void {
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
    const keeper = socket.kind === 'stored' ? this.#options.store : this.#keeping?.keeper;
    if (keeper === undefined) return MAY_NOT;
    try {
      return keeper.fetch(socket);
    } catch (error) {
      return this.#reasonOf(error);
    }
  }

  /** Of what nobody goes on with, peers are told; and what is ours again is closed when we close it. */
  async #emptyStore(): Promise<void> {
    const { store, log } = this.#options;
    const { unclaimed, isEmpty } = await store.empty();
    for (const { name, because } of unclaimed) log.warn({ name, because }, 'handover.unclaimed');
    if (!isEmpty) log.error({ because: STORE_SILENT, means: NOT_CLOSED }, 'handover.store.silent');
  }

  status(): HandoverStatus {
    const lack = this.#verdict.answer === 'cannot' ? this.#verdict : undefined;
    const boards = this.#options.nbdServer.connections().filter(({ peer }) => !isOnThisHost(peer));
    const atRisk = boards.filter(({ isSecured }) => lack !== undefined || isSecured);
    return { lacks: lack?.because, remedy: lack?.remedy, atRisk: [...new Set(atRisk.map(({ board }) => board))] };
  }

  get #keeping(): Keeping | undefined {
    return this.#verdict.answer === 'can' ? this.#verdict.keeping : undefined;
  }

  /** Everybody may come in: our listeners are there. */
  async release(): Promise<void> {
    if (this.#keeping !== undefined) void this.#reserve(); // nobody waits for it
    await this.#letIn();
  }

  async #reserve(): Promise<void> {
    const { folder, log } = this.#options;
    const because = await folder.reserve().catch((error: unknown) => this.#reasonOf(error));
    if (because !== 'reserved')
      log.warn({ because: because === 'noRoom' ? NO_ROOM : because, means: NO_RESERVE }, 'handover.reserve.missing');
  }

  async #letIn(): Promise<void> {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    await this.#insist(async () => this.#keeping?.release());
  }

  /** On a machine that is busy with starting, the packet filter may take longer than it has. */
  async #insist(change: () => Promise<void>): Promise<void> {
    for (let left = HOLD_ATTEMPTS; left > 0; left -= 1) {
      try {
        await change();
        return;
      } catch (error) {
        this.#options.log.error({ err: error, attemptsLeft: left - 1 }, 'handover.hold.failed');
      }
    }
  }

  /** Takes the connections out of this process, for the next one. */
  async freeze(): Promise<HandedOn> {
    const { nbdServer } = this.#options;
    const keeping = this.#keeping;
    if (keeping === undefined) return { kept: [], busy: new Set() };
    this.#flushBeforehand();
    const { frozen, lost, busy: busyBoards } = await nbdServer.freeze(keeping.keeper);
    for (const each of lost) this.#tellLost(each);
    const byBoard = new Map<string, FrozenConnection[]>();
    for (const connection of frozen) {
      byBoard.set(connection.board, [...(byBoard.get(connection.board) ?? []), connection]);
    }
    const busy = new Set(busyBoards);
    const saving = Promise.all([...byBoard].map(([board, connections]) => this.#save(board, connections, busy)));
    const [saved, isSettled] = await Promise.all([saving, keeping.settled()]);
    if (!isSettled) this.#options.log.error({ because: STORE_SILENT, means: MAY_BE_LOST }, 'handover.store.silent');
    const kept = saved.flat();
    this.#isHolding = kept.length === 0; // newcomers are kept out by now
    await this.#letIn();
    return { kept, busy };
  }

  /** So that there is little left to flush when nobody is there any more: meanwhile their boards go on. */
  #flushBeforehand(): void {
    const attached = new Set(this.#options.nbdServer.connections().map(({ board }) => board));
    for (const { name, own, disk } of this.#options.boards()) {
      if (own !== undefined && attached.has(name)) void disk.flush().catch(() => {}); // told when it is flushed again
    }
  }

  /** Names it in `busy` where its disk did not get ready in time. */
  async #save(name: string, connections: readonly FrozenConnection[], busy: Set<string>): Promise<readonly string[]> {
    const { boards, folder, hostTime, log } = this.#options;
    const board = boards().find((each) => each.name === name);
    const at = hostTime();
    try {
      if (board === undefined) throw new CannotKeep('it is in the inventory no longer');
      await this.#flush(board, busy);
      const disk = diskIdentity(board);
      if (disk === undefined) throw new CannotKeep('its disk can’t be used');
      // What is still done to it counts as written then.
      const modified = busy.has(name) ? undefined : diskModified(board);
      const hold = this.#keeping?.hold;
      await this.#inTurn(() => folder.write({ board: name, disk, modified, at, hold, connections }));
      log.info({ board: name, connections: connections.length }, 'handover.frozen');
      return [name];
    } catch (error) {
      for (const { peer } of connections) this.#tellLost({ board: name, peer, because: this.#reasonOf(error) });
      return [];
    }
  }

  /** One after the other: each is in memory a few times over while it is written. */
  #inTurn(write: () => Promise<void>): Promise<void> {
    const turn = this.#writing.then(write);
    this.#writing = turn.catch(() => {});
    return turn;
  }

  /**
   * What a layer's map says is only in our memory until then, although its board was told that it is written. Of any disk the kernel tells
   * once only that it could not write: who goes on with it would be told that all is well.
   */
  async #flush({ name, disk, own }: Board, busy: Set<string>): Promise<void> {
    const { clock } = this.#options;
    const patienceMs = own === undefined ? HANDOVER_FLUSH_LOOK_MS : HANDOVER_FLUSH_MS;
    const late = passed(clock, patienceMs).then(() => 'late' as const);
    const flushed = disk.flush().then(() => 'flushed' as const);
    if ((await Promise.race([flushed, late])) === 'flushed') return;
    busy.add(name);
    void flushed.catch(() => {}); // nobody waits for it any more
    if (own !== undefined) throw new CannotKeep('its disk could not be flushed in time');
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
        await nbdServer.thaw(connection, board, socket).catch((error: unknown) => failures.push(this.#reasonOf(error)));
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
    if (disk === frozen.disk && frozen.modified === undefined) return undefined;
    if (disk === frozen.disk) return frozen.modified === diskModified(board) ? undefined : OTHER_CONTENT;
    return disk === undefined
      ? 'its disk can’t be used'
      : 'its disk is another one than when the server was stopped, of which it knows nothing';
  }

  #reasonOf(error: unknown): string {
    if (!isRefusal(error)) this.#options.log.error({ err: error }, 'handover.bug');
    return messageOf(error);
  }

  #tellLost({ board, peer, because }: LostConnection): void {
    this.#options.log.warn({ board, peer, because, means: DISK_LOST }, 'handover.lost');
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

const HOLD_ATTEMPTS = 3;
const MAY_NOT = 'this process may not take connections over';
const LET_IT =
  'start it as before within that time, with CAP_NET_ADMIN and nft, and the board goes on; to let it boot anew instead, `nft delete table inet` what `nft list tables` has as brambleboot_…';
const NOT_READ = 'boards that the process before us has left there lose their disks; make it readable and start again';
const RESTART_LOSES = 'boards that run lose their root disk when this server is restarted';
const DISK_LOST = 'its root disk is gone; what it was answered is kept: boot it anew';
const OTHER_CONTENT =
  'its image was written or replaced while the server was stopped, and what its kernel knows of it is another content';
const NO_ROOM = 'there is too little space where the state folder lies';
const NO_RESERVE = 'boards lose their disks in a restart while that filesystem is full; make room and restart';
const STORE_SILENT = 'the service manager has not said in time that it has dealt with what it was told';
const MAY_BE_LOST = 'it may not have the connections that it was to keep, and their boards lose their disks then';
const NOT_CLOSED = 'a connection that it has still is not closed when we close it; the next start tries again';
