import { isAbsolute } from 'node:path';
import { bytesText } from '../base/amounts.js';
import type { Clock } from '../base/clock.js';
import { SNAPSHOT_HOLD_MS_GOAL } from '../base/limits.js';
import type { Log } from '../base/log.js';
import type { WatchedDevice } from '../block/watched-device.js';
import type { Board } from '../boards/board.js';
import type { DiskVerdict, Held } from '../boards/disks/board-disk.js';
import type { CommandVerdict, DiskCommands, DiskList, Forced, PutAside } from '../boards/disks/disk-commands.js';
import type { CopyOptions } from '../boards/disks/held-copy.js';
import type { OwnDisk } from '../boards/disks/own-disk.js';
import type { Promoted, PromoteOptions } from '../boards/disks/promotion.js';
import type { DiskUser } from '../boards/writer-lock/writer-lock.js';
import { unknownBoard } from './unknown-board.js';

export interface BoardDisksOptions {
  /** Those that are served now. */
  readonly boards: () => readonly Board[];
  readonly promote: (disk: WatchedDevice, file: string, options: PromoteOptions) => Promise<DiskVerdict<Promoted>>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Of a board with a disk of its own. */
interface Owner {
  readonly board: Board;
  readonly own: OwnDisk;
}

/** What is done with a disk that nobody else may use meanwhile. */
interface Alone {
  /** For who comes meanwhile: "it is being reset". */
  readonly doing: string;
  readonly force: boolean;
}

/** What an operator has done with boards' disks: of each board one thing after the other, and with nobody at the disk where that would destroy what he has. */
export class BoardDisks implements DiskCommands {
  readonly #options: BoardDisksOptions;
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Of which disks copies are being made: an hour each, so these take no turn. */
  readonly #copies = new Map<string, Copy>();
  readonly #stop = new AbortController();

  constructor(options: BoardDisksOptions) {
    this.#options = options;
  }

