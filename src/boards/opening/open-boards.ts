import { join } from 'node:path';
import type { Fault } from '../../inventory/fault.js';
import type { BoardEntry, ImageEntry, Inventory } from '../../inventory/inventory.js';
import type { InventorySource } from '../../inventory/source.js';
import { fileIdentity } from '../../os/file-identity.js';
import type { Board } from '../board.js';
import { versionsInUse } from '../disks/versions-in-use.js';
import { Digests } from '../images/digests.js';
import type { ImageEvent } from '../images/image-events.js';
import type { ImageStatus } from '../images/image-verdicts.js';
import { PinFolder } from '../images/pin-folder.js';
import { PinnedImages } from '../images/pinned-images.js';
import { CommonImages } from './common-images.js';
import { openDirectBoard } from './direct-board.js';
import { whyUnbootable } from './examination.js';
import { commonWarnings, openLayeredBoard } from './layered-board.js';
import { type ImageWarning, type OpenBoard, Opening, type OpeningOptions } from './opening.js';

/** The boards whose disks are open: those that are served. Which these are may change while the others are used. */
export interface OpenBoards {
  readonly all: readonly Board[];
  /** What is wrong with an image but can be lived with. */
  readonly warnings: readonly ImageWarning[];
  find(name: string): OpenBoard | undefined;
  /** Images that boards' own disks lie over. */
  images(): readonly ImageStatus[];
  /** What happens to those from now on; what has happened is told at once. */
  listen(listener: (event: ImageEvent) => void): void;
  /** Opens the disk of one more, which is served once it is admitted; else it has to be closed. */
  open(entry: BoardEntry, image: ImageEntry, source: InventorySource): Promise<OpenVerdict>;
  /** Whether one could boot from an image that is not open, or not as it is now; a fault if not. */
  examine(image: ImageEntry, source: InventorySource): Promise<Fault | undefined>;
  /** Takes the place of one of the same name. */
  admit(opened: OpenBoard): void;
  /** It is served no longer, from this moment on; resolves when its disk is flushed and closed. Answers why it could not be flushed. */
  dismiss(name: string): Promise<ImageWarning | undefined>;
  /** Boards whose image is another file by now, under the same path. To be asked before others are opened: what lies in the state folder is looked at anew then. */
  replaced(): Promise<ReadonlySet<string>>;
  /** What of the server's settings counts for them from now on. */
  follow(settings: FollowedSettings): void;
  /**
   * Flushes and closes every disk; nobody may use one any more. Answers which of them could not be flushed. `busy`: boards to whose
   * disks something is still done that nobody waits for; they stay open until the process has ended.
   */
  close(busy?: ReadonlySet<string>): Promise<readonly ImageWarning[]>;
}

export interface FollowedSettings {
  /** `server.state_limit`; undefined: as much as there is. */
  readonly stateLimitBytes: number | undefined;
  readonly serverAddress: OpeningOptions['serverAddress'];
}

export type OpenVerdict =
  | { readonly answer: 'open'; readonly opened: OpenBoard }
  | { readonly answer: 'fault'; readonly fault: Fault };

export type OpenBoardsVerdict =
  | { readonly answer: 'open'; readonly boards: OpenBoards }
  /** All of them; then nothing is open. */
  | { readonly answer: 'faults'; readonly faults: readonly Fault[] };

/** Opens the disk of every board, each under its lock, and looks whether it can be booted from. */
export async function openBoards(
  inventory: Inventory,
  source: InventorySource,
  options: OpeningOptions,
): Promise<OpenBoardsVerdict> {
  const boards = new BoardsOfServer(inventory, options);
  const faults: Fault[] = [];
  for (const entry of inventory.boards.values()) {
    const image = inventory.images.get(entry.image);
    if (image === undefined) continue; // a fault that parsing has told
    const verdict = await boards.open(entry, image, source);
    if (verdict.answer === 'open') boards.admit(verdict.opened);
    else if (!faults.some((fault) => isAt(fault, verdict.fault))) faults.push(verdict.fault);
  }
  if (faults.length === 0) return { answer: 'open', boards };
  await boards.close();
  return { answer: 'faults', faults };
}

class BoardsOfServer implements OpenBoards {
  readonly #opening: Opening;
  readonly #images: PinnedImages;
  readonly #common: CommonImages;
  readonly #opened = new Map<string, OpenBoard>();
  /** By name, those that there were at the start too: they may lie over versions of an image that is about to be opened. */
  readonly #imageOf = new Map<string, string>();
  readonly #warnings: ImageWarning[] = [];
  /** By version, names of boards in whose disk or snapshots it is. */
  #boardsOn: ReadonlyMap<string, readonly string[]> = new Map();
  #pinsLoaded = false;
  #versionsKnown: Promise<void> | undefined;
  #told: ImageEvent[] = [];
  #listener: ((event: ImageEvent) => void) | undefined;

