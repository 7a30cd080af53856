import koffi from 'koffi';
import { libcFunction, SystemCallError } from './libc.js';

/** preadv2(2) with RWF_NOWAIT: what the page cache has, without waiting for a disk. */
const preadv2 = libcFunction('preadv2', 'int64_t preadv2(int fd, void *iov, int count, int64_t offset, int flags)');

const RWF_NOWAIT = 0x08;

/** Reads one file from the page cache only. One for each open file: it remembers where the filesystem can't do it. */
export class CachedReader {
  readonly #descriptor: number;
  // struct iovec: address and length, 64 bits each; one for all calls, since a call is over when it returns.
  readonly #iovec = new BigUint64Array(2);
  #supported = true;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Fills `target`; false if some of it is not in memory, or if this filesystem can't tell (tmpfs, overlayfs). */
  readNow(offset: number, target: Uint8Array): boolean {
    if (!this.#supported) return false;
    if (target.length === 0) return true;
    this.#iovec[0] = BigInt(koffi.address(target));
    this.#iovec[1] = BigInt(target.length);
    try {
      return preadv2.now(this.#descriptor, this.#iovec, 1, offset, RWF_NOWAIT) === target.length;
    } catch (error) {
      if (error instanceof SystemCallError && error.code === 'EOPNOTSUPP') this.#supported = false;
      return false;
    }
  }
}