  /** What is under way is finished, copies are ended. Nobody may ask for more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#turns.values(), ...[...this.#copies.values()].map(({ over }) => over)]);
  }

  /**
   * Has a board's disk closed by `close`, when nobody uses it and nobody more may: the inventory has no such board any more, or another
   * disk for it. Answers why that can't be now; at once, as long as nobody is to be sent away.
   */
  async retire(name: string, { doing, force }: Alone, close: () => Promise<void>): Promise<DiskVerdict> {
    const board = this.#options.boards().find((candidate) => candidate.name === name);
    if (board === undefined) return { answer: 'done' };
    const because = this.#whyInUse(board, force);
    if (because !== undefined) return refused(because);
    return this.#turn(name, async (): Promise<DiskVerdict> => {
      // Kept for good: whoever has found the board already, and asks for its disk now, is told what is being done.
      const user = serverUser(doing);
      if (force) await board.writerLock.seize(user, doing);
      else if ((await board.writerLock.acquire(user)).answer !== 'granted')
        return refused('somebody has just connected');
      await close();
      return { answer: 'done' };
    });
  }

  #whyInUse({ name, writerLock }: Board, force: boolean): string | undefined {
    if (this.#turns.has(name)) return 'something is being done with its disk';
    const copied = this.#whyCopied(name);
    const holder = writerLock.holder();
    return copied ?? (holder === undefined || force ? undefined : `it is connected from ${holder}`);
  }

  snapshots(name: string): Promise<CommandVerdict<DiskList>> {
    return this.#ofOwner(name, async ({ board, own }) => {
      const space = await own.space();
      if (space === undefined) return refused(own.unusable ?? 'it is not open');
      return { answer: 'done', board: board.name, sizeBytes: board.disk.sizeBytes, ...space };
    });
  }

  snapshot(name: string, snapshot: string): Promise<CommandVerdict<Held>> {
    return this.#inTurn(name, async ({ own }) => {
      const verdict = await own.snapshot(snapshot);
      if (verdict.answer === 'done') this.#tellSnapshot(name, snapshot, verdict);
      return verdict;
    });
  }

  rollback(name: string, snapshot: string, { force }: Forced): Promise<CommandVerdict> {
    return this.#inTurn(name, async (owner) => {
      const { own } = owner;
      const because = (await whyUnusable(own)) ?? own.missing(snapshot) ?? whyVolatile(own) ?? this.#whyCopied(name);
      if (because !== undefined) return refused(because);
      const doing = `it is being rolled back to its snapshot ${snapshot}`;
      return this.#alone(owner, { doing, force }, async (closed) => {
        const verdict = await own.rollback(snapshot);
        if (verdict.answer === 'done') this.#log.info({ board: name, snapshot, ...closed }, 'disk.rolled_back');
        return verdict;
      });
    });
  }

  reset(name: string, { force }: Forced): Promise<CommandVerdict<PutAside>> {
    return this.#inTurn<PutAside>(name, async (owner) => {
      const because = this.#whyCopied(name);
      if (because !== undefined) return refused(because);
      return this.#alone<PutAside>(owner, { doing: 'it is being reset', force }, async (closed) => {
        const verdict = await owner.own.resetOrPutAside();
        if (verdict.answer === 'refused') return verdict;
        const { aside } = verdict;
        this.#log.info({ board: name, ...(aside === undefined ? {} : { aside }), ...closed }, 'disk.reset');
        return verdict;
      });
    });
  }

  drop(name: string, snapshot: string, { force }: Forced): Promise<CommandVerdict> {
    return this.#inTurn(name, async (owner) => {
      const { own } = owner;
      const because = (await whyUnusable(own)) ?? own.missing(snapshot);
      if (because !== undefined) return refused(because);
      const drop = async (closed: object) => {
        const verdict = await own.drop(snapshot);
        if (verdict.answer === 'done') this.#log.info({ board: name, snapshot, ...closed }, 'disk.snapshot.dropped');
        return verdict;
      };
      // What the disk lies on becomes one with what the board has written since: so long nothing can be written.
      const doing = `its snapshot ${snapshot}, which it lies on, is being dropped`;
      return own.isOn(snapshot) ? this.#alone(owner, { doing, force }, drop) : drop({});
    });
  }

  promote(name: string, file: string, options: CopyOptions): Promise<CommandVerdict<Promoted>> {
    return this.#of<Promoted>(name, async (board) => {
      const unusable = board.own && (await whyUnusable(board.own));
      const because = unusable ?? this.#whyCopied(name) ?? whyNoPath(file);
      if (because !== undefined) return refused(because);
      const copy = new Copy();
      this.#copies.set(name, copy);
      try {
        await this.#turns.get(name);
        if (!this.#isServed(board)) return refused(NOT_SERVED);
        return await this.#copy(board, file, { ...options, progress: copy.heard(options.progress) });
      } finally {
        this.#copies.delete(name);
        copy.end();
      }
    });
  }

  async #copy(board: Board, file: string, { progress, signal }: CopyOptions): Promise<DiskVerdict<Promoted>> {
    const { promote, clock } = this.#options;
    const begunMs = clock.nowMs();
    const ended = AbortSignal.any([signal, this.#stop.signal]);
    const verdict = await promote(board.disk, file, { progress, signal: ended, clock });
    if (verdict.answer === 'done') {
      const durationMs = Math.round(clock.nowMs() - begunMs);
      const copied = { bytes: verdict.bytes, heldMs: Math.round(verdict.heldMs), durationMs };
      this.#log.info({ board: board.name, file, ...copied }, 'disk.promoted');
    }
    return verdict;
  }

  #tellSnapshot(board: string, snapshot: string, { heldMs }: Held): void {
    const facts = { board, snapshot, heldMs: Math.round(heldMs) };
    if (heldMs <= SNAPSHOT_HOLD_MS_GOAL) this.#log.info(facts, 'disk.snapshot.taken');
    else this.#log.warn({ ...facts, because: 'the disk under state/ took so long to sync' }, 'disk.snapshot.taken');
  }

  /** With the board's writer lock, so that nobody takes the disk meanwhile; refused while it is connected, unless that is to be ended. */
  async #alone<Done>(
    { board }: Owner,
    { doing, force }: Alone,
    action: (closed: object) => Promise<DiskVerdict<Done>>,
  ): Promise<DiskVerdict<Done>> {
    const { writerLock } = board;
    const user = serverUser(doing);
    let closed = {};
    if (force) {
      const holder = writerLock.holder();
      if (holder !== undefined) closed = { closed: holder };
      await writerLock.seize(user, `by an operator's word: ${doing}`);
    } else {
      const verdict = await writerLock.acquire(user);
      if (verdict.answer === 'held') return refused(connectedFrom(board.name, verdict.by));
      if (verdict.answer === 'unusable') return refused(verdict.because);
    }
    try {
      return await action(closed);
    } finally {
      writerLock.release(user);
    }
  }

  #whyCopied(board: string): string | undefined {
    const copy = this.#copies.get(board);
    return copy && `its disk is being copied (${copy.progressText}): wait until that is through, or end it`;
  }

  #inTurn<Done = object>(
    name: string,
    action: (owner: Owner) => Promise<DiskVerdict<Done>>,
  ): Promise<CommandVerdict<Done>> {
    return this.#ofOwner(name, (owner) => {
      return this.#turn(name, async () => (this.#isServed(owner.board) ? action(owner) : refused(NOT_SERVED)));
    });
  }

  #turn<T>(name: string, action: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(action);
    const over = turn
      .catch(() => {})
      .then(() => {
        if (this.#turns.get(name) === over) this.#turns.delete(name);
      });
    this.#turns.set(name, over);
    return turn;
  }

  /** While one waited for his turn the inventory may have given the board another disk. */
  #isServed({ name, disk }: Board): boolean {
    return this.#options.boards().some((board) => board.name === name && board.disk === disk);
  }

  #ofOwner<Done>(name: string, action: (owner: Owner) => Promise<DiskVerdict<Done>>): Promise<CommandVerdict<Done>> {
    return this.#of(name, async (board) => {
      const { own } = board;
      return own === undefined ? refused(isImage(name)) : action({ board, own });
    });
  }

  async #of<Done>(name: string, action: (board: Board) => Promise<DiskVerdict<Done>>): Promise<CommandVerdict<Done>> {
    const boards = this.#options.boards();
    const board = boards.find((candidate) => candidate.name === name);
    if (board === undefined) {
      const names = boards.map((each) => each.name);
      return { answer: 'unknown', because: unknownBoard(name, names) };
    }
    if (this.#stop.signal.aborted) return refused(sentence(name, 'the server is being stopped'));
    try {
      const verdict = await action(board);
      return verdict.answer === 'done' ? verdict : refused(sentence(name, verdict.because));
    } catch (error) {
      this.#log.error({ board: name, err: error }, 'disk.command.bug');
      return refused(sentence(name, 'a fault of the server, which its log tells of'));
    }
  }

  get #log(): Log {
    return this.#options.log;
  }
}

