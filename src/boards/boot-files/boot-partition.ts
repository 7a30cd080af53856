import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import type { Budget } from '../../base/budget.js';
import { BOOT_PARTITION_LOOKS_MAX, PARTITION_TABLE_BYTES } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import { slice } from '../../block/slice.js';
import type { ChangeWatch, WatchedChange, WatchedDevice } from '../../block/watched-device.js';
import type { ByteRun } from '../../disk/fat/chain.js';
import { type FatVolume, openFat } from '../../disk/fat/volume.js';
import { ChangeLedger, type DiskRange } from './change-ledger.js';
import { HeldFile, type HeldFileMemory, type HeldFileReader } from './held-file.js';

/** What all boot partitions together may keep in memory. */
export interface BootMemory extends HeldFileMemory {
  /** Counts runs of files whose places are remembered until the next write. */
  readonly remembered: Budget;
}

/** What the partition table says that booting depends on. */
export interface DiskLayout {
  readonly boot: { readonly offset: number; readonly sizeBytes: number };
  /** As Linux numbers it; undefined where the disk has a boot partition and no other. */
  readonly rootPartition: number | undefined;
}

/** A file as a look at the partition found it, and the version of the partition that was looked at. */
export interface FoundFile {
  /** In the disk's own spelling, so that two spellings of one file are one. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly runs: readonly ByteRun[];
  readonly view: View;
}

/** The partition as looks at one version of it see it; the same object for all of them. */
export interface View {
  readonly device: BlockDevice;
  readonly volume: FatVolume;
  readonly layout: DiskLayout;
  readonly version: number;
}

/**
 * The boot partition of a disk that its board may be writing at this moment. Each write to it (or to the partition table)
 * makes a new version; nothing learned of one version is used for another. A look that a write ran into is made again; after
 * BOOT_PARTITION_LOOKS_MAX of those, or where a write is under way already, new writes wait for one look, which takes milliseconds.
 * Looks are made one after the other: a flood of requests for files costs the board's writes one look each, not all at once.
 */
export class BootPartition {
  readonly #disk: WatchedDevice;
  readonly #locate: () => Promise<DiskLayout>;
  readonly #memory: BootMemory;
  readonly #watch: ChangeWatch;
  readonly #changes = new ChangeLedger();
  readonly #held = new Map<HeldFile, DiskLayout>();
  readonly #sharable = new Map<string, HeldFile>();
  /** By the path that was asked for, in any spelling; of the current version only. */
  readonly #found = new Map<string, FoundFile>();
  #version = 0;
  #layout: DiskLayout | undefined;
  #watched: Watched;
  /** Changes of what is watched now are all seen from then on. */
  #allSeen: Promise<void> = Promise.resolve();
  #view: { readonly version: number; readonly promise: Promise<View> } | undefined;
  #lastLook: Promise<unknown> = Promise.resolve();
  #gate: Promise<void> | undefined;

  /** `locate` reads the partition table of the same disk; it is asked again when the table was written. */
  constructor(disk: WatchedDevice, locate: () => Promise<DiskLayout>, memory: BootMemory) {
    this.#disk = disk;
    this.#locate = locate;
    this.#memory = memory;
    this.#watched = watchedRanges(undefined, disk.sizeBytes);
    this.#watch = disk.watch({ changing: (offset, lengthBytes) => this.#changing(offset, lengthBytes) });
  }

  /**
   * A look at one version of the partition. What `act` answers or throws is true of that version; it is called again if a
   * write came between, so it must do nothing but look. Throws DiskFault and BlockError.
   */
  look<T>(act: (view: View) => Promise<T>): Promise<T> {
    return this.#lookInTurn(act, (result) => result);
  }

