import { NBD_LANE_READ_BYTES_MAX, NBD_LANE_UNCOPIED_BYTES_MIN } from '../../base/limits.js';
import type { Located } from '../../block/overlay/shared-layers.js';
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
  #file: SharedFile | undefined;
  #descriptor = -1;
  /** In that file. */
  #offset = 0;
  length = 0;

  /**
   * Takes it, where that pays and nothing has to be waited for, and answers whether it has; until `clear`. The kernel may make it
   * wait after all (a filesystem with a lock, a read ahead), so it counts as what waits for that disk.
   */
  take(file: SharedFile, offset: number, length: number): boolean {
    if (length < NBD_LANE_UNCOPIED_BYTES_MIN) return false;
    if (file.layers === undefined) return this.#take(file, file, offset, length);
    const part = file.layers.locate(offset, offset + length);
    return part.lengthBytes === length && this.#take(file, part, part.at, length);
  }

  #take(
    file: SharedFile,
    { descriptor, map }: Pick<Located, 'descriptor' | 'map'>,
    offset: number,
    length: number,
  ): boolean {
    if (map === undefined || !this.#residency.has(map, offset, length) || !file.beginRead()) return false;
    this.#file = file;
    this.#descriptor = descriptor;
    this.#offset = offset;
    this.length = length;
    return true;
  }

  clear(): void {
    this.#file?.endRead();
    this.#file = undefined;
    this.length = 0;
  }

  /** How much of it went into the socket now; 0 also where this file's filesystem can't do that. */
  send(socket: number): number {
    return Math.max(0, this.#sender.send(socket, this.#descriptor, this.#offset, this.length));
  }

  /** Copies what lies behind the first `from` bytes. False where the file has not got it: nothing can be said in its place. */
  read(from: number, address: number): boolean {
    const length = this.length - from;
    return length === 0 || readFile(this.#descriptor, address, length, this.#offset + from) === length;
  }
}
