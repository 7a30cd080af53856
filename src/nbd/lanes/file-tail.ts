import { NBD_LANE_READ_BYTES_MAX, NBD_LANE_UNCOPIED_BYTES_MIN } from '../../base/limits.js';
import type { SharedFile } from '../../block/shared-file.js';
import { FileResidency } from '../../os/file-residency.js';
import { FileSender, readFile } from '../../os/stream-calls.js';

/**
 * The data of a long READ: they go from the page cache into the socket without a copy between. There is one of each lane at a time,
 * behind the replies that are gathered.
 */
export class FileTail {
  readonly #residency = new FileResidency(NBD_LANE_READ_BYTES_MAX);
  readonly #sender = new FileSender();
  #file = -1;
  #offset = 0;
  length = 0;

  /** Whether it may be taken: long enough for that to pay, and nothing to be waited for. */
  fits({ map }: SharedFile, offset: number, length: number): boolean {
    return length >= NBD_LANE_UNCOPIED_BYTES_MIN && map !== undefined && this.#residency.has(map, offset, length);
  }

  set({ descriptor }: SharedFile, offset: number, length: number): void {
    this.#file = descriptor;
    this.#offset = offset;
    this.length = length;
  }

  clear(): void {
    this.length = 0;
  }

  /** How much of it went into the socket now; 0 also where this file's filesystem can't do that. */
  send(socket: number): number {
    return Math.max(0, this.#sender.send(socket, this.#file, this.#offset, this.length));
  }

  /** Copies what lies behind the first `from` bytes. False where the file has not got it: nothing can be said in its place. */
  read(from: number, address: number): boolean {
    const length = this.length - from;
    return length === 0 || readFile(this.#file, address, length, this.#offset + from) === length;
  }
}