  /** The file at `path`, as a look finds it; undefined if there is none. To be called from a look, with its view. */
  async findIn(view: View, path: string): Promise<FoundFile | undefined> {
    const known = this.#found.get(path);
    if (known?.view === view) return known;
    const found = await findIn(view, path);
    if (found !== undefined && view.version === this.#version) this.#remember(path, found);
    return found;
  }

  /** True if nothing was written since that look, and nothing is being written. */
  isCurrent(view: View): boolean {
    return view.version === this.#version && !this.#changes.disturbs(this.#watched.all);
  }

  /** Keeps the bytes that the file has at this instant; `changed` if it is gone or has another size than was found. */
  async hold(found: FoundFile): Promise<HeldFileReader | 'changed'> {
    if (this.isCurrent(found.view)) return this.#register(found);
    return this.#lookInTurn(
      (view) => this.findIn(view, found.path),
      (now) => (now?.sizeBytes === found.sizeBytes ? this.#register(now) : 'changed'),
    );
  }

  close(): void {
    this.#watch.stop();
    this.#forgetFound();
  }

  #lookInTurn<T, R>(act: (view: View) => Promise<T>, accept: (result: T) => R): Promise<R> {
    const look = this.#lastLook.then(() => this.#look(act, accept));
    // The next one in another turn of the event loop: many looks in a row must not keep sockets waiting.
    this.#lastLook = look.catch(() => {}).then(() => turnOfTheLoop());
    return look;
  }

  /** `act` may meet anything, as the board may be writing; `accept` is called in the very turn in which its result is known to be sound. */
  async #look<T, R>(act: (view: View) => Promise<T>, accept: (result: T) => R): Promise<R> {
    for (let looks = 0; looks < BOOT_PARTITION_LOOKS_MAX; looks += 1) {
      // To wait until nothing is being written might be for ever: a disk with a queue is never idle.
      if (this.#changes.disturbs(this.#watched.all)) break;
      const version = this.#version;
      const outcome = await outcomeOf(this.#viewed(version).then(act));
      if (version === this.#version) return delivered(outcome, accept);
    }
    return this.#whileWritesWait(async () => delivered(await outcomeOf(this.#viewed(this.#version).then(act)), accept));
  }

  async #whileWritesWait<T>(action: () => Promise<T>): Promise<T> {
    let open = () => {};
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    try {
      await this.#changes.settled(this.#watched.all);
      return await action();
    } finally {
      this.#gate = undefined;
      open();
    }
  }

  /** The volume at that version, opened once for all looks at it. */
  #viewed(version: number): Promise<View> {
    if (this.#view?.version === version) return this.#view.promise;
    const promise = this.#open(version);
    this.#view = { version, promise };
    promise.catch(() => {
      // A disk may fail once: the next look tries again.
      if (this.#view?.promise === promise) this.#view = undefined;
    });
    return promise;
  }

  async #open(version: number): Promise<View> {
    await this.#allSeen;
    const layout = this.#layout ?? (await this.#locate());
    // Of a table that was written meanwhile nothing is kept.
    if (version === this.#version) this.#settle(layout);
    const device = slice(this.#disk, layout.boot.offset, layout.boot.sizeBytes);
    return { device, volume: await openFat(device), layout, version };
  }

  #remember(path: string, found: FoundFile): void {
    if (this.#found.has(path) || !this.#memory.remembered.take(found.runs.length + 1)) return;
    this.#found.set(path, found);
  }

  #forgetFound(): void {
    for (const { runs } of this.#found.values()) this.#memory.remembered.giveBack(runs.length + 1);
    this.#found.clear();
  }

  #register(found: FoundFile): HeldFileReader {
    const shared = this.#sharable.get(found.path);
    if (shared !== undefined) return shared.newReader();
    const held = new HeldFile(found.view.device, found, this.#memory, () => {
      this.#held.delete(held);
      if (this.#sharable.get(found.path) === held) this.#sharable.delete(found.path);
    });
    this.#held.set(held, found.view.layout);
    this.#sharable.set(found.path, held);
    return held.newReader();
  }

  #settle(layout: DiskLayout | undefined): void {
    this.#layout = layout;
    this.#watched = watchedRanges(layout, this.#disk.sizeBytes);
    this.#watchEnough();
  }

  /** Until somebody looks again the whole disk is watched, which costs every write; so a look comes soon, though nobody asks for one. */
  #forgetLayout(): void {
    const wasKnown = this.#layout !== undefined;
    this.#settle(undefined);
    if (wasKnown) setImmediate(() => void this.look(async () => {}).catch(() => {}));
  }

