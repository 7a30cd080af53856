import { join } from 'node:path';
import type { Clock, Timer } from '../base/clock.js';
import { codeOf } from '../base/errors.js';
import {
  STORAGE_ENOUGH_SHARE,
  STORAGE_FORGOTTEN_MS,
  STORAGE_LOOK_MS,
  STORAGE_LOW_SHARE,
  STORAGE_PATIENCE_MS,
} from '../base/limits.js';
import type { Log } from '../base/log.js';
import { disksFolder } from '../boards/disks/disk-folder.js';
import type { FilesystemStatus } from '../boards/journal/status.js';
import type { Served } from '../inventory/difference.js';
import {
  allocationOf,
  type FileAllocation,
  type FilesystemSpace,
  filesystemOf,
  folderAllocationOf,
  spaceOf,
} from '../os/filesystem.js';

/** Something of ours that takes space: an image, or the state folder. */
export interface StoredThing {
  /** `image noble`, `state`. */
  readonly name: string;
  readonly path: string;
  /** Whose disk it is: of a direct one. */
  readonly board: string | undefined;
  /** Of the state folder: disks that boards have of their own. */
  readonly disks?: readonly StoredDisk[];
}

export interface StoredDisk {
  readonly board: string;
  /** All in it is the board's. */
  readonly folder: string;
}

/** The system's answers, each of which may be long in coming. */
export interface StorageCalls {
  readonly filesystemOf: typeof filesystemOf;
  readonly spaceOf: typeof spaceOf;
  readonly allocationOf: typeof allocationOf;
  readonly folderAllocationOf: typeof folderAllocationOf;
}

export const systemStorage: StorageCalls = { filesystemOf, spaceOf, allocationOf, folderAllocationOf };

export interface StorageOptions {
  readonly things: readonly StoredThing[];
  readonly calls: StorageCalls;
  readonly clock: Clock;
  readonly log: Log;
}

interface Watched {
  /** As the first of its things is reached. */
  mountPoint: string;
  /** In the order of the inventory. */
  things: readonly StoredThing[];
  seen: Seen | undefined;
  low: boolean;
  /** By path, the files of disks as they were found first, soon after they were opened. */
  readonly identities: Map<string, string>;
  /** Of the files of disks, those that are not at their path any more. */
  missing: ReadonlySet<StoredThing>;
  /** At most one at a time, so that a filesystem that hangs holds one thread of libuv's few and no more. */
  look: Promise<void> | undefined;
}

interface Seen extends FilesystemSpace {
  readonly atMs: number;
  readonly allocated: ReadonlyMap<string, number>;
}

export function storedThings({ images, boards, settings }: Served): readonly StoredThing[] {
  const { state } = settings.server;
  const direct = [...boards.values()].filter(({ entry }) => entry.disk === 'direct');
  const listed = [...images.values()];
  // A board that is still on an image as it was has that one.
  const leftOver = direct.filter(({ image }) => !listed.some(({ file }) => file === image.file));
  const ofImages = [...listed, ...leftOver.map(({ image }) => image)].map(({ name, file }) => ({
    name: `image ${name}`,
    path: file,
    board: direct.find(({ image }) => image.name === name && image.file === file)?.entry.name,
  }));
  const disks = [...boards.values()]
    .filter(({ entry }) => entry.disk !== 'direct')
    .map(({ entry: { name } }) => ({ board: name, folder: join(disksFolder(state), name) }));
  return [...ofImages, { name: 'state', path: state, board: undefined, disks }];
}

function keyOf(thing: StoredThing): string {
  return JSON.stringify(thing);
}

function isUnder(thing: StoredThing, board: string): boolean {
  return thing.board === board || (thing.disks ?? []).some((disk) => disk.board === board);
}

/** Whether so little is free that it is worth a warning; once it was, until there is clearly more. */
export function isLow({ sizeBytes, freeBytes }: FilesystemSpace, wasLow: boolean): boolean {
  return freeBytes < sizeBytes * (wasLow ? STORAGE_ENOUGH_SHARE : STORAGE_LOW_SHARE);
}

/**
 * The filesystems under images and state folder: what is free, and what each board's disk takes. Looked at every
 * STORAGE_LOOK_MS and when somebody asks. A filesystem that does not answer holds up nobody for longer than
 * STORAGE_PATIENCE_MS, and is forgotten after STORAGE_FORGOTTEN_MS until it answers again.
 */
export class Storage {
  readonly #options: StorageOptions;
  /** In the order of the inventory. */
  #things: readonly StoredThing[];
  readonly #filesystems = new Map<number, Watched>();
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(options: StorageOptions) {
    this.#options = options;
    this.#things = options.things;
  }

  async start(): Promise<void> {
    await this.#patiently(Promise.all(this.#things.map((thing) => this.#place(thing))));
    await this.look();
    this.#lookLater();
  }

  /** These from now on; what is known of those that stay is kept, but for boards whose disk was opened anew, perhaps as another file. */
  async replace(things: readonly StoredThing[], openedAnew: ReadonlySet<string>): Promise<void> {
    const kept = new Map(this.#things.map((thing) => [keyOf(thing), thing]));
    this.#things = things.map((thing) => kept.get(keyOf(thing)) ?? thing);
    for (const [device, watched] of this.#filesystems) {
      watched.things = this.#things.filter((thing) => watched.things.includes(thing));
      const isFresh = ({ board }: StoredThing) => board !== undefined && openedAnew.has(board);
      for (const { path } of watched.things.filter(isFresh)) watched.identities.delete(path);
      watched.missing = new Set(
        [...watched.missing].filter((thing) => !isFresh(thing) && watched.things.includes(thing)),
      );
      if (watched.things.length === 0) this.#filesystems.delete(device);
    }
    const known = [...this.#filesystems.values()].flatMap((watched) => watched.things);
    const fresh = this.#things.filter((thing) => !known.includes(thing));
    await this.#patiently(Promise.all(fresh.map((thing) => this.#place(thing))));
    if (fresh.length > 0) await this.look();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** Resolves when all have been looked at anew, or are too slow to wait for. */
  async look(): Promise<void> {
    const looks = [...this.#filesystems.values()].map((watched) => {
      watched.look ??= this.#lookAt(watched).finally(() => {
        watched.look = undefined;
      });
      return watched.look;
    });
    await this.#patiently(Promise.all(looks));
  }

