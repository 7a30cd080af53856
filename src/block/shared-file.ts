import { DISK_LANES_AT_ONCE_MAX } from '../base/limits.js';
import { type FileMap, mapFile, unmapFile } from '../os/file-residency.js';
import { type DiskPart, SharedLayers } from './overlay/shared-layers.js';

/**
 * A disk that is a file, or layers of which one takes its changes, as several threads use it at once. The thread that opened it stays its owner: what
 * somebody must know of before it happens is left to it, and so is whatever fails. All of this is in memory that the threads
 * share. Its fields are touched by Atomics only; the bounds are not, and are changed only while WatchesAll keeps everybody from
 * looking at them.
 *
 * A change is announced (`beginChange`) before it is looked at whether the owner wants to do it: so the owner, having said what it
 * wants from now on, only has to wait for those that were announced before. They are counted in two pots, of which one is
 * filled while the other runs empty.
 */
export class SharedFile {
  readonly descriptor: number;
  readonly sizeBytes: number;
  readonly memory: SharedArrayBuffer;
  /** For the question what of it is in the page cache. */
  readonly map: FileMap | undefined;
  /** What other threads have under way on all of its disk (`Disk.underWay`). */
  readonly disk: SharedArrayBuffer;
  readonly #fields: Int32Array;
  readonly #bounds: Float64Array;
  readonly #onDisk: Int32Array;
  /** Undefined: the file is the disk. */
  readonly layers: SharedLayers | undefined;
  #whenSynced: (() => void)[] = [];
  readonly #whenReplaced: ((next: SharedFile) => void)[] = [];
  #watches = 0;
  #over: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor({ descriptor, sizeBytes, memory, map, disk, layers }: ToldFile) {
    this.layers = layers && new SharedLayers(layers, sizeBytes);
    this.map = map;
    this.descriptor = descriptor;
    this.sizeBytes = sizeBytes;
    this.memory = memory;
    this.disk = disk;
    this.#onDisk = new Int32Array(disk);
    this.#fields = new Int32Array(memory, 0, BOUNDS_AT / 4);
    this.#bounds = new Float64Array(memory, BOUNDS_AT);
  }

  static create(descriptor: number, sizeBytes: number, disk: SharedArrayBuffer): SharedFile {
    const map = mapFile(descriptor, sizeBytes);
    const file = new SharedFile({
      descriptor,
      sizeBytes,
      memory: new SharedArrayBuffer(MEMORY_BYTES),
      map,
      disk,
      layers: undefined,
    });
    Atomics.store(file.#fields, Field.WatchesAll, 1);
    return file;
  }

  /** The owner's, when nobody uses it any more. */
  close(): void {
    // Once: what lies there by then is somebody else's.
    if (this.map !== undefined && !this.#isClosed) unmapFile(this.map);
    this.#isClosed = true;
  }

  /** For another thread. */
  get told(): ToldFile {
    const { descriptor, sizeBytes, memory, map, disk, layers } = this;
    return { descriptor, sizeBytes, memory, map, disk, layers: layers?.told };
  }

  /** The owner's: this file as the uppermost of these, of which the disk is made. Whoever syncs one syncs the other. */
  withLayers(layers: readonly DiskPart[], sizeBytes: number): SharedFile {
    const disk = new SharedFile({ ...this.told, sizeBytes, layers });
    disk.#whenSynced = this.#whenSynced;
    return disk;
  }

  /** Told what takes its place, before anybody changes that. */
  whenReplaced(listener: (next: SharedFile) => void): void {
    this.#whenReplaced.push(listener);
  }

  /** The owner's, who holds it and has its sync for good: from now on the disk is `next`. */
  replaceBy(next: SharedFile): void {
    Atomics.store(next.#fields, Field.OwnersWaiting, Atomics.load(this.#fields, Field.OwnersWaiting));
    for (const listener of this.#whenReplaced) listener(next);
    Atomics.store(this.#fields, Field.Replaced, 1);
  }

  /** Other threads have to look what took its place. */
  get isReplaced(): boolean {
    return Atomics.load(this.#fields, Field.Replaced) === 1;
  }

  /** A change of these bytes begins; what it answers is for `endChange`. Undefined: it is the owner's to do. */
  beginChange(offset: number, lengthBytes: number): Pot | undefined {
    const pot = this.#announce();
    if (!this.#isOwners(offset, lengthBytes) && this.#claimDisk()) return pot;
    Atomics.sub(this.#fields, pot, 1);
    return undefined;
  }

  endChange(pot: Pot): void {
    this.#leaveDisk();
    Atomics.sub(this.#fields, pot, 1);
  }

  /** A read that may have to wait for that disk after all begins; `endRead` ends it. False: too many wait for it now. */
  beginRead(): boolean {
    return this.#claimDisk();
  }

  endRead(): void {
    this.#leaveDisk();
  }

  /** Nobody else syncs until `endSync`: of two at once only one is told by the kernel what was lost. False: somebody does, or its owner waits to. */
  beginSync(): boolean {
    if (Atomics.load(this.#fields, Field.OwnerWaits) === 1 || !this.#claimDisk()) return false;
    if (this.#takeSyncNow()) return true;
    this.#leaveDisk();
    return false;
  }

  /** From the thread that has synced. True where the owner waits for its turn, and has to be told. */
  endSync(): boolean {
    this.#leaveDisk();
    return this.#endSync();
  }

  /** The owner's way of `beginSync`: waits for its turn, which is the next. */
  async takeSync(): Promise<void> {
    for (;;) {
      // Said before it is asked whether somebody syncs: who ends a sync asks in the other order.
      Atomics.store(this.#fields, Field.OwnerWaits, 1);
      if (this.#takeSyncNow()) break;
      await new Promise<void>((resolve) => this.#whenSynced.push(resolve));
    }
    Atomics.store(this.#fields, Field.OwnerWaits, Number(this.#whenSynced.length > 0));
  }

  /** The owner's way of `endSync`. */
  giveSync(): void {
    if (this.#endSync()) this.syncIsOver();
  }

  /** Another thread has said that its sync is over. */
  syncIsOver(): void {
    for (const resolve of this.#whenSynced.splice(0)) resolve();
  }

  /** A sync failed: the kernel reports lost pages once, so from now on none is believed. */
  get hasLostWrites(): boolean {
    return Atomics.load(this.#fields, Field.LostWrites) === 1;
  }

  set hasLostWrites(lost: boolean) {
    Atomics.store(this.#fields, Field.LostWrites, Number(lost));
  }

  /** The owner's: as long as some change waits for space, all of them are its own, because they may have to wait behind it. */
  ownChangesWait(count: 1 | -1): void {
    Atomics.add(this.#fields, Field.OwnersWaiting, count);
  }

  /** The owner's: all changes are its own until `letGo`. Resolves when none that it did not see is under way. */
  async hold(): Promise<void> {
    Atomics.store(this.#fields, Field.Held, 1);
    await this.#announcedAreOver();
  }

  letGo(): void {
    if (!this.isReplaced) Atomics.store(this.#fields, Field.Held, 0);
  }

  /** The owner's: all changes that begin from now on are its own, until `watch` is given this answer, if nobody has asked again meanwhile. */
  watchAll(): number {
    this.#watches += 1;
    Atomics.store(this.#fields, Field.WatchesAll, 1);
    return this.#watches;
  }

  /** The owner's: changes there are its own, the others are not. One call at a time. Resolves when none that it did not see is under way. */
  async watch(ranges: readonly WatchedRange[] | 'all', watch = this.watchAll()): Promise<void> {
    await this.#announcedAreOver();
    // Somebody has asked for more meanwhile, and will be told when it is so. (While the bounds are changed nothing is judged by them.)
    if (watch !== this.#watches) return;
    if (ranges === 'all' || ranges.length > RANGES_MAX) return;
    for (const [index, { start, end }] of ranges.entries()) {
      this.#bounds[2 * index] = start;
      this.#bounds[2 * index + 1] = end;
    }
    Atomics.store(this.#fields, Field.RangeCount, ranges.length);
    Atomics.store(this.#fields, Field.WatchesAll, 0);
  }

  #endSync(): boolean {
    Atomics.store(this.#fields, Field.Syncing, 0);
    return Atomics.load(this.#fields, Field.OwnerWaits) === 1;
  }

  /** Of the threads that may wait for that disk. */
  #claimDisk(): boolean {
    if (Atomics.add(this.#onDisk, 0, 1) < DISK_LANES_AT_ONCE_MAX) return true;
    this.#leaveDisk();
    return false;
  }

  #leaveDisk(): void {
    Atomics.sub(this.#onDisk, 0, 1);
  }

  #takeSyncNow(): boolean {
    return Atomics.compareExchange(this.#fields, Field.Syncing, 0, 1) === 0;
  }

  /** One call after the other: each has to wait for what the one before it has not waited for. */
  #announcedAreOver(): Promise<void> {
    this.#over = this.#over.then(() => this.#potIsEmpty());
    return this.#over;
  }

  async #potIsEmpty(): Promise<void> {
    const before = Atomics.load(this.#fields, Field.Filling) === Pot.First ? Pot.First : Pot.Second;
    Atomics.store(this.#fields, Field.Filling, before === Pot.First ? Pot.Second : Pot.First);
    // Most take no millisecond; those on a disk that hangs need no looking at a thousand times a second.
    for (let pauseMs = 1; Atomics.load(this.#fields, before) > 0; pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)) {
      const waitMs = pauseMs;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  #announce(): Pot {
    for (;;) {
      const pot = Atomics.load(this.#fields, Field.Filling) === Pot.First ? Pot.First : Pot.Second;
      Atomics.add(this.#fields, pot, 1);
      if ((Atomics.load(this.#fields, Field.Filling) === Pot.First ? Pot.First : Pot.Second) === pot) return pot;
      Atomics.sub(this.#fields, pot, 1);
    }
  }

  #isOwners(offset: number, lengthBytes: number): boolean {
    if (Atomics.load(this.#fields, Field.WatchesAll) === 1) return true;
    if (Atomics.load(this.#fields, Field.Held) === 1) return true;
    if (Atomics.load(this.#fields, Field.OwnersWaiting) > 0) return true;
    const count = Atomics.load(this.#fields, Field.RangeCount);
    for (let index = 0; index < count; index += 1) {
      const start = this.#bounds[2 * index] ?? 0;
      const end = this.#bounds[2 * index + 1] ?? 0;
      if (offset < end && start < offset + lengthBytes) return true;
    }
    return false;
  }
}

export interface ToldFile {
  readonly descriptor: number;
  readonly sizeBytes: number;
  readonly memory: SharedArrayBuffer;
  readonly map: FileMap | undefined;
  readonly disk: SharedArrayBuffer;
  readonly layers: readonly DiskPart[] | undefined;
}

/** From the first byte to behind the last. */
export interface WatchedRange {
  readonly start: number;
  readonly end: number;
}

/** Where a change under way is counted: an index of the fields. */
export const Pot = { First: 0, Second: 1 } as const;
export type Pot = (typeof Pot)[keyof typeof Pot];

const Field = {
  Filling: 2,
  WatchesAll: 3,
  OwnersWaiting: 4,
  RangeCount: 5,
  Syncing: 6,
  OwnerWaits: 7,
  LostWrites: 8,
  Replaced: 9,
  Held: 10,
} as const;

const BOUNDS_AT = 64;
const RANGES_MAX = 8;
const PAUSE_MS_MAX = 64;
const MEMORY_BYTES = BOUNDS_AT + RANGES_MAX * 16;
