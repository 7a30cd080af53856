import { libcFunction, SystemCallError } from './libc.js';

/** fallocate(2) and lseek(2), as far as Node has no call for them. All of them may wait for the disk: worker threads only. */
const fallocate = libcFunction('fallocate', 'int fallocate(int fd, int mode, int64_t offset, int64_t length)');
const lseek = libcFunction('lseek', 'int64_t lseek(int fd, int64_t offset, int whence)');

const fadvise = libcFunction('posix_fadvise', 'int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');

export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_ZERO_RANGE = 0x10;
const POSIX_FADV_WILLNEED = 3;
const POSIX_FADV_DONTNEED = 4;
const SEEK_END = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Gives the space back; the range reads as zeroes. On a block device the kernel zeroes, by discard where that is safe. */
export async function punchHole(descriptor: number, offset: number, lengthBytes: number): Promise<void> {
  await fallocate.later(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, lengthBytes);
}

/** The range reads as zeroes and its space stays reserved. */
export async function zeroRange(descriptor: number, offset: number, lengthBytes: number): Promise<void> {
  await fallocate.later(descriptor, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, lengthBytes);
}

/** Makes sure that so much from the file's beginning has space, and the file that size. */
export async function allocate(descriptor: number, lengthBytes: number): Promise<void> {
  await fallocate.later(descriptor, 0, 0, lengthBytes);
}

/** Begins to read a range into the page cache. Ends before that is done, unless the disk's queue is full. */
export async function readAhead(descriptor: number, offset: number, lengthBytes: number): Promise<void> {
  await fadvise.later(descriptor, offset, lengthBytes, POSIX_FADV_WILLNEED);
}

/** Whatever of the file is in memory and on the disk alike is read from the disk again. */
export async function dropCached(descriptor: number): Promise<void> {
  await fadvise.later(descriptor, 0, 0, POSIX_FADV_DONTNEED);
}

/** Works for regular files and block devices alike; stat says 0 for the latter. Answers from memory, waits for nothing. */
export function sizeOf(descriptor: number): number {
  return lseek.now(descriptor, 0, SEEK_END);
}

/** Where data starts at or after `offset`; undefined if there is none up to the end. */
export async function nextData(descriptor: number, offset: number): Promise<number | undefined> {
  try {
    return await lseek.later(descriptor, offset, SEEK_DATA);
  } catch (error) {
    if (error instanceof SystemCallError && error.code === 'ENXIO') return undefined;
    throw error;
  }
}

/** Where a hole starts at or after `offset`, which must lie inside the file; its end counts as one. */
export async function nextHole(descriptor: number, offset: number): Promise<number> {
  return lseek.later(descriptor, offset, SEEK_HOLE);
}
