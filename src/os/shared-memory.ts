import koffi from 'koffi';
import { libcFunction } from './libc.js';

const madvise = libcFunction('madvise', 'int madvise(void *address, size_t length, int advice)');

const MADV_DONTNEED = 4;
/** 4 KiB on x86-64; arm64 may have 16 or 64 KiB, and a multiple of its pages is one of ours too. */
const PAGE_BYTES = 64 * 1024;

/**
 * Memory that threads share, without a page of it taken before it is written to. What a garbage collector would free when it
 * comes to it, `release` gives back to the kernel at once: two threads have two collectors, and neither knows of the other.
 */
export class SharedMemory {
  /** Of the size asked for, and beginning at a page's beginning. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;

  constructor(sizeBytes: number) {
    const buffer = new SharedArrayBuffer(sizeBytes + PAGE_BYTES);
    const beyondPage = Number(koffi.address(new Uint8Array(buffer)) % BigInt(PAGE_BYTES));
    this.bytes = new Uint8Array(buffer, beyondPage === 0 ? 0 : PAGE_BYTES - beyondPage, sizeBytes);
  }

  /** The pages of this part are the kernel's again; it reads as zeroes. Both in multiples of 64 KiB. */
  async release(offset: number, lengthBytes: number): Promise<void> {
    await madvise.later(this.bytes.subarray(offset, offset + lengthBytes), lengthBytes, MADV_DONTNEED);
  }
}
