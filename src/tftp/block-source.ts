/** A boot file cut into the blocks of one transfer. Blocks are counted from 1. */
import { BOOT_FILE_PROGRESS_BYTES, TFTP_WINDOW_BLOCKS_MAX } from '../base/limits.js';
import type { BootFile } from '../boards/boot-files/boot-file.js';
import { Mode } from './constants.js';

/** A block shorter than a full one, an empty one too, is the file's last. */
export interface BlockSource {
  /** Puts the block's payload into the front of `target`, which takes a full block; its length, or undefined if the bytes would have to be waited for. */
  fillNow(block: number, target: Uint8Array): number | undefined;
  /** The same, waiting. Throws what the file's `read` throws. */
  fill(block: number, target: Uint8Array): Promise<number>;
}

export function blockSource(file: BootFile, mode: string, blockBytes: number): BlockSource {
  return mode === Mode.Netascii ? new NetasciiSource(file, blockBytes) : new OctetSource(file, blockBytes);
}

/** Tells the file how far its transfer is, once for each BOOT_FILE_PROGRESS_BYTES. */
class ProgressTeller {
  readonly #file: BootFile;
  #toldAt = 0;

  constructor(file: BootFile) {
    this.#file = file;
  }

  /** `from`: where the oldest block begins that may be asked for again. */
  reached(at: number, from: () => number): void {
    if (at < this.#toldAt + BOOT_FILE_PROGRESS_BYTES) return;
    this.#toldAt = at - (at % BOOT_FILE_PROGRESS_BYTES);
    this.#file.progress(from(), at);
  }
}

class OctetSource implements BlockSource {
  readonly #file: BootFile;
  readonly #blockBytes: number;
  readonly #progress: ProgressTeller;

  constructor(file: BootFile, blockBytes: number) {
    this.#file = file;
    this.#blockBytes = blockBytes;
    this.#progress = new ProgressTeller(file);
  }

  fillNow(block: number, target: Uint8Array): number | undefined {
    const offset = (block - 1) * this.#blockBytes;
    const length = this.#lengthAt(offset);
    if (length > 0 && !this.#file.readNow(offset, whole(target, length))) return undefined;
    this.#reached(offset);
    return length;
  }

  async fill(block: number, target: Uint8Array): Promise<number> {
    const offset = (block - 1) * this.#blockBytes;
    const length = this.#lengthAt(offset);
    if (length > 0) await this.#file.read(offset, whole(target, length));
    this.#reached(offset);
    return length;
  }

  #reached(offset: number): void {
    this.#progress.reached(offset, () => Math.max(0, offset - TFTP_WINDOW_BLOCKS_MAX * this.#blockBytes));
  }

  #lengthAt(offset: number): number {
    return Math.min(this.#blockBytes, this.#file.sizeBytes - offset);
  }
}

/** Where in the file a netascii block begins. */
interface Beginning {
  readonly offset: number;
  /** The second byte of a pair whose first ended the block before. */
  readonly carried: number | undefined;
}

/**
 * netascii (RFC 764 as RFC 1350 uses it): a line feed goes out as CR LF, a carriage return as CR NUL. So a block begins
 * where the one before ended and nowhere else can tell; the beginnings of the blocks that may be asked for again are kept.
 */
class NetasciiSource implements BlockSource {
  readonly #file: BootFile;
  readonly #progress: ProgressTeller;
  readonly #raw: Uint8Array;
  readonly #beginnings = new Map<number, Beginning>([[1, { offset: 0, carried: undefined }]]);

  constructor(file: BootFile, blockBytes: number) {
    this.#file = file;
    this.#progress = new ProgressTeller(file);
    this.#raw = new Uint8Array(blockBytes);
  }

  fillNow(block: number, target: Uint8Array): number | undefined {
    const beginning = this.#beginningOf(block);
    const raw = this.#raw.subarray(0, this.#rawLengthAt(beginning));
    if (raw.length > 0 && !this.#file.readNow(beginning.offset, raw)) return undefined;
    return this.#convert(block, beginning, raw, target);
  }

  async fill(block: number, target: Uint8Array): Promise<number> {
    const beginning = this.#beginningOf(block);
    const raw = new Uint8Array(this.#rawLengthAt(beginning));
    if (raw.length > 0) await this.#file.read(beginning.offset, raw);
    return this.#convert(block, beginning, raw, target);
  }

  #rawLengthAt({ offset }: Beginning): number {
    return Math.min(this.#raw.length, this.#file.sizeBytes - offset);
  }

  #oldestOffset(): number {
    for (const { offset } of this.#beginnings.values()) return offset;
    return 0;
  }

  #beginningOf(block: number): Beginning {
    const beginning = this.#beginnings.get(block);
    if (beginning === undefined) throw new RangeError(`block ${block} is asked for out of turn`);
    return beginning;
  }

  #convert(block: number, { offset, carried }: Beginning, raw: Uint8Array, target: Uint8Array): number {
    const room = this.#raw.length;
    const { taken, made, over } = convertToNetascii(raw, carried, target.subarray(0, room));
    if (!this.#beginnings.has(block)) return made; // read so late that nobody asks for what is behind it
    this.#beginnings.set(block + 1, { offset: offset + taken, carried: over });
    this.#beginnings.delete(block - TFTP_WINDOW_BLOCKS_MAX);
    this.#progress.reached(offset, () => this.#oldestOffset());
    return made;
  }
}

const CR = 0x0d;
const LF = 0x0a;

/** Converts until `raw` is used up or `target` is full; `over` is the half of a pair that found no room. */
function convertToNetascii(
  raw: Uint8Array,
  carried: number | undefined,
  target: Uint8Array,
): { readonly taken: number; readonly made: number; readonly over: number | undefined } {
  let made = 0;
  let taken = 0;
  let over = carried;
  while (made < target.length) {
    if (over !== undefined) {
      target[made++] = over;
      over = undefined;
      continue;
    }
    const byte = raw[taken];
    if (byte === undefined) break;
    taken += 1;
    target[made++] = byte === LF ? CR : byte;
    if (byte === LF) over = LF;
    if (byte === CR) over = 0;
  }
  return { taken, made, over };
}

/** The view itself where it fits, so that a full block costs no new one. */
function whole(target: Uint8Array, length: number): Uint8Array {
  return target.length === length ? target : target.subarray(0, length);
}
