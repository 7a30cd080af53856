import { assertInside, type BlockDevice, type Extent, type ZeroOptions } from '../block-device.js';
import type { BlockError } from '../block-error.js';
import { ExtentList } from '../extent-list.js';
import { FlushQueue, type Medium } from '../flush-queue.js';
import type { SharedFile } from '../shared-file.js';
import { type BlockMap, type ClaimOptions, OVERLAY_BLOCK_BYTES } from './block-map.js';
import { BlockState } from './block-states.js';
import type { OverlayFile } from './overlay-file.js';
import { RangeLock } from './range-lock.js';
import type { DiskPart } from './shared-layers.js';

/** The longest that a claim of another thread is looked at again: it writes meanwhile. */
const CLAIM_PAUSE_MS_MAX = 16;

/** A run of bytes that all come from one place. */
export interface Run {
  readonly state: BlockState;
  readonly offset: number;
  readonly lengthBytes: number;
}

/**
 * A disk whose changes lie in a file of their own over another that is only read. Each of its blocks lies at its own offset in that
 * file, so that a read costs what it costs in a file; the map says which of them it has. A block becomes its own as a whole: where a
 * write has only a part of it, the rest is brought up from beneath.
 *
 * A flush brings the data to stable storage first, then what the map says of it: after a loss of power the disk is as it was
 * acknowledged, plus some of what wasn't.
 */
export class OverlayDevice implements BlockDevice, Medium {
  readonly sizeBytes: number;
  readonly shared: SharedFile | undefined;
  readonly parts: readonly DiskPart[] | undefined;
  readonly #base: BlockDevice;
  readonly #file: OverlayFile;
  readonly #map: BlockMap;
  /** Of blocks: who makes one its own, or zeroes it. */
  readonly #changes = new RangeLock();
  readonly #flushes = new FlushQueue(() => this.#file.sync());

  /** `base` is as large as the overlay, at least; it is only read, and not closed with it. */
  constructor(base: BlockDevice, file: OverlayFile) {
    this.#base = base;
    this.#file = file;
    this.#map = file.map;
    this.sizeBytes = file.header.sizeBytes;
    const [part] = file.device.parts ?? [];
    if (part === undefined || base.parts === undefined) return;
    const blocks = { memory: file.map.memory, count: file.map.blockCount, id: file.header.id };
    this.parts = [{ ...part, at: file.dataAt, sizeBytes: this.sizeBytes, blocks }, ...base.parts];
    this.shared = file.device.shared?.withLayers(this.parts, this.sizeBytes);
  }