/** One that is being made. */
class Copy {
  /** Resolves when it is, or never will be. */
  readonly over: Promise<void>;
  /** It is. */
  end = () => {};
  #doneBytes = 0;
  #ofBytes = 0;

  constructor() {
    this.over = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  get progressText(): string {
    const percent = this.#ofBytes === 0 ? 0 : Math.floor((100 * this.#doneBytes) / this.#ofBytes);
    return this.#ofBytes === 0 ? 'it has just begun' : `${percent} % of ${bytesText(this.#ofBytes)}`;
  }

  heard(progress: CopyOptions['progress']): CopyOptions['progress'] {
    return (doneBytes, ofBytes) => {
      this.#doneBytes = doneBytes;
      this.#ofBytes = ofBytes;
      progress(doneBytes, ofBytes);
    };
  }
}

const NOT_SERVED = 'the inventory has no such board any more, or another disk for it';

/** Whoever probes us waits for as long as he would wait for the lock: what we do may be over before. */
function serverUser(doing: string): DiskUser {
  return { peerAddress: 'this server', doing, probe: () => new Promise(() => {}), close: async () => {} };
}

async function whyUnusable(own: OwnDisk): Promise<string | undefined> {
  await own.open();
  return own.unusable;
}

function whyVolatile({ isVolatile }: OwnDisk): string | undefined {
  return isVolatile
    ? 'its disk is `volatile`: it begins as the image when the board boots, whatever it was rolled back to. Make it `disk: overlay` in the inventory first'
    : undefined;
}

function whyNoPath(file: string): string | undefined {
  return isAbsolute(file) ? undefined : `${JSON.stringify(file)} is no absolute path`;
}

function connectedFrom(board: string, address: string): string {
  return `${board} is connected from ${address}: shut it down, or --force closes its connection first`;
}

function isImage(board: string): string {
  return `its disk is the image itself (\`disk: direct\`), which has no snapshots and nothing to go back to. \`disk: overlay\` gives it one of its own over that image; \`brambleboot promote ${board} FILE\` makes a copy`;
}

function sentence(board: string, because: string): string {
  return because.startsWith(`${board} `) ? because : `${board}: ${because}`;
}

function refused(because: string): { readonly answer: 'refused'; readonly because: string } {
  return { answer: 'refused', because };
}
