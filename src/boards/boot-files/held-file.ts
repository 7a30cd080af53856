import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { BOOT_FILE_PIECE_BYTES } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import type { ByteRun } from '../../disk/fat/chain.js';
import { BootFileLost, type FilePiece } from './boot-file.js';
import type { PieceMemory, PieceStore } from './piece-store.js';
import { RunMap } from './run-map.js';

/**
 * One file's bytes as they were at one instant, for all transfers that began at it. It is cut into pieces. A piece is kept once
 * read, as long as there is memory for it; a piece not read yet is still on the disk as it was, because every change of the
 * disk asks here first (`saveBefore`) and waits until the pieces it would overwrite are kept.
 *
 *      piece:  unread ──read or saveBefore──► reading ──► kept
 *                 │  ▲                           │
 *                 │  └──no memory to keep it─────┘ (read straight from the disk, block by block)
 *                 └──saveBefore without memory──► lost
 */
type Piece =
  | { readonly at: 'unread' }
  | { readonly at: 'reading'; readonly done: Promise<void> }
  | { readonly at: 'kept'; readonly bytes: Uint8Array; readonly memory: PieceMemory }
  | { readonly at: 'lost'; readonly because: string };

export interface HeldFileMemory {
  /** For pieces that are kept because they were read: does without when it is used up. */
  readonly kept: PieceStore;
  /** For pieces that are kept because they are about to be overwritten: the transfer is lost when it is used up. */
  readonly saved: PieceStore;
}

export class HeldFile {
  readonly sizeBytes: number;
  readonly #device: BlockDevice;
  readonly #runs: RunMap;
  readonly #memory: HeldFileMemory;
  readonly #pieces: Piece[];
  readonly #directReads = new Set<Promise<void>>();
  readonly #onUnused: () => void;
  readonly #followers = new Set<PieceFollower>();
  #users = 0;
  #filling = false;

  /** `device` is the partition, `runs` where the file lies on it. `onUnused` is called when the last user is gone. */
  constructor(
    device: BlockDevice,
    file: { readonly sizeBytes: number; readonly runs: readonly ByteRun[] },
    memory: HeldFileMemory,
    onUnused: () => void,
  ) {
    this.sizeBytes = file.sizeBytes;
    this.#device = device;
    this.#runs = new RunMap(file.runs);
    this.#memory = memory;
    this.#onUnused = onUnused;
    const count = Math.ceil(file.sizeBytes / BOOT_FILE_PIECE_BYTES);
    this.#pieces = Array.from({ length: count }, () => ({ at: 'unread' }) as const);
  }

  addUser(): void {
    this.#users += 1;
  }

