import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { messageOf } from '../../base/errors.js';
import { BOOT_FILE_PIECE_BYTES, BOOT_FILE_PIECES_AHEAD } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import type { ByteRun } from '../../disk/fat/chain.js';
import { BootFileLost, type FilePiece } from './boot-file.js';
import type { PieceMemory, PieceStore } from './piece-store.js';
import { RunMap } from './run-map.js';

/**
 * One file's bytes as they were at one instant, for all transfers that began at it. It is cut into pieces. A piece is kept once
 * read, as long as there is memory for it; a piece not read yet is still on the disk as it was, because every change of the
 * disk asks here first (`saveBefore`) and waits until the pieces it would overwrite are kept. Pieces that all its readers are
 * past are given up when memory is short: who begins later reads them again.
 *
 *      piece:  unread ──read or saveBefore──► reading ──► kept ──all past it, memory short──► unread, or lost
 *                 │  ▲                           │
 *                 │  └──no memory to keep it─────┘ (read straight from the disk, block by block)
 *                 └──saveBefore without memory, or all past it──► lost
 */
type Piece =
  | { readonly at: 'unread' }
  | { readonly at: 'reading'; readonly done: Promise<void> }
  | { readonly at: 'kept'; readonly bytes: Uint8Array; readonly memory: PieceMemory }
  | { readonly at: 'lost'; readonly because: string };