  /** What looks read, and what files that are held still have to be saved from. */
  #watchEnough(): void {
    const layouts = new Set(this.#held.values());
    const held = [...layouts].map(({ boot }) => ({ start: boot.offset, end: boot.offset + boot.sizeBytes }));
    this.#allSeen = this.#watch.only([...this.#watched.all, ...held]);
  }

  #changing(offset: number, lengthBytes: number): WatchedChange {
    const end = { over: () => {} };
    const begin = () => {
      end.over = this.#changes.begin(offset, lengthBytes);
      return this.#begun(offset, lengthBytes);
    };
    const ready = this.#gate !== undefined && this.#touches(offset, lengthBytes) ? this.#pastGate(begin) : begin();
    return { ready, over: () => end.over() };
  }

  async #pastGate(begin: () => Promise<void> | undefined): Promise<void> {
    while (this.#gate !== undefined) await this.#gate;
    await begin();
  }

  /** A change begins now: what it makes untrue is forgotten, and what it would destroy is saved first. */
  #begun(offset: number, lengthBytes: number): Promise<void> | undefined {
    if (this.#touches(offset, lengthBytes)) {
      this.#version += 1;
      this.#sharable.clear();
      this.#forgetFound();
      if (offset < this.#watched.table.end) this.#forgetLayout();
    }
    const saves = [...this.#held]
      .map(([held, { boot }]) => held.saveBefore(offset - boot.offset, lengthBytes))
      .filter((save) => save !== undefined);
    return saves.length === 0 ? undefined : Promise.all(saves).then(() => {});
  }

  #touches(offset: number, lengthBytes: number): boolean {
    return this.#watched.all.some(({ start, end }) => start < offset + lengthBytes && offset < end);
  }
}

/** What looks read. */
interface Watched {
  readonly table: DiskRange;
  /** The table and the partition; the whole disk as long as nobody knows where the partition is. */
  readonly all: readonly DiskRange[];
}

function watchedRanges(layout: DiskLayout | undefined, diskBytes: number): Watched {
  if (layout === undefined) {
    const disk = { start: 0, end: diskBytes };
    return { table: disk, all: [disk] };
  }
  const { offset, sizeBytes } = layout.boot;
  const table = { start: 0, end: Math.min(PARTITION_TABLE_BYTES, offset) };
  return { table, all: [table, { start: offset, end: offset + sizeBytes }] };
}

/** What a view has at `path`; undefined if no file is there. */
export async function findIn(view: View, path: string): Promise<FoundFile | undefined> {
  const entry = await view.volume.find(path);
  if (entry === undefined || entry.kind !== 'file') return undefined;
  return { path: entry.path, sizeBytes: entry.sizeBytes, runs: await view.volume.runs(entry), view };
}

/** The first `bytesMax` bytes of a file, or all of it; undefined if no file is there. */
export async function readFrom(view: View, path: string, bytesMax: number): Promise<Uint8Array | undefined> {
  const found = await findIn(view, path);
  if (found === undefined) return undefined;
  const content = new Uint8Array(Math.min(found.sizeBytes, bytesMax));
  let done = 0;
  for (const run of found.runs) {
    const piece = content.subarray(done, done + run.lengthBytes);
    await view.device.read(run.offset, piece);
    done += piece.length;
  }
  return content;
}

type Outcome<T> = { readonly kind: 'value'; readonly value: T } | { readonly kind: 'failure'; readonly error: unknown };

/** A failure counts only if nobody wrote meanwhile, so it is kept until that is known. */
async function outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
  try {
    return { kind: 'value', value: await work };
  } catch (error) {
    return { kind: 'failure', error };
  }
}

function delivered<T, R>(outcome: Outcome<T>, accept: (result: T) => R): R {
  if (outcome.kind === 'failure') throw outcome.error;
  return accept(outcome.value);
}
