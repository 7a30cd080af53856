import { closeSync, openSync } from 'node:fs';
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

export function unmapFile({ address, lengthBytes }: FileMap): void {
  calls.munmap(address, lengthBytes);
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
  has({ address }: FileMap, offset: number, lengthBytes: number): boolean {
    const from = offset - (offset % PAGE_BYTES);
    const pages = Math.ceil((offset + lengthBytes - from) / PAGE_BYTES);
    if (calls.mincore(address + from, pages * PAGE_BYTES, this.#pagesAddress) !== 0) return false;
    for (let page = 0; page < pages; page += 1) if (((this.#pages[page] ?? 0) & IS_RESIDENT) === 0) return false;
    return true;
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
