import { INITRAMFS_PARTS_MAX, INITRAMFS_UNPACKED_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { CpioReader } from './cpio.js';
import { type InitramfsContents, InitramfsFinder } from './findings.js';
import { unpackGzip } from './gzip.js';
import { unpackLz4Frame, unpackLz4Legacy } from './lz4.js';
import type { Unpack, Unpacking } from './unpacking.js';
import { unpackXz } from './xz.js';
import { isZstd, unpackZstd } from './zstd.js';

/** What a person should know of an initramfs besides what is in it. `part` counts from 1. */
export type InitramfsWarning =
  /** bzip2, lzma and lzo: Linux would unpack them if built to, we don't. */
  | { readonly kind: 'notLookedInto'; readonly part: number; readonly format: string }
  | { readonly kind: 'unknownFormat'; readonly part: number }
  /** Not what its format says from some point on, or cut short; what came before counts. */
  | { readonly kind: 'damaged'; readonly part: number; readonly because: string }
  /** More than INITRAMFS_UNPACKED_BYTES_MAX or INITRAMFS_PARTS_MAX: the rest was not looked into. */
  | { readonly kind: 'tooLarge' }
  /** INITRAMFS_PATIENCE_MS passed, or the decoder broke down: nothing of it counts. */
  | { readonly kind: 'gaveUp'; readonly because: string }
  /** LZ4's frame format: readable here, but no kernel takes it. */
  | { readonly kind: 'kernelCannotUnpack'; readonly part: number; readonly format: string };

export interface InitramfsFindings extends InitramfsContents {
  /** False if a part stayed unseen: then what was not found may be there all the same. */
  readonly isComplete: boolean;
  readonly warnings: readonly InitramfsWarning[];
}

/**
 * Looks through an initramfs as Linux unpacks it: archives one behind the other, zeroes between, each plain cpio or compressed.
 * Never throws for what the bytes are. Stops as soon as all that matters was seen. Its time is bounded only by what the
 * decoders make of the bytes: `inspectInitramfs` is this with a clock.
 */
export async function examineInitramfs(bytes: Uint8Array): Promise<InitramfsFindings> {
  const finder = new InitramfsFinder();
  const warnings: InitramfsWarning[] = [];
  const isComplete = await new Examination(bytes, finder, warnings).run();
  return { ...finder.contents, isComplete: isComplete || finder.hasAll, warnings };
}

class Examination {
  readonly #bytes: Uint8Array;
  readonly #finder: InitramfsFinder;
  readonly #warnings: InitramfsWarning[];
  #unpackedBytes = 0;

  constructor(bytes: Uint8Array, finder: InitramfsFinder, warnings: InitramfsWarning[]) {
    this.#bytes = bytes;
    this.#finder = finder;
    this.#warnings = warnings;
  }

  /** Answers whether all of it was seen. */
  async run(): Promise<boolean> {
    let start = skipZeroes(this.#bytes, 0);
    for (let part = 1; start < this.#bytes.length; part += 1) {
      if (part > INITRAMFS_PARTS_MAX) {
        this.#stop({ kind: 'tooLarge' });
        return false;
      }
      const taken = await this.#part(this.#bytes.subarray(start), part);
      if (taken === undefined) return false;
      if (this.#finder.hasAll) return true;
      start = skipZeroes(this.#bytes, start + taken);
    }
    return true;
  }

  /** Answers how many bytes the part has, or undefined where it is no use to go on. */
  async #part(bytes: Uint8Array, part: number): Promise<number | undefined> {
    const format = formatOf(bytes);
    if (format === undefined) return this.#stop({ kind: 'unknownFormat', part });
    if (format.unpack === undefined) return this.#stop({ kind: 'notLookedInto', part, format: format.name });
    if (format.isForeignToLinux) this.#warnings.push({ kind: 'kernelCannotUnpack', part, format: format.name });
    try {
      return format.unpack === 'plain' ? this.#visitPlain(bytes) : await this.#visit(format.unpack(bytes));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      return this.#stop({ kind: 'damaged', part, because: error.message });
    }
  }

  #visitPlain(bytes: Uint8Array): number {
    const archive = new CpioReader(this.#finder);
    const taken = archive.feed(bytes);
    this.#unpackedBytes += taken;
    if (!archive.isComplete) throw new Malformed('the cpio archive is cut short');
    return taken;
  }

  async #visit(unpacking: Unpacking): Promise<number | undefined> {
    const archive = new CpioReader(this.#finder);
    try {
      for (;;) {
        const { done, value } = await unpacking.next();
        if (done) {
          if (!archive.isComplete) throw new Malformed('the cpio archive is cut short');
          return value;
        }
        this.#unpackedBytes += value.length;
        if (this.#unpackedBytes > INITRAMFS_UNPACKED_BYTES_MAX) return this.#stop({ kind: 'tooLarge' });
        if (archive.feed(value) < value.length) throw new Malformed('something that is no cpio follows the archive');
        if (this.#finder.hasAll) return undefined;
      }
    } finally {
      await unpacking.return(0);
    }
  }

  #stop(warning: InitramfsWarning): undefined {
    this.#warnings.push(warning);
    return undefined;
  }
}

interface Format {
  readonly name: string;
  /** `plain` is cpio as it is; undefined where we have no decoder. */
  readonly unpack: Unpack | 'plain' | undefined;
  readonly isForeignToLinux?: boolean;
}

/** By the first bytes; the magics are those of lib/decompress.c in Linux. */
function formatOf(bytes: Uint8Array): Format | undefined {
  const begins = (...magic: readonly number[]) => magic.every((byte, index) => bytes[index] === byte);
  if (begins(0x30)) return { name: 'cpio', unpack: 'plain' };
  if (begins(0x1f, 0x8b) || begins(0x1f, 0x9e)) return { name: 'gzip', unpack: unpackGzip };
  if (isZstd(bytes)) return { name: 'zstd', unpack: unpackZstd };
  if (begins(0x02, 0x21, 0x4c, 0x18)) return { name: 'lz4', unpack: unpackLz4Legacy };
  if (begins(0x04, 0x22, 0x4d, 0x18)) {
    return { name: 'lz4 in its frame format', unpack: unpackLz4Frame, isForeignToLinux: true };
  }
  if (begins(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return { name: 'xz', unpack: unpackXz };
  if (begins(0x42, 0x5a, 0x68)) return { name: 'bzip2', unpack: undefined };
  if (begins(0x5d, 0x00, 0x00)) return { name: 'lzma', unpack: undefined };
  if (begins(0x89, 0x4c, 0x5a, 0x4f)) return { name: 'lzo', unpack: undefined };
  return undefined;
}

function skipZeroes(bytes: Uint8Array, start: number): number {
  let end = start;
  while (end < bytes.length && bytes[end] === 0) end += 1;
  return end;
}
