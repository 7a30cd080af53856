import { entryOffset, TableMark } from './allocation-table.js';
import type { ByteRun } from './chain.js';
import { clusterOffset, type FatGeometry, FIRST_CLUSTER } from './geometry.js';

/**
 * The order in which a new volume's clusters are used: from 0 to `clusterCount` − 1 in, a different one of the same numbers
 * out for each. A file gets them one after the other, so an order that jumps makes fragmented files.
 */
export type ClusterOrder = (ordinal: number, clusterCount: number) => number;

/** Every `stride`th cluster from the front, then again from the second, and so on: no two neighbours follow each other. */
export function strided(stride: number): ClusterOrder {
  return (ordinal, clusterCount) => {
    const fullLength = Math.ceil(clusterCount / stride);
    const fullRounds = clusterCount % stride === 0 ? stride : clusterCount % stride;
    const inFull = fullRounds * fullLength;
    if (ordinal < inFull) return Math.floor(ordinal / fullLength) + (ordinal % fullLength) * stride;
    const shortLength = fullLength - 1;
    const rest = ordinal - inFull;
    return fullRounds + Math.floor(rest / shortLength) + (rest % shortLength) * stride;
  };
}

/** Hands out the clusters of a new volume and remembers the chains. */
export class ClusterPool {
  readonly #geometry: FatGeometry;
  readonly #order: ClusterOrder;
  /** What comes after each cluster, by its number; 0 is free. */
  readonly #next: Uint32Array;
  #taken = 0;

  constructor(geometry: FatGeometry, order: ClusterOrder = (ordinal) => ordinal) {
    this.#geometry = geometry;
    this.#order = order;
    this.#next = new Uint32Array(geometry.clusterCount + FIRST_CLUSTER);
  }

  get freeCount(): number {
    return this.#geometry.clusterCount - this.#taken;
  }

  /** A hint where the next free one is; 0xffffffff where none is left. */
  get nextFree(): number {
    return this.freeCount === 0 ? 0xffff_ffff : this.#clusterAt(this.#taken);
  }

  /** A chain of that many clusters. */
  take(count: number): readonly number[] {
    if (count > this.freeCount) throw new RangeError(`${count} clusters wanted, ${this.freeCount} are left`);
    const clusters = Array.from({ length: count }, (_, index) => this.#clusterAt(this.#taken + index));
    this.#taken += count;
    const end = TableMark[this.#geometry.type].endFrom + 7;
    for (const [index, cluster] of clusters.entries()) {
      if (this.#next[cluster] !== 0)
        throw new RangeError(`the order gives cluster ${cluster} twice, or has none so high`);
      this.#next[cluster] = clusters[index + 1] ?? end;
    }
    return clusters;
  }

  /** Where the clusters lie, neighbours joined. */
  runsOf(clusters: readonly number[]): readonly ByteRun[] {
    const { clusterBytes } = this.#geometry;
    const runs: ByteRun[] = [];
    for (const cluster of clusters) {
      const offset = clusterOffset(this.#geometry, cluster);
      const last = runs.at(-1);
      if (last !== undefined && last.offset + last.lengthBytes === offset) {
        runs[runs.length - 1] = { offset: last.offset, lengthBytes: last.lengthBytes + clusterBytes };
      } else {
        runs.push({ offset, lengthBytes: clusterBytes });
      }
    }
    return runs;
  }

  /** The allocation table as it lies on the disk. Entry 0 repeats the media byte; entry 1 says that all is well. */
  encodeTable(media: number): Uint8Array {
    const { type } = this.#geometry;
    const allOnes = TableMark[type].endFrom + 7;
    const entries = this.#next.slice();
    entries[0] = allOnes - 0xff + media;
    entries[1] = allOnes;
    const bytes = new Uint8Array(Math.ceil((entries.length * type) / 8) + 4);
    const view = new DataView(bytes.buffer);
    for (const [cluster, entry] of entries.entries()) {
      const offset = entryOffset(type, cluster);
      if (type === 32) view.setUint32(offset, entry, true);
      else if (type === 16) view.setUint16(offset, entry, true);
      else
        view.setUint16(offset, cluster % 2 === 0 ? entry : (entry << 4) | (view.getUint16(offset, true) & 0x0f), true);
    }
    return bytes.subarray(0, bytes.length - 4);
  }

  #clusterAt(ordinal: number): number {
    return this.#order(ordinal, this.#geometry.clusterCount) + FIRST_CLUSTER;
  }
}
