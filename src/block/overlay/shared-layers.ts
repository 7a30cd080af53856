import type { FileMap } from '../../os/file-residency.js';
import { BlockMap, OVERLAY_BLOCK_BYTES } from './block-map.js';
import { BlockState } from './block-states.js';
import { type Recorded, type RecordMedium, recordHere } from './map-record.js';

/** A file of which a disk is made, as any thread may read it. */
export interface DiskPart {
  readonly descriptor: number;
  /** Where in the file the disk's first byte lies. */
  readonly at: number;
  /** How much of the disk it has at most; what lies behind reads as zeroes if nobody has it. */
  readonly sizeBytes: number;
  /** For the question what of the file is in the page cache. */
  readonly map: FileMap | undefined;
  /** Which blocks it has; undefined: all, and nothing lies beneath. */
  readonly blocks: ToldBlocks | undefined;
}

export interface ToldBlocks {
  readonly memory: SharedArrayBuffer;
  readonly count: number;
  /** Of the overlay's file (`OverlayHeader`). */
  readonly id: string;
}

interface Layer extends Omit<DiskPart, 'blocks'> {
  readonly blocks: BlockMap | undefined;
}

/** What `locate` found: a run of the disk that comes from one place. */
export interface Located {
  /** −1: zeroes. */
  descriptor: number;
  /** Where in the file its first byte lies. */
  at: number;
  lengthBytes: number;
  map: FileMap | undefined;
}

/**
 * A disk of layers, as threads use it that do not own it. They read all of it, and change what the uppermost layer has already, or
 * what it can take in whole blocks.
 */
export class SharedLayers {
  /** For another thread; the uppermost first. */
  readonly told: readonly DiskPart[];
  readonly sizeBytes: number;
  /** Of the last `locate`: there is one, since it is asked for each request. */
  readonly found: Located = { descriptor: -1, at: 0, lengthBytes: 0, map: undefined };
  readonly #layers: readonly Layer[];
  readonly #topAt: number;
  readonly #top: BlockMap;
  readonly #topId: string;
  /** The write that was begun last has claimed blocks. */
  #hasClaimed = false;

  constructor(told: readonly DiskPart[], sizeBytes: number) {
    this.told = told;
    this.sizeBytes = sizeBytes;
    this.#layers = told.map(({ blocks, ...part }) => ({
      ...part,
      blocks: blocks && new BlockMap(blocks.memory, blocks.count),
    }));
    const [top] = this.#layers;
    if (top?.blocks === undefined) throw new RangeError('the uppermost layer has to say which blocks it has');
    this.#top = top.blocks;
    this.#topAt = top.at;
    this.#topId = told[0]?.blocks?.id ?? '';
  }

  /** Where the run that begins at `offset` comes from; it ends at `end` at the latest. */
  locate(offset: number, end: number): Located {
    const { found } = this;
    const block = Math.floor(offset / OVERLAY_BLOCK_BYTES);
    let to = end;
    for (const layer of this.#layers) {
      if (offset >= layer.sizeBytes) continue;
      to = Math.min(to, layer.sizeBytes);
      const { blocks } = layer;
      if (blocks !== undefined) {
        const state = blocks.stateOf(block);
        to = Math.min(to, blocks.endOfRun(state, block, Math.ceil(to / OVERLAY_BLOCK_BYTES)) * OVERLAY_BLOCK_BYTES);
        if (state === BlockState.Base) continue;
        if (state === BlockState.Zero) break;
      }
      found.descriptor = layer.descriptor;
      found.at = layer.at + offset;
      found.lengthBytes = to - offset;
      found.map = layer.map;
      return found;
    }
    found.descriptor = -1;
    found.lengthBytes = to - offset;
    found.map = undefined;
    return found;
  }

  /** Where in the uppermost file that range may be written to now; undefined: not by this thread. `endWrite` follows. */
  beginWrite(offset: number, lengthBytes: number): number | undefined {
    const first = Math.floor(offset / OVERLAY_BLOCK_BYTES);
    const end = Math.ceil((offset + lengthBytes) / OVERLAY_BLOCK_BYTES);
    this.#hasClaimed = !this.#top.isAll(BlockState.Own, first, end);
    if (this.#hasClaimed) {
      const isWhole = offset % OVERLAY_BLOCK_BYTES === 0 && lengthBytes % OVERLAY_BLOCK_BYTES === 0;
      if (!isWhole || !this.#top.isReserved(first, end)) return undefined;
      if (!this.#top.claim(first, end, { takesZero: false, takesSpace: true })) return undefined;
    }
    return this.#topAt + offset;
  }

  endWrite(offset: number, lengthBytes: number, isWritten: boolean): void {
    // What was its own when the write began, the owner may have zeroed meanwhile: that it stays.
    if (!this.#hasClaimed) return;
    const first = Math.floor(offset / OVERLAY_BLOCK_BYTES);
    const end = Math.ceil((offset + lengthBytes) / OVERLAY_BLOCK_BYTES);
    if (isWritten) this.#top.set(BlockState.Own, first, end);
    else this.#top.unclaim(first, end, { takesSpace: true });
  }

  /** Of who is the only one to sync the uppermost file: brings what was written and what its map says to stable storage. */
  sync(medium: RecordMedium): Recorded {
    if (!this.#top.isDurable) return recordHere(this.#top, this.#topId, medium);
    return medium.sync() ? 'done' : 'notSynced';
  }
}