  filesystems(): readonly FilesystemStatus[] {
    return this.#known().map(({ mountPoint, things, low, missing, seen: { sizeBytes, freeBytes } }) => {
      const names = (list: Iterable<StoredThing>) => [...list].map(({ name }) => name);
      return { mountPoint, sizeBytes, freeBytes, low, holds: names(things), missing: names(missing) };
    });
  }

  /** Of the boards whose disk is a file, or several. */
  allocated(): readonly { readonly board: string; readonly bytes: number }[] {
    return this.#known().flatMap(({ seen }) => [...seen.allocated].map(([board, bytes]) => ({ board, bytes })));
  }

  /** The one under a board's disk. */
  filesystemOf(board: string): FilesystemStatus | undefined {
    const [watched] = this.#known().filter(({ things }) => things.some((thing) => isUnder(thing, board)));
    return this.filesystems().find(({ mountPoint }) => mountPoint === watched?.mountPoint);
  }

  #known(): readonly (Watched & { readonly seen: Seen })[] {
    const nowMs = this.#options.clock.nowMs();
    return [...this.#filesystems.values()].flatMap((watched) => {
      const { seen } = watched;
      return seen === undefined || nowMs - seen.atMs > STORAGE_FORGOTTEN_MS ? [] : [{ ...watched, seen }];
    });
  }

  async #place(thing: StoredThing): Promise<void> {
    // What can't be found any more was there a moment ago, when it was opened; there is nothing to measure then.
    const place = await this.#options.calls.filesystemOf(thing.path).catch(() => undefined);
    if (place === undefined || !place.holdsIt) return;
    const { mountPoint, device } = place;
    const watched = this.#filesystems.get(device) ?? {
      ...{ mountPoint, things: [], seen: undefined, low: false, look: undefined },
      identities: new Map(),
      missing: new Set(),
    };
    this.#filesystems.set(device, watched);
    const there = [...watched.things, thing];
    watched.things = this.#things.filter((one) => there.includes(one));
    if (watched.things[0] === thing) watched.mountPoint = mountPoint;
  }

  async #lookAt(watched: Watched): Promise<void> {
    const { calls, clock } = this.#options;
    try {
      const space = await calls.spaceOf(watched.mountPoint);
      const allocated = new Map<string, number>();
      const missing = new Set<StoredThing>();
      for (const thing of watched.things) {
        const { board, path } = thing;
        if (board === undefined) continue;
        const allocation = await calls.allocationOf(path).catch(goneOrUnknown);
        if (allocation === undefined) {
          if (watched.missing.has(thing)) missing.add(thing);
        } else if (allocation === 'gone' || this.#isAnother(watched, path, allocation)) {
          missing.add(thing);
        } else {
          allocated.set(board, allocation.allocatedBytes);
        }
      }
      this.#tellMissing(watched, missing);
      for (const { board, folder } of watched.things.flatMap(({ disks = [] }) => disks)) {
        const bytes = await calls.folderAllocationOf(folder).catch(() => undefined);
        if (bytes !== undefined) allocated.set(board, bytes);
      }
      watched.seen = { ...space, atMs: clock.nowMs(), allocated };
      this.#judge(watched, space);
    } catch {
      watched.seen = undefined;
    }
  }

  #judge(watched: Watched, space: FilesystemSpace): void {
    const low = isLow(space, watched.low);
    if (low === watched.low) return;
    watched.low = low;
    const { mountPoint, things } = watched;
    const facts = { filesystem: mountPoint, ...space, holds: things.map(({ name }) => name) };
    if (low) this.#options.log.warn(facts, 'storage.low');
    else this.#options.log.info(facts, 'storage.enough');
  }

  #isAnother({ identities }: Watched, path: string, { identity }: FileAllocation): boolean {
    const first = identities.get(path) ?? identity;
    identities.set(path, first);
    return first !== identity;
  }

  /** The disk goes on: an open file is there for as long as it is open, and gone when the server stops. */
  #tellMissing(watched: Watched, missing: ReadonlySet<StoredThing>): void {
    const before = watched.missing;
    watched.missing = missing;
    for (const thing of missing) {
      if (before.has(thing)) continue;
      const { board, path } = thing;
      const means =
        'the board goes on with a file that is not where it was: if it was deleted, it is lost when this server stops';
      const remedy = `shut the board down and copy its disk by NBD, before the server stops: nbdcopy nbd://localhost/${board} FILE`;
      this.#options.log.warn({ board, file: path, means, remedy }, 'image.missing');
    }
    for (const thing of before) {
      if (!missing.has(thing)) this.#options.log.info({ board: thing.board, file: thing.path }, 'image.found');
    }
  }

  #lookLater(): void {
    if (this.#isStopped) return;
    this.#timer = this.#options.clock.after(STORAGE_LOOK_MS, () => void this.look().then(() => this.#lookLater()));
  }

  #patiently(work: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(STORAGE_PATIENCE_MS, resolve);
      void work.finally(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

/** What can't be looked at for another reason is not known to be gone. */
function goneOrUnknown(error: unknown): 'gone' | undefined {
  return codeOf(error) === 'ENOENT' ? 'gone' : undefined;
}