  get rotational(): boolean {
    return this.#base.rotational || this.#file.device.rotational;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    assertInside(this, offset, target.length);
    const waits: Promise<void>[] = [];
    for (const run of this.#runs(offset, target.length)) {
      const part = partOf(target, offset, run);
      if (this.#readRunNow(run, part)) continue;
      waits.push(
        run.state === BlockState.Own
          ? this.#file.device.read(this.#file.dataAt + run.offset, part)
          : this.#base.read(run.offset, part),
      );
    }
    if (waits.length > 0) await Promise.all(waits);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    assertInside(this, offset, target.length);
    return this.#runs(offset, target.length).every((run) => this.#readRunNow(run, partOf(target, offset, run)));
  }

  async prefetch(offset: number, lengthBytes: number): Promise<void> {
    assertInside(this, offset, lengthBytes);
    for (const run of this.#runs(offset, lengthBytes)) {
      if (run.state === BlockState.Own)
        await this.#file.device.prefetch(this.#file.dataAt + run.offset, run.lengthBytes);
      else if (run.state === BlockState.Base) await this.#base.prefetch(run.offset, run.lengthBytes);
    }
  }

  async write(offset: number, source: Uint8Array, { durable }: { readonly durable: boolean }): Promise<void> {
    assertInside(this, offset, source.length);
    if (source.length > 0) await this.#put(offset, source);
    if (durable) await this.flush();
  }

  flush(): Promise<void> {
    return this.#flushes.flush();
  }

  async discard(offset: number, lengthBytes: number): Promise<void> {
    assertInside(this, offset, lengthBytes);
    const { first, end } = this.#wholeBlocks(offset, lengthBytes);
    if (first < end) await this.#clear(first, end);
  }

  async zero(offset: number, lengthBytes: number, { keepAllocated, durable, fast }: ZeroOptions): Promise<void> {
    assertInside(this, offset, lengthBytes);
    const { first, end } = this.#wholeBlocks(offset, lengthBytes);
    if (first >= end) await this.#putZeroes(offset, offset + lengthBytes);
    else {
      if (keepAllocated) await this.#reserveZeroes(first, end, fast ?? false);
      else await this.#clear(first, end);
      await this.#putZeroes(offset, first * OVERLAY_BLOCK_BYTES);
      await this.#putZeroes(this.#endOf(end), offset + lengthBytes);
    }
    if (durable) await this.flush();
  }

  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    assertInside(this, offset, lengthBytes);
    const list = new ExtentList(offset, offset + lengthBytes);
    for (const run of this.#runs(offset, lengthBytes)) await this.#addExtents(list, run);
    return list.extents;
  }

  /** It takes no more for now: what space it was granted and has not used is for others. */
  returnUnused(): void {
    this.#file.returnUnused();
  }

  /** What was not flushed is not made durable by it. */
  close(): Promise<void> {
    return this.#file.close();
  }

  get failure(): BlockError | undefined {
    return this.#flushes.failure;
  }

  listen(listener: (failure: BlockError | undefined) => void): void {
    this.#flushes.listen(listener);
  }

  reopen(): Promise<void> {
    return this.#flushes.recover(() => this.#file.reopen());
  }

  /** Whether that range is as in the disk beneath, and has always been. */
  isUntouched(offset: number, lengthBytes: number): boolean {
    const end = Math.ceil((offset + lengthBytes) / OVERLAY_BLOCK_BYTES);
    return lengthBytes === 0 || this.#map.isAll(BlockState.Base, Math.floor(offset / OVERLAY_BLOCK_BYTES), end);
  }

  /** What it has of its own, blocks of zeroes too, in order. */
  *ownRuns(): Generator<Run> {
    for (let at = 0; at < this.sizeBytes; ) {
      const run = this.#runAt(at, this.sizeBytes);
      if (run.state !== BlockState.Base) yield run;
      at += run.lengthBytes;
    }
  }

  /** What of that range it has not. */
  baseRuns(offset: number, lengthBytes: number): Run[] {
    return this.#runs(offset, lengthBytes).filter(({ state }) => state === BlockState.Base);
  }

  /** How much it has of its own. */
  get ownBytes(): number {
    let sum = 0;
    for (const { state, lengthBytes } of this.ownRuns()) if (state === BlockState.Own) sum += lengthBytes;
    return sum;
  }

  #runs(offset: number, lengthBytes: number): Run[] {
    const runs: Run[] = [];
    const end = offset + lengthBytes;
    for (let at = offset; at < end; ) {
      const run = this.#runAt(at, end);
      runs.push(run);
      at += run.lengthBytes;
    }
    return runs;
  }

