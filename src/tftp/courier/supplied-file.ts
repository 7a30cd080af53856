import { BOOT_FILE_PIECE_BYTES } from '../../base/limits.js';
import { type BootFile, BootFileLost, type FilePiece } from '../../boards/boot-files/boot-file.js';
import type { FromCourier } from './messages.js';

/** A boot file in the courier's thread: pieces that came are read at once, the rest is asked for. */
export class SuppliedFile implements BootFile {
  readonly role = 'unknown';
  readonly sizeBytes: number;
  readonly #id: number;
  readonly #ask: (message: FromCourier) => void;
  readonly #pieces: (Uint8Array | undefined)[] = [];
  /** Pieces in front of this one are not ours any more: their memory may hold something else by now. */
  #firstPiece = 0;
  #holding: Waiting<'held' | 'changed'> | undefined;
  /** One at a time: a delivery reads no further before it has what it asked for. */
  #reading: (Waiting<void> & { readonly target: Uint8Array }) | undefined;

  constructor(id: number, sizeBytes: number, ask: (message: FromCourier) => void) {
    this.#id = id;
    this.sizeBytes = sizeBytes;
    this.#ask = ask;
  }

  hold(): Promise<'held' | 'changed'> {
    return new Promise((resolve, reject) => {
      this.#holding = { resolve, reject };
      this.#ask({ kind: 'hold', id: this.#id });
    });
  }

  readNow(offset: number, target: Uint8Array): boolean {
    const index = Math.floor(offset / BOOT_FILE_PIECE_BYTES);
    const piece = this.#pieces[index];
    if (piece === undefined) return false;
    const start = offset - index * BOOT_FILE_PIECE_BYTES;
    const beyond = start + target.length - piece.length;
    if (beyond <= 0) {
      target.set(piece.subarray(start, start + target.length));
      return true;
    }
    const inThis = target.length - beyond;
    if (!this.readNow(offset + inThis, target.subarray(inThis))) return false;
    target.set(piece.subarray(start), 0);
    return true;
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#reading = { resolve, reject, target };
      this.#ask({ kind: 'want', id: this.#id, offset, lengthBytes: target.length });
    });
  }

  follow(): void {}

  progress(from: number, at: number): void {
    const first = Math.floor(from / BOOT_FILE_PIECE_BYTES);
    for (; this.#firstPiece < first; this.#firstPiece += 1) this.#pieces[this.#firstPiece] = undefined;
    this.#ask({ kind: 'progress', id: this.#id, from, at });
  }

  close(): void {
    this.#pieces.length = 0;
  }

  /** Answers of the other thread. */
  held(answer: 'held' | 'changed'): void {
    this.#holding?.resolve(answer);
  }

  came(pieces: readonly FilePiece[]): void {
    for (const { offset, bytes } of pieces) {
      const index = offset / BOOT_FILE_PIECE_BYTES;
      if (index >= this.#firstPiece) this.#pieces[index] = bytes;
    }
  }

  filled(bytes: Uint8Array): void {
    this.#reading?.target.set(bytes);
    this.#reading?.resolve();
  }

  lost(because: string): void {
    const error = new BootFileLost(because);
    this.#holding?.reject(error);
    this.#reading?.reject(error);
  }
}

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}
