import { join } from 'node:path';
import type { Fault } from '../../inventory/fault.js';
import type { BoardEntry, ImageEntry, Inventory } from '../../inventory/inventory.js';
import type { InventorySource } from '../../inventory/source.js';
import type { Board } from '../board.js';
import { versionsInUse } from '../disks/versions-in-use.js';
import { Digests } from '../images/digests.js';
import type { ImageEvent } from '../images/image-events.js';
import type { ImageStatus } from '../images/image-verdicts.js';
import { PinFolder } from '../images/pin-folder.js';
import { PinnedImages } from '../images/pinned-images.js';
import { openDirectBoard } from './direct-board.js';
import { type CommonImage, commonWarnings, openCommonImage, openLayeredBoard } from './layered-board.js';
import { type ImageWarning, type OpenBoard, Opening, type OpeningOptions } from './opening.js';

export interface OpenBoards {
  readonly all: readonly Board[];
  /** What is wrong with an image but can be lived with. */
  readonly warnings: readonly ImageWarning[];
  /** Images that boards' own disks lie over. */
  images(): readonly ImageStatus[];
  /** What happens to those from now on; what has happened is told at once. */
  listen(listener: (event: ImageEvent) => void): void;
  /** Flushes and closes every disk; nobody may use one any more. Answers which of them could not be flushed. */
  close(): Promise<readonly ImageWarning[]>;
}

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
  const boards = new BoardsBeingOpened(inventory, source, options);
  await boards.begin();
  for (const entry of inventory.boards.values()) await boards.open(entry);
  return boards.verdict();
}

class BoardsBeingOpened implements OpenBoards {
  readonly #inventory: Inventory;
  readonly #source: InventorySource;
  readonly #opening: Opening;
  readonly #images: PinnedImages;
  readonly #common = new Map<string, CommonImage>();
  readonly #opened: OpenBoard[] = [];
  readonly #faults: Fault[] = [];
  readonly #warnings: ImageWarning[] = [];
  /** By version, names of boards in whose disk or snapshots it is. */
  #boardsOn: ReadonlyMap<string, readonly string[]> = new Map();
  #told: ImageEvent[] = [];
  #listener: ((event: ImageEvent) => void) | undefined;

  constructor(inventory: Inventory, source: InventorySource, options: OpeningOptions) {
    this.#inventory = inventory;
    this.#source = source;
    this.#opening = new Opening(inventory, options);
    this.#images = new PinnedImages({
      folder: new PinFolder(join(inventory.server.state, 'images')),
      disks: this.#opening.disks,
      digester: new Digests(),
      clock: options.clock,
      boardsOn: (version, image) => this.#boardsOf(version, image),
      tell: (event) => this.#tell(event),
    });
  }

  get all(): readonly Board[] {
    return this.#opened.map(({ board }) => board);
  }

  get warnings(): readonly ImageWarning[] {
    return [...this.#warnings, ...this.#opened.flatMap(({ warnings }) => warnings)];
  }

  images(): readonly ImageStatus[] {
    return this.#images.status();
  }

  listen(listener: (event: ImageEvent) => void): void {
    this.#listener = listener;
    for (const event of this.#told.splice(0)) listener(event);
  }

  async begin(): Promise<void> {
    if (![...this.#inventory.boards.values()].some(({ disk }) => disk !== 'direct')) return;
    for (const { because } of await this.#images.load()) this.#warnings.push({ image: 'versions', because });
    const { versions, isComplete } = await versionsInUse(this.#opening.disksPath);
    this.#boardsOn = versions;
    // Where something could not be read, nobody knows what it needs.
    if (isComplete) await this.#images.forget(versions.keys()).catch(() => {});
  }

  async open(entry: BoardEntry): Promise<void> {
    const image = this.#inventory.images.get(entry.image);
    if (image === undefined) return; // a fault that parsing has told
    const at = ['images', image.name, 'file'];
    if (entry.disk === 'direct') {
      const result = await openDirectBoard(this.#opening, entry, image);
      if ('problem' in result) this.#faults.push(this.#source.faultAt(at, result));
      else this.#opened.push(result);
      return;
    }
    const common = await this.#commonImage(image);
    if (common === undefined) return;
    const result = await openLayeredBoard(this.#opening, entry, common);
    if ('problem' in result) this.#faults.push(this.#source.faultAt(['boards', entry.name, 'size'], result));
    else this.#opened.push(result);
  }

  async verdict(): Promise<OpenBoardsVerdict> {
    if (this.#faults.length === 0) return { answer: 'open', boards: this };
    await this.close();
    return { answer: 'faults', faults: this.#faults };
  }

  async close(): Promise<readonly ImageWarning[]> {
    const failures: ImageWarning[] = [];
    for (const { board, image, close } of this.#opened) {
      // A board that was switched off has not asked for its last writes to be flushed: they were answered, and should outlive the host.
      await board.disk.flush().catch((error: unknown) => failures.push({ image, because: String(error) }));
      await close();
    }
    for (const { partition } of this.#common.values()) partition.close();
    await this.#images.close();
    return failures;
  }

  /** Opened for the first board on it. Undefined where it can't be, which is told once. */
  async #commonImage(entry: ImageEntry): Promise<CommonImage | undefined> {
    const known = this.#common.get(entry.name);
    if (known !== undefined) return known;
    const at = ['images', entry.name, 'file'];
    if (this.#faults.some((fault) => isAt(fault, this.#source.faultAt(at, fault)))) return undefined;
    const opened = await this.#images.open(entry.name, entry.file);
    const common = opened.answer === 'refused' ? opened : await openCommonImage(this.#opening, entry, opened.image);
    if ('problem' in common) {
      this.#faults.push(this.#source.faultAt(at, common));
      return undefined;
    }
    this.#common.set(entry.name, common);
    this.#warnings.push(...commonWarnings(common));
    return common;
  }

  #boardsOf(version: string, image: string): readonly string[] {
    const entries = this.#inventory.boards;
    return (this.#boardsOn.get(version) ?? []).filter((name) => entries.get(name)?.image === image);
  }

  #tell(event: ImageEvent): void {
    // Boards that had to wait for it.
    if (event.kind === 'verified') {
      for (const { board, image } of this.#opened) if (image === event.image) void board.own?.open();
    }
    if (this.#listener === undefined) this.#told.push(event);
    else this.#listener(event);
  }
}

function isAt(fault: Fault, place: Fault): boolean {
  return fault.at?.line === place.at?.line && fault.at?.column === place.at?.column;
}
