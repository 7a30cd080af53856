import { type Clock, passed } from '../../base/clock.js';
import { HANDOVER_FLUSH_LOOK_MS, HANDOVER_FLUSH_MS } from '../../base/limits.js';
import type { Log } from '../../base/log.js';
import { Turns } from '../../base/turns.js';
import type { Board } from '../../boards/board.js';
import type { FrozenConnection, LostConnection } from '../../nbd/handover/frozen-connection.js';
import { CannotKeep } from '../../nbd/handover/keeper.js';
import type { NbdServer } from '../../nbd/server.js';
import type { HostTime } from '../../os/host-time.js';
import { diskIdentity, diskModified } from './disk-identity.js';
import type { HandoverFolder } from './handover-folder.js';
import type { Keeping } from './keeping.js';
import { DISK_LOST, reasonIn, STORE_SILENT } from './verdicts.js';

export interface HandingOnOptions {
  readonly folder: HandoverFolder;
  readonly nbdServer: Pick<NbdServer, 'freeze' | 'connections'>;
  readonly boards: () => readonly Board[];
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

/** A stop: takes the boards' connections out of this process, and writes them down for the next one. */
export class HandingOn {
  readonly #options: HandingOnOptions;
  readonly #keeping: Keeping;
  /** One board after the other: each is in memory a few times over while it is written. */
  readonly #writing = new Turns();

  constructor(options: HandingOnOptions, keeping: Keeping) {
    this.#options = options;
    this.#keeping = keeping;
  }

  async handOn(): Promise<HandedOn> {
    const { nbdServer, log } = this.#options;
    this.#flushBeforehand();
    const { frozen, lost, busy: busyBoards } = await nbdServer.freeze(this.#keeping.keeper);
    for (const each of lost) this.#tellLost(each);
    const byBoard = new Map<string, FrozenConnection[]>();
    for (const connection of frozen) {
      byBoard.set(connection.board, [...(byBoard.get(connection.board) ?? []), connection]);
    }
    const busy = new Set(busyBoards);
    const saving = Promise.all([...byBoard].map(([board, connections]) => this.#save(board, connections, busy)));
    const [saved, isSettled] = await Promise.all([saving, this.#keeping.settled()]);
    if (!isSettled) log.error({ because: STORE_SILENT, means: MAY_BE_LOST }, 'handover.store.silent');
    return { kept: saved.flat(), busy };
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
      const { hold } = this.#keeping;
      await this.#writing.take(() => folder.write({ board: name, disk, modified, at, hold, connections }));
      log.info({ board: name, connections: connections.length }, 'handover.frozen');
      return [name];
    } catch (error) {
      const because = reasonIn(log, error);
      for (const { peer } of connections) this.#tellLost({ board: name, peer, because });
      return [];
    }
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

  #tellLost({ board, peer, because }: LostConnection): void {
    this.#options.log.warn({ board, peer, because, means: DISK_LOST }, 'handover.lost');
  }
}

const MAY_BE_LOST = 'it may not have the connections that it was to keep, and their boards lose their disks then';
