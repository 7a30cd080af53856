import type { ByteRun } from '../../disk/fat/chain.js';

/** A run of the partition that holds a part of what was asked: `at` is where it belongs in the answer. */
export interface PartitionRange {
  readonly offset: number;
  readonly at: number;
  readonly lengthBytes: number;
}

interface PlacedRun {
  readonly offset: number;
  readonly lengthBytes: number;
  readonly fileStart: number;
}

/** Where a file's bytes lie on its partition, and whose bytes a place on the partition holds; both by bisection. */
export class RunMap {
  readonly #byFile: readonly PlacedRun[];
  #byPartition: readonly PlacedRun[] | undefined;

  constructor(runs: readonly ByteRun[]) {
    let fileStart = 0;
    this.#byFile = runs.map(({ offset, lengthBytes }) => {
      const run = { offset, lengthBytes, fileStart };
      fileStart += lengthBytes;
      return run;
    });
  }

  /** Where `lengthBytes` of the file from `fileOffset` on lie, in the file's order. */
  partitionRangesOf(fileOffset: number, lengthBytes: number): readonly PartitionRange[] {
    const ranges: PartitionRange[] = [];
    const end = fileOffset + lengthBytes;
    for (
      let index = lastAtOrBefore(this.#byFile, fileOffset, (run) => run.fileStart);
      index < this.#byFile.length;
      index += 1
    ) {
      const run = this.#byFile[index];
      if (run === undefined || run.fileStart >= end) break;
      const start = Math.max(fileOffset, run.fileStart);
      const stop = Math.min(end, run.fileStart + run.lengthBytes);
      if (stop > start)
        ranges.push({ offset: run.offset + start - run.fileStart, at: start - fileOffset, lengthBytes: stop - start });
    }
    return ranges;
  }

  /** Which bytes of the file lie within `lengthBytes` of the partition from `offset` on. */
  fileRangesOf(offset: number, lengthBytes: number): readonly { readonly start: number; readonly end: number }[] {
    this.#byPartition ??= [...this.#byFile].sort((a, b) => a.offset - b.offset);
    const ranges: { start: number; end: number }[] = [];
    const end = offset + lengthBytes;
    for (
      let index = lastAtOrBefore(this.#byPartition, offset, (run) => run.offset);
      index < this.#byPartition.length;
      index += 1
    ) {
      const run = this.#byPartition[index];
      if (run === undefined || run.offset >= end) break;
      const start = Math.max(offset, run.offset);
      const stop = Math.min(end, run.offset + run.lengthBytes);
      if (stop > start)
        ranges.push({ start: run.fileStart + start - run.offset, end: run.fileStart + stop - run.offset });
    }
    return ranges;
  }
}

/** Index of the last run whose key is not above `value`; 0 if there is none. */
function lastAtOrBefore(runs: readonly PlacedRun[], value: number, key: (run: PlacedRun) => number): number {
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const run = runs[middle];
    if (run !== undefined && key(run) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