  removeUser(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    for (const piece of this.#pieces) if (piece.at === 'kept') piece.memory.giveBack();
    this.#pieces.fill({ at: 'lost', because: 'nobody used it any more' });
    this.#onUnused();
  }

  /** Tells `follower` of the pieces in memory, now and as they come, until it is taken off by what this answers. */
  follow(follower: PieceFollower): () => void {
    const kept = this.#pieces.flatMap((piece, index) => (piece.at === 'kept' ? [filePiece(index, piece.bytes)] : []));
    if (kept.length > 0) follower(kept);
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** From memory, or from the page cache; false if a disk would have to be waited for. */
  readNow(offset: number, target: Uint8Array): boolean {
    for (const part of partsOf(offset, target)) {
      if (!this.#copyNow(part)) return false;
    }
    if (offset > 0) this.#fillAhead();
    return true;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    for (const part of partsOf(offset, target)) {
      while (!this.#copyNow(part)) {
        if ((await this.#fetch(part)) === 'filled') break;
      }
    }
    if (offset > 0) this.#fillAhead();
  }

  /** These bytes of the partition are about to change: resolves when none of them is needed from the disk any more. */
  saveBefore(offset: number, lengthBytes: number): Promise<void> | undefined {
    const touched = this.#runs
      .fileRangesOf(offset, lengthBytes)
      .flatMap(({ start, end }) => pieceIndexes(start, end))
      .filter((index) => this.#pieces[index]?.at === 'unread' || this.#pieces[index]?.at === 'reading');
    if (touched.length === 0) return undefined;
    return Promise.all([...[...new Set(touched)].map((index) => this.#save(index)), ...this.#directReads]).then(
      () => {},
    );
  }

  #copyNow(part: Part): boolean {
    const piece = this.#pieces[part.index];
    if (piece?.at === 'lost') throw new BootFileLost(piece.because);
    if (piece?.at === 'unread') {
      // A peer that has acknowledged nothing yet may be a forged address: it gets its first block, and no piece is read for it.
      if (part.offset > 0 && this.#keepNow(part.index)) return this.#copyNow(part);
      return this.#readFromCache(part.offset, part.target);
    }
    if (piece?.at !== 'kept') return false;
    part.target.set(piece.bytes.subarray(part.offsetInPiece, part.offsetInPiece + part.target.length));
    return true;
  }

  /** Reads and keeps a whole piece if it is in the page cache; false if it isn't, or if there is no memory to keep it. */
  #keepNow(index: number): boolean {
    const memory = this.#take(this.#memory.kept);
    if (memory === undefined) return false;
    const there = this.#readFromCache(index * BOOT_FILE_PIECE_BYTES, this.#pieceIn(memory, index));
    if (there) this.#keep(index, memory);
    else memory.giveBack();
    return there;
  }

  #keep(index: number, memory: PieceMemory): void {
    const bytes = this.#pieceIn(memory, index);
    this.#pieces[index] = { at: 'kept', bytes, memory };
    for (const follower of this.#followers) follower([filePiece(index, bytes)]);
  }

  async #fetch(part: Part): Promise<'filled' | 'lookAgain'> {
    const piece = this.#pieces[part.index];
    if (piece?.at === 'reading') await piece.done;
    else {
      const memory = part.offset === 0 ? undefined : this.#take(this.#memory.kept);
      if (memory === undefined) return this.#readDirectly(part);
      await this.#load(part.index, memory);
    }
    return 'lookAgain';
  }

  async #readDirectly(part: Part): Promise<'filled'> {
    const reading = this.#readFromDisk(part.offset, part.target);
    // A change that comes now must wait for this read, or it would be half of the old and half of the new.
    const over = reading.catch(() => {});
    this.#directReads.add(over);
    try {
      await reading;
    } finally {
      this.#directReads.delete(over);
    }
    return 'filled';
  }

  async #save(index: number): Promise<void> {
    const piece = this.#pieces[index];
    if (piece?.at === 'reading') await piece.done.catch(() => {});
    else {
      const memory = this.#take(this.#memory.saved);
      if (memory !== undefined) await this.#load(index, memory).catch(() => {});
    }
    if (this.#pieces[index]?.at === 'kept') return;
    this.#pieces[index] = {
      at: 'lost',
      because: 'the board overwrote the file, and its old content could not be kept',
    };
  }

  /** Reads a piece into memory that was taken for it; nobody else has that before the disk is done with it. */
  #load(index: number, memory: PieceMemory): Promise<void> {
    const done = this.#readFromDisk(index * BOOT_FILE_PIECE_BYTES, this.#pieceIn(memory, index)).then(
      () => {
        if (this.#users > 0) this.#keep(index, memory);
        else memory.giveBack();
      },
      (error: unknown) => {
        memory.giveBack();
        if (this.#users > 0) this.#pieces[index] = { at: 'unread' };
        throw error;
      },
    );
    this.#pieces[index] = { at: 'reading', done };
    return done;
  }

  /** Reads on in the background, a piece a turn, so that blocks are served from memory and no other transfer waits. */
  #fillAhead(): void {
    if (this.#filling) return;
    this.#filling = true;
    this.#fill().catch(() => {
      // Whoever needs the piece that failed reads it again and gets the error.
    });
  }

  async #fill(): Promise<void> {
    for (let index = 0; index < this.#pieces.length && this.#users > 0; index += 1) {
      if (this.#pieces[index]?.at !== 'unread') continue;
      if (this.#keepNow(index)) {
        await turnOfTheLoop();
        continue;
      }
      const memory = this.#take(this.#memory.kept);
      if (memory === undefined) return;
      await this.#load(index, memory);
    }
  }

  #take(store: PieceStore): PieceMemory | undefined {
    return this.#users === 0 ? undefined : store.take();
  }

  #readFromCache(offset: number, target: Uint8Array): boolean {
    return this.#runs
      .partitionRangesOf(offset, target.length)
      .every(({ at, offset: position, lengthBytes }) =>
        this.#device.readNow(position, target.subarray(at, at + lengthBytes)),
      );
  }

  async #readFromDisk(offset: number, target: Uint8Array): Promise<void> {
    const ranges = this.#runs.partitionRangesOf(offset, target.length);
    try {
      await Promise.all(
        ranges.map((range) => this.#device.read(range.offset, target.subarray(range.at, range.at + range.lengthBytes))),
      );
    } catch (error) {
      throw new BootFileLost(`the disk failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #pieceIn(memory: PieceMemory, index: number): Uint8Array {
    return memory.bytes.subarray(0, this.sizeBytes - index * BOOT_FILE_PIECE_BYTES);
  }
}

/** Told of pieces of the file that are in memory and stay there as they are. */
export type PieceFollower = (pieces: readonly FilePiece[]) => void;

function filePiece(index: number, bytes: Uint8Array): FilePiece {
  return { offset: index * BOOT_FILE_PIECE_BYTES, bytes };
}

/** What one read wants of one piece. */
interface Part {
  readonly index: number;
  readonly offset: number;
  readonly offsetInPiece: number;
  readonly target: Uint8Array;
}

function partsOf(offset: number, target: Uint8Array): Part[] {
  return pieceIndexes(offset, offset + target.length).map((index) => {
    const start = Math.max(offset, index * BOOT_FILE_PIECE_BYTES);
    const end = Math.min(offset + target.length, (index + 1) * BOOT_FILE_PIECE_BYTES);
    return {
      index,
      offset: start,
      offsetInPiece: start - index * BOOT_FILE_PIECE_BYTES,
      target: target.subarray(start - offset, end - offset),
    };
  });
}

function pieceIndexes(start: number, end: number): number[] {
  if (end <= start) return [];
  const first = Math.floor(start / BOOT_FILE_PIECE_BYTES);
  const last = Math.floor((end - 1) / BOOT_FILE_PIECE_BYTES);
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
