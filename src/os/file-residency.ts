import { accessSync, closeSync, constants, fstatSync, openSync } from 'node:fs';
import { libcFunction } from './libc.js';
import { addressOf } from './stream-calls.js';

/**
 * Where a file is mapped, so that the kernel can be asked which of its pages are in the page cache (mincore(2)). Nobody may read
 * there: it takes address space and nothing else.
 */
export interface FileMap {
  readonly address: number;
  readonly lengthBytes: number;
}

/** Undefined where that can't be. It ends with `unmapFile`. */
export function mapFile(descriptor: number, lengthBytes: number): FileMap | undefined {
  let fresh: number;
  try {
    // Opened anew: a mapping of this descriptor would keep its lock after it is closed.
    fresh = openSync(`/proc/self/fd/${descriptor}`, 'r');
  } catch {
    return undefined;
  }
  const address = calls.mmap(0, lengthBytes, PROT_NONE, MAP_SHARED, fresh, 0);
  closeSync(fresh);
  return address === MAP_FAILED ? undefined : { address, lengthBytes };
}

/**
 * Whether the kernel tells us the truth about this file. Of one that is neither ours nor ours to write to it says since Linux 5.2 that
 * all of it is there, so that nobody learns by it what others read.
 */
export function mayAskResidency(descriptor: number): boolean {
  try {
    if (fstatSync(descriptor).uid === process.geteuid?.()) return true;
    accessSync(`/proc/self/fd/${descriptor}`, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

export function unmapFile({ address, lengthBytes }: FileMap): void {
  calls.munmap(address, lengthBytes);
}

export interface FileRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** A thread's own way of asking. */
export class FileResidency {
  readonly #pages: Uint8Array;
  readonly #pagesAddress: number;

  /** For questions about up to so many bytes. */
  constructor(lengthBytesMax: number) {
    this.#pages = new Uint8Array(new SharedArrayBuffer(Math.ceil(lengthBytesMax / PAGE_BYTES) + 1));
    this.#pagesAddress = addressOf(this.#pages);
  }

  /** Whether all of it can be read without waiting for a disk, but for what is dropped this very moment. */
  has(map: FileMap, offset: number, lengthBytes: number): boolean {
    const { pages } = this.#ask(map, offset, lengthBytes);
    for (let page = 0; page < pages; page += 1) if (!this.#isResident(page)) return false;
    return pages > 0;
  }

  /** The runs of whole pages that are not there. */
  absent(map: FileMap, offset: number, lengthBytes: number): readonly FileRange[] {
    const { from, pages } = this.#ask(map, offset, lengthBytes);
    const runs: FileRange[] = [];
    for (let page = 0; page < pages; page += 1) {
      if (this.#isResident(page)) continue;
      const first = page;
      while (page < pages && !this.#isResident(page)) page += 1;
      runs.push({ offset: from + first * PAGE_BYTES, lengthBytes: (page - first) * PAGE_BYTES });
    }
    return pages > 0 ? runs : [{ offset, lengthBytes }];
  }

  /** No pages where the kernel does not answer. */
  #ask({ address }: FileMap, offset: number, lengthBytes: number): { readonly from: number; readonly pages: number } {
    const from = offset - (offset % PAGE_BYTES);
    const pages = Math.ceil((offset + lengthBytes - from) / PAGE_BYTES);
    const isAnswered = calls.mincore(address + from, pages * PAGE_BYTES, this.#pagesAddress) === 0;
    return { from, pages: isAnswered ? pages : 0 };
  }

  #isResident(page: number): boolean {
    return ((this.#pages[page] ?? 0) & IS_RESIDENT) !== 0;
  }
}

const calls = {
  mmap: libcFunction(
    'mmap',
    'int64_t mmap(uint64_t at, uint64_t length, int access, int flags, int fd, int64_t offset)',
  ).bare,
  munmap: libcFunction('munmap', 'int munmap(uint64_t at, uint64_t length)').bare,
  mincore: libcFunction('mincore', 'int mincore(uint64_t at, uint64_t length, uint64_t pages)').bare,
};

const PAGE_BYTES = libcFunction('getpagesize', 'int getpagesize()').now();
const MAP_FAILED = -1;
const PROT_NONE = 0;
const MAP_SHARED = 1;
/** The other bits mean nothing (mincore(2)). */
const IS_RESIDENT = 1;