/** Of no use: no reader asks for it, and one that begins after the change has another file. */
const PASSED: Piece = { at: 'lost', because: 'all were past it when the board overwrote it' };

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
  readonly #readers = new Set<Reader>();
  readonly #notAskedAnyMore: () => void;
  /** Pieces in front of this one were given up. */
  #givenUpTo = 0;
  /** Whether the disk holds other bytes by now, in some piece. */
  #isOverwritten = false;

  /** `device` is the partition, `runs` where the file lies on it. `onUnused` is called when the last reader is gone. */
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
    this.#notAskedAnyMore = memory.kept.whenShort(() => this.#giveUpOne());
  }

  /** For one transfer, from the file's beginning. */
  newReader(): HeldFileReader {
    const reader = { from: 0, piece: -1, isFilling: false };
    this.#readers.add(reader);
    this.#givenUpTo = 0; // it needs all of them again
    return {
      sizeBytes: this.sizeBytes,
      readNow: (offset, target) => this.#readNow(offset, target, reader),
      read: (offset, target) => this.#read(offset, target, reader),
      progress: (from, at) => {
        reader.from = Math.max(reader.from, from);
        this.#fillAhead(reader, at);
      },
      follow: (follower) => this.#follow(follower),
      close: () => this.#remove(reader),
    };
  }

  #remove(reader: Reader): void {
    if (!this.#readers.delete(reader) || this.#isUsed()) return;
    this.#notAskedAnyMore();
    for (const piece of this.#pieces) if (piece.at === 'kept') piece.memory.giveBack();
    this.#pieces.fill({ at: 'lost', because: 'nobody used it any more' });
    this.#onUnused();
  }

  #isUsed(): boolean {
    return this.#readers.size > 0;
  }

  #follow(follower: PieceFollower): () => void {
    const kept = this.#pieces.flatMap((piece, index) => (piece.at === 'kept' ? [filePiece(index, piece.bytes)] : []));
    if (kept.length > 0) follower(kept);
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  #readNow(offset: number, target: Uint8Array, reader: Reader): boolean {
    for (const part of partsOf(offset, target)) {
      if (!this.#copyNow(part)) return false;
    }
    if (offset > 0) this.#fillAhead(reader, offset + target.length);
    return true;
  }

  async #read(offset: number, target: Uint8Array, reader: Reader): Promise<void> {
    for (const part of partsOf(offset, target)) {
      while (!this.#copyNow(part)) {
        if ((await this.#fetch(part)) === 'filled') break;
      }
    }
    if (offset > 0) this.#fillAhead(reader, offset + target.length);
  }

  /** These bytes of the partition are about to change: resolves when none of them is needed from the disk any more. */
  saveBefore(offset: number, lengthBytes: number): Promise<void> | undefined {
    const ranges = this.#runs.fileRangesOf(offset, lengthBytes);
    if (ranges.length === 0) return undefined;
    this.#isOverwritten = true;
    const touched = ranges
      .flatMap(({ start, end }) => pieceIndexes(start, end))
      .filter((index) => this.#pieces[index]?.at === 'unread' || this.#pieces[index]?.at === 'reading');
    // A piece that is kept by now may still be on its way from the disk to who read it directly.
    if (touched.length === 0 && this.#directReads.size === 0) return undefined;
    const firstNeeded = this.#firstNeeded();
    return Promise.all([
      ...[...new Set(touched)].map((index) => (index < firstNeeded ? this.#forgo(index) : this.#save(index))),
      ...this.#directReads,
    ]).then(() => {});
  }

  /** The piece that the slowest reader may still ask for, or look at where it is. */
  #firstNeeded(): number {
    let first = this.#pieces.length;
    for (const { from } of this.#readers) first = Math.min(first, Math.floor(from / BOOT_FILE_PIECE_BYTES));
    return first;
  }

  /** Gives back the memory of a piece that all its readers are past; false if there is none. */
  #giveUpOne(): boolean {
    for (const end = this.#firstNeeded(); this.#givenUpTo < end; this.#givenUpTo += 1) {
      const piece = this.#pieces[this.#givenUpTo];
      if (piece?.at !== 'kept') continue;
      this.#pieces[this.#givenUpTo] = this.#isOverwritten ? PASSED : { at: 'unread' };
      piece.memory.giveBack();
      return true;
    }
    return false;
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

  /** About to be overwritten, and nobody will ask for it. */
  async #forgo(index: number): Promise<void> {
    const piece = this.#pieces[index];
    if (piece?.at === 'reading') await piece.done.catch(() => {});
    if (this.#pieces[index]?.at === 'unread') this.#pieces[index] = PASSED;
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
        if (this.#isUsed()) this.#keep(index, memory);
        else memory.giveBack();
      },
      (error: unknown) => {
        memory.giveBack();
        if (this.#isUsed()) this.#pieces[index] = { at: 'unread' };
        throw error;
      },
    );
    this.#pieces[index] = { at: 'reading', done };
    return done;
  }

  /** Reads on in the background, so that blocks are served from memory and no other transfer waits. */
  #fillAhead(reader: Reader, at: number): void {
    const piece = Math.floor(at / BOOT_FILE_PIECE_BYTES);
    if (piece <= reader.piece) return;
    reader.piece = piece;
    if (reader.isFilling) return;
    reader.isFilling = true;
    this.#fill(reader)
      .catch(() => {
        // Whoever needs the piece that failed reads it again and gets the error.
      })
      .finally(() => {
        reader.isFilling = false;
      });
  }

  /** A piece a turn, the one being read and those ahead of it; the reader goes on meanwhile. */
  async #fill(reader: Reader): Promise<void> {
    const end = () => Math.min(reader.piece + 1 + BOOT_FILE_PIECES_AHEAD, this.#pieces.length);
    for (let index = reader.piece; index < end() && this.#readers.has(reader); index += 1) {
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
    return this.#isUsed() ? store.take() : undefined;
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
      throw new BootFileLost(`the disk failed: ${messageOf(error)}`);
    }
  }

  #pieceIn(memory: PieceMemory, index: number): Uint8Array {
    return memory.bytes.subarray(0, this.sizeBytes - index * BOOT_FILE_PIECE_BYTES);
  }
}

/** One transfer's reading of a file that is held. It goes forward: see `progress`. */
export interface HeldFileReader {
  readonly sizeBytes: number;
  /** From memory, or from the page cache; false if a disk would have to be waited for. Throws BootFileLost. */
  readNow(offset: number, target: Uint8Array): boolean;
  /** Throws BootFileLost. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** As BootFile's. */
  progress(from: number, at: number): void;
  /** Tells `follower` of the pieces in memory, now and as they come, until it is taken off by what this answers. */
  follow(follower: PieceFollower): () => void;
  /** May be called more than once. */
  close(): void;
}

/** What is known of one of them. */
interface Reader {
  /** What lies in front of this offset is not asked for any more, nor looked at. */
  from: number;
  /** The one that it reads, as far as that is known; -1 as long as nothing is to be read ahead. */
  piece: number;
  isFilling: boolean;
}

/** Told of pieces of the file that are in memory and stay there as they are, as long as the reader isn't past them. */
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
