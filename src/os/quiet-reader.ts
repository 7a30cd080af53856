import { type FileMap, type FileRange, FileResidency, mapFile, mayAskResidency, unmapFile } from './file-residency.js';
import { libcFunction, SystemCallError } from './libc.js';
import { addressOf, EINTR, failedBy, readFile } from './stream-calls.js';

/**
 * Reads a file through, once, and leaves the page cache as it was: what was there stays, and what this brought in goes again, so that
 * 16 GB read by nobody in particular do not push out what boards read all day. Which pages were there is asked some way ahead of
 * the reading: where others have read in order, the kernel left a mark behind which it reads ahead for whoever comes by, and what
 * comes so must not be taken for theirs.
 *
 * Where the kernel does not tell (the file is another user's and we may not write to it), all that was read goes, also what boards had
 * read before: they read it from the disk once more, which is little beside a page cache full of what nobody wants. What somebody else
 * reads for the first time just then goes too.
 *
 * Not by RWF_NOWAIT, as `CachedReader` asks: newer kernels begin to read what it does not find, and a page that has come while one
 * looks is taken for one that was there. Not by O_DIRECT: it writes out and waits for what others have in hand, and not every filesystem has it.
 *
 * All of it waits for the disk: for a thread that may.
 */
export class QuietReader {
  readonly #descriptor: number;
  readonly #sizeBytes: number;
  readonly #pieceBytes: number;
  // In shared memory: that never moves.
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #address: number;
  readonly #residency: FileResidency;
  readonly #map: FileMap | undefined;
  /** What was not there, for each piece from the next one on. */
  readonly #absent: (readonly FileRange[])[] = [];
  #offset = 0;

  /** The descriptor is of an opening of its own: it is told not to read ahead. Pieces are whole pages. */
  constructor(
    descriptor: number,
    { sizeBytes, pieceBytes }: { readonly sizeBytes: number; readonly pieceBytes: number },
  ) {
    this.#descriptor = descriptor;
    this.#sizeBytes = sizeBytes;
    this.#pieceBytes = pieceBytes;
    this.#bytes = new Uint8Array(new SharedArrayBuffer(pieceBytes));
    this.#address = addressOf(this.#bytes);
    this.#residency = new FileResidency(pieceBytes);
    this.#map = sizeBytes > 0 && mayAskResidency(descriptor) ? mapFile(descriptor, sizeBytes) : undefined;
    fadvise(descriptor, 0, 0, POSIX_FADV_RANDOM);
  }

  /** The next piece, in the same memory as the one before: fewer bytes at the end of the size, or where the file ends before. Throws SystemCallError. */
  next(): Uint8Array {
    this.#askAhead();
    const offset = this.#offset;
    const length = Math.min(this.#pieceBytes, this.#sizeBytes - offset);
    let done = 0;
    while (done < length) {
      const got = readFile(this.#descriptor, this.#address + done, length - done, offset + done);
      if (got === 0) break;
      if (got > 0) done += got;
      else if (failedBy() !== EINTR) throw new SystemCallError('pread', failedBy());
    }
    for (const run of this.#absent.shift() ?? []) {
      fadvise(this.#descriptor, run.offset, run.lengthBytes, POSIX_FADV_DONTNEED);
    }
    this.#offset += length;
    return this.#bytes.subarray(0, done);
  }

  /** Before the descriptor is closed. */
  close(): void {
    if (this.#map !== undefined) unmapFile(this.#map);
  }

  #askAhead(): void {
    const until = Math.min(this.#sizeBytes, this.#offset + this.#pieceBytes + ASKED_AHEAD_BYTES);
    for (;;) {
      const offset = this.#offset + this.#absent.length * this.#pieceBytes;
      if (offset >= until) return;
      const lengthBytes = Math.min(this.#pieceBytes, this.#sizeBytes - offset);
      const range = { offset, lengthBytes };
      this.#absent.push(this.#map === undefined ? [range] : this.#residency.absent(this.#map, offset, lengthBytes));
    }
  }
}

/** Kernels read ahead 128 KiB, and administrators of disk arrays make it up to some MiB. */
const ASKED_AHEAD_BYTES = 16 * 1024 * 1024;
const fadvise = libcFunction(
  'posix_fadvise',
  'int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)',
).bare;
const POSIX_FADV_RANDOM = 1;
const POSIX_FADV_DONTNEED = 4;
