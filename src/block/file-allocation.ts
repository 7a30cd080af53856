import { mappedExtents } from '../os/file-extents.js';
import { nextData, nextHole } from '../os/file-space.js';
import type { Extent } from './block-device.js';
import type { InTurn } from './disks.js';
import { ExtentList } from './extent-list.js';

/**
 * What lies where in a file, by FIEMAP. It alone tells space that was reserved or zeroed (`zero`) from none (`hole`): to
 * SEEK_HOLE both are holes on ext4, and a client that leaves holes out of a copy would give the space away. One for each open
 * file: it remembers where the filesystem can't tell, and looks for data and holes there.
 */
export class FileAllocation {
  readonly #descriptor: number;
  readonly #inTurn: InTurn;
  #hasMap = true;

  constructor(descriptor: number, inTurn: InTurn) {
    this.#descriptor = descriptor;
    this.#inTurn = inTurn;
  }

  /** As `BlockDevice.extents`. Throws what the system call threw. */
  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    if (lengthBytes === 0) return [];
    const mapped = this.#hasMap ? await this.#byMap(offset, offset + lengthBytes) : undefined;
    if (mapped !== undefined) return mapped;
    this.#hasMap = false;
    return this.#bySeeking(offset, offset + lengthBytes);
  }

  /** Undefined where the filesystem has no map. */
  async #byMap(offset: number, end: number): Promise<readonly Extent[] | undefined> {
    const list = new ExtentList(offset, end);
    for (let goesOn = true; goesOn && list.position < end; ) {
      // What is written while we look may be told either way: what was answered before is on the disk after the first call.
      const sync = list.position === offset;
      const { position } = list;
      const mapped = await this.#inTurn(() => mappedExtents(this.#descriptor, position, end - position, { sync }));
      if (mapped === undefined) return undefined;
      for (const { offset: start, lengthBytes, isWritten } of mapped.extents) {
        list.upTo(start, 'hole');
        list.upTo(start + lengthBytes, isWritten ? 'data' : 'zero');
      }
      goesOn = mapped.goesOn;
    }
    list.upTo(end, 'hole');
    return list.extents;
  }

  async #bySeeking(offset: number, end: number): Promise<readonly Extent[]> {
    const list = new ExtentList(offset, end);
    while (list.position < end) {
      const { position } = list;
      const data = (await this.#inTurn(() => nextData(this.#descriptor, position))) ?? end;
      list.upTo(data, 'hole');
      if (data < end) list.upTo(await this.#inTurn(() => nextHole(this.#descriptor, data)), 'data');
    }
    return list.extents;
  }
}