  constructor(inventory: Inventory, options: OpeningOptions) {
    for (const { name, image } of inventory.boards.values()) this.#imageOf.set(name, image);
    this.#opening = new Opening(inventory, options);
    this.#images = new PinnedImages({
      folder: new PinFolder(join(inventory.server.state, 'images')),
      disks: this.#opening.disks,
      digester: new Digests(),
      clock: options.clock,
      boardsOn: (version, image) => this.#boardsOf(version, image),
      tell: (event) => this.#tell(event),
    });
    this.#common = new CommonImages(this.#opening, this.#images);
  }

  get all(): readonly Board[] {
    return [...this.#opened.values()].map(({ board }) => board);
  }

  get warnings(): readonly ImageWarning[] {
    const ofBoards = [...this.#opened.values()].flatMap(({ warnings }) => warnings);
    return [...this.#warnings, ...this.#common.all().flatMap(commonWarnings), ...ofBoards];
  }

  find(name: string): OpenBoard | undefined {
    return this.#opened.get(name);
  }

  images(): readonly ImageStatus[] {
    return this.#images.status();
  }

  listen(listener: (event: ImageEvent) => void): void {
    this.#listener = listener;
    for (const event of this.#told.splice(0)) listener(event);
  }

  async open(entry: BoardEntry, image: ImageEntry, source: InventorySource): Promise<OpenVerdict> {
    const ofImage = ['images', image.name, 'file'];
    if (entry.disk === 'direct') {
      const result = await openDirectBoard(this.#opening, entry, image);
      return 'problem' in result ? { answer: 'fault', fault: source.faultAt(ofImage, result) } : open(result);
    }
    this.#imageOf.set(entry.name, image.name);
    this.#versionsKnown ??= this.#learnVersions();
    await this.#versionsKnown;
    const common = await this.#common.take(image);
    if ('problem' in common) return { answer: 'fault', fault: source.faultAt(ofImage, common) };
    const result = await openLayeredBoard(this.#opening, entry, common);
    if (!('problem' in result)) return open(alsoLeaving(result, () => this.#common.leave(common)));
    await this.#common.leave(common);
    return { answer: 'fault', fault: source.faultAt(['boards', entry.name, 'size'], result) };
  }

  async examine(image: ImageEntry, source: InventorySource): Promise<Fault | undefined> {
    const complaint = await whyUnbootable(image);
    return complaint && source.faultAt(['images', image.name, 'file'], complaint);
  }

  admit(opened: OpenBoard): void {
    this.#opened.set(opened.entry.name, opened);
    this.#imageOf.set(opened.entry.name, opened.image.name);
  }

  async dismiss(name: string): Promise<ImageWarning | undefined> {
    const opened = this.#opened.get(name);
    this.#opened.delete(name);
    this.#imageOf.delete(name);
    return opened && closed(opened);
  }

  async replaced(): Promise<ReadonlySet<string>> {
    this.#versionsKnown = undefined;
    const found = [...this.#opened.values()].map(async ({ entry, image, identity }) => {
      const now = await fileIdentity(image.file);
      // One that is gone is left alone for as long as its boards have it.
      return now === undefined || identity === undefined || now === identity ? [] : [entry.name];
    });
    return new Set((await Promise.all(found)).flat());
  }

  follow({ stateLimitBytes, serverAddress }: FollowedSettings): void {
    this.#opening.serverAddress = serverAddress;
    this.#opening.allowance?.limitTo(stateLimitBytes ?? Number.MAX_SAFE_INTEGER);
  }

  async close(busy: ReadonlySet<string> = new Set()): Promise<readonly ImageWarning[]> {
    const failures: ImageWarning[] = [];
    for (const [name, opened] of this.#opened) {
      const failure = busy.has(name) ? undefined : await closed(opened);
      if (failure !== undefined) failures.push(failure);
    }
    if (busy.size === 0) await this.#images.close();
    return failures;
  }

  async #learnVersions(): Promise<void> {
    const isFirst = !this.#pinsLoaded;
    this.#pinsLoaded = true;
    if (isFirst)
      for (const { because } of await this.#images.load()) this.#warnings.push({ image: 'versions', because });
    const { versions, isComplete } = await versionsInUse(this.#opening.disksPath);
    this.#boardsOn = versions;
    // Where something could not be read, nobody knows what it needs.
    if (isFirst && isComplete) await this.#images.forget(versions.keys()).catch(() => {});
  }

  #boardsOf(version: string, image: string): readonly string[] {
    return (this.#boardsOn.get(version) ?? []).filter((name) => this.#imageOf.get(name) === image);
  }

  #tell(event: ImageEvent): void {
    // Boards that had to wait for it.
    if (event.kind === 'verified') {
      for (const { board, image } of this.#opened.values()) if (image.name === event.image) void board.own?.open();
    }
    if (this.#listener === undefined) this.#told.push(event);
    else this.#listener(event);
  }
}

function open(opened: OpenBoard): OpenVerdict {
  return { answer: 'open', opened };
}

/** The image is left with the board, whatever became of its entry meanwhile. */
function alsoLeaving(opened: OpenBoard, leave: () => Promise<void>): OpenBoard {
  return {
    ...opened,
    amended: (entry) => alsoLeaving(opened.amended(entry), leave),
    close: async () => {
      await opened.close();
      await leave();
    },
  };
}

/** A board that was switched off has not asked for its last writes to be flushed: they were answered, and should outlive the host. */
async function closed({ board, image, close }: OpenBoard): Promise<ImageWarning | undefined> {
  let failure: ImageWarning | undefined;
  await board.disk.flush().catch((error: unknown) => {
    failure = { image: image.name, because: String(error) };
  });
  await close();
  return failure;
}

function isAt(fault: Fault, place: Fault): boolean {
  return fault.at?.line === place.at?.line && fault.at?.column === place.at?.column;
}
