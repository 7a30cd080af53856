import { NBD_LANE_READ_BYTES_MAX } from '../../base/limits.js';
import { OVERLAY_BLOCK_BYTES } from '../../block/overlay/block-map.js';
import type { SharedLayers } from '../../block/overlay/shared-layers.js';
import type { SharedFile } from '../../block/shared-file.js';
import { addressOf, CachedFileReader } from '../../os/stream-calls.js';

/** Where bytes that are read come to lie: the same place twice, since the kernel and we name it differently. */
export interface ReadTarget {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** Reads what the page cache has, up to NBD_LANE_READ_BYTES_MAX at once. */
export class CachedDiskReader {
  readonly #cached = new CachedFileReader(2 * PIECES_MAX);
  readonly #unwanted = new Uint8Array(new SharedArrayBuffer(BRIDGED_BYTES_MAX));
  readonly #unwantedAddress = addressOf(this.#unwanted);
  // Of the range that is read: in which file each piece of it lies, and where there; in its order.
  readonly #files = new Int32Array(PIECES_MAX);
  readonly #offsets = new Float64Array(PIECES_MAX);
  readonly #lengths = new Int32Array(PIECES_MAX);
  readonly #addresses = new Float64Array(PIECES_MAX);
  #pieceCount = 0;
  /** In which there was something missing between two pieces. */
  #sparseFile = READ;

  /** To behind the first `at` bytes of the target; false if some of it is not in memory. */
  read(file: SharedFile, offset: number, length: number, target: ReadTarget, at: number): boolean {
    const { descriptor, layers } = file;
    if (layers === undefined) return this.#cached.read(descriptor, target.address + at, length, offset) === length;
    this.#find(layers, offset, length, target, at);
    this.#sparseFile = READ;
    for (let piece = 0; piece < this.#pieceCount; piece += 1) {
      if (this.#files[piece] !== READ && !this.#readFrom(piece)) return false;
    }
    return true;
  }

  /** What is zeroes is done with that. */
  #find(layers: SharedLayers, offset: number, length: number, target: ReadTarget, at: number): void {
    const end = offset + length;
    let count = 0;
    for (let from = offset; from < end; ) {
      const part = layers.locate(from, end);
      const to = at + from - offset;
      if (part.descriptor < 0) target.bytes.fill(0, to, to + part.lengthBytes);
      else {
        this.#files[count] = part.descriptor;
        this.#offsets[count] = part.at;
        this.#lengths[count] = part.lengthBytes;
        this.#addresses[count] = target.address + to;
        count += 1;
      }
      from += part.lengthBytes;
    }
    this.#pieceCount = count;
  }

  /**
   * That piece, and in the same call those that lie in the same file close behind it: what is between them is read away. Where it is
   * not in memory (a hole that nobody has read, mostly) the call ends there, and the pieces behind it are read alone.
   */
  #readFrom(first: number): boolean {
    const file = this.#files[first] ?? READ;
    const offset = this.#offsets[first] ?? 0;
    const end = this.#gather(first, file);
    const readEnd = offset + Math.max(0, this.#cached.readAdded(file, offset));
    if (readEnd < end) this.#sparseFile = file;
    for (let piece = first; piece < this.#pieceCount; piece += 1) {
      if (this.#files[piece] === file && this.#endOf(piece) <= readEnd) this.#files[piece] = READ;
    }
    return this.#files[first] === READ;
  }

  /** Answers where in the file the last of those pieces ends. */
  #gather(first: number, file: number): number {
    const bridgedMax = file === this.#sparseFile ? 0 : BRIDGED_BYTES_MAX;
    let end = this.#offsets[first] ?? 0;
    for (let piece = first; piece < this.#pieceCount; piece += 1) {
      if (this.#files[piece] !== file) continue;
      const between = (this.#offsets[piece] ?? 0) - end;
      if (between > bridgedMax) break;
      if (between > 0) this.#cached.add(this.#unwantedAddress, between);
      this.#cached.add(this.#addresses[piece] ?? 0, this.#lengths[piece] ?? 0);
      end = this.#endOf(piece);
    }
    return end;
  }

  #endOf(piece: number): number {
    return (this.#offsets[piece] ?? 0) + (this.#lengths[piece] ?? 0);
  }
}

/** Each begins a block, but for the first. */
const PIECES_MAX = NBD_LANE_READ_BYTES_MAX / OVERLAY_BLOCK_BYTES + 1;
/** To copy so much more out of the page cache takes as long as one more call. */
const BRIDGED_BYTES_MAX = 8192;
/** In the place of a piece's file. */
const READ = -1;