  #runAt(offset: number, end: number): Run {
    const block = Math.floor(offset / OVERLAY_BLOCK_BYTES);
    const state = this.#map.stateOf(block);
    const endBlock = this.#map.endOfRun(state, block, Math.ceil(end / OVERLAY_BLOCK_BYTES));
    const to = Math.min(end, endBlock * OVERLAY_BLOCK_BYTES);
    return { state, offset, lengthBytes: to - offset };
  }

  #readRunNow(run: Run, part: Uint8Array): boolean {
    switch (run.state) {
      case BlockState.Own:
        return this.#file.device.readNow(this.#file.dataAt + run.offset, part);
      case BlockState.Zero:
        part.fill(0);
        return true;
      default:
        return this.#base.readNow(run.offset, part);
    }
  }

  async #addExtents(list: ExtentList, { state, offset, lengthBytes }: Run): Promise<void> {
    if (state === BlockState.Zero) list.upTo(offset + lengthBytes, 'hole');
    else if (state === BlockState.Base) {
      for (const extent of await this.#base.extents(offset, lengthBytes)) {
        list.upTo(extent.offset + extent.lengthBytes, extent.kind);
      }
    } else {
      const { dataAt } = this.#file;
      for (const extent of await this.#file.device.extents(dataAt + offset, lengthBytes)) {
        list.upTo(extent.offset - dataAt + extent.lengthBytes, extent.kind);
      }
    }
  }

  async #put(offset: number, source: Uint8Array): Promise<void> {
    const first = Math.floor(offset / OVERLAY_BLOCK_BYTES);
    const end = Math.ceil((offset + source.length) / OVERLAY_BLOCK_BYTES);
    if (this.#map.isAll(BlockState.Own, first, end))
      await this.#file.device.write(this.#file.dataAt + offset, source, NOT_YET);
    else
      await this.#changes.while(first, end, () =>
        this.#makeOwn(first, end, () => this.#fill(first, end, offset, source)),
      );
  }

  /** With the range locked. */
  async #makeOwn(first: number, end: number, fill: () => Promise<void>): Promise<void> {
    await this.#file.reserve(first, end);
    await this.#claim(first, end, { takesZero: true, takesSpace: true });
    try {
      await this.#file.whileTaking(end - first, fill);
    } catch (error) {
      this.#map.unclaim(first, end, { takesSpace: true });
      throw error;
    }
    this.#map.set(BlockState.Own, first, end);
  }

  /** Writes that range as whole blocks, except where they are its own already. */
  async #fill(first: number, end: number, offset: number, source: Uint8Array): Promise<void> {
    const from = this.#map.stateOf(first) === BlockState.Own ? offset : first * OVERLAY_BLOCK_BYTES;
    const sourceEnd = offset + source.length;
    const to = this.#map.stateOf(end - 1) === BlockState.Own ? sourceEnd : this.#endOf(end);
    const { device, dataAt } = this.#file;
    if (from === offset && to === sourceEnd) {
      await device.write(dataAt + offset, source, NOT_YET);
      return;
    }
    const whole = new Uint8Array(to - from);
    await this.read(from, whole.subarray(0, offset - from));
    whole.set(source, offset - from);
    await this.read(sourceEnd, whole.subarray(sourceEnd - from));
    await device.write(dataAt + from, whole, NOT_YET);
  }

  async #putZeroes(from: number, to: number): Promise<void> {
    if (from < to) await this.#put(from, new Uint8Array(to - from));
  }

  async #clear(first: number, end: number): Promise<void> {
    await this.#changes.while(first, end, async () => {
      await this.#file.reserve(first, end);
      await this.#claim(first, end, { takesZero: true, takesSpace: false });
      this.#map.set(BlockState.Zero, first, end);
      // What the map says counts; this is for the space.
      await this.#file.device.discard(...this.#inFile(first, end));
    });
  }

  async #reserveZeroes(first: number, end: number, fast: boolean): Promise<void> {
    await this.#changes.while(first, end, () =>
      this.#makeOwn(first, end, () =>
        this.#file.device.zero(...this.#inFile(first, end), { keepAllocated: true, durable: false, fast }),
      ),
    );
  }

  async #claim(first: number, end: number, how: ClaimOptions): Promise<void> {
    if (how.takesSpace) await this.#file.allow(end - first);
    // Another thread writes a block there for the first time; that takes as long as a write does.
    for (let pauseMs = 1; !this.#map.claim(first, end, how); pauseMs *= 2) {
      const waitMs = Math.min(pauseMs, CLAIM_PAUSE_MS_MAX);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (how.takesSpace) await this.#file.allow(end - first); // others may have used up what was granted
    }
  }

  /** Those that lie in that range as a whole; the disk's last block may be a short one. */
  #wholeBlocks(offset: number, lengthBytes: number): { readonly first: number; readonly end: number } {
    const end = offset + lengthBytes;
    return {
      first: Math.ceil(offset / OVERLAY_BLOCK_BYTES),
      end: end === this.sizeBytes ? this.#map.blockCount : Math.floor(end / OVERLAY_BLOCK_BYTES),
    };
  }

  #endOf(block: number): number {
    return Math.min(this.sizeBytes, block * OVERLAY_BLOCK_BYTES);
  }

  /** The file's last block is whole, whatever the disk's is. */
  #inFile(first: number, end: number): [offset: number, lengthBytes: number] {
    return [this.#file.dataAt + first * OVERLAY_BLOCK_BYTES, (end - first) * OVERLAY_BLOCK_BYTES];
  }
}

const NOT_YET = { durable: false } as const;

function partOf(target: Uint8Array, offset: number, run: Run): Uint8Array {
  return target.subarray(run.offset - offset, run.offset - offset + run.lengthBytes);
}
