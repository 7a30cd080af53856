import { NBD_SPARSE_RUN_BYTES_MIN } from '../../base/limits.js';
import type { Extent } from '../../block/block-device.js';

/** A stretch of a READ: bytes to be read, or zeroes to be told. */
export interface Run {
  readonly offset: number;
  readonly lengthBytes: number;
  readonly isZero: boolean;
}

/** Extents as few runs as are worth it: zeroes between data that are too short to save anything are read as data. */
export function runsOf(extents: readonly Extent[]): readonly Run[] {
  const zeroesAndData = joined(
    extents.map(({ offset, lengthBytes, kind }) => ({ offset, lengthBytes, isZero: kind !== 'data' })),
  );
  return joined(
    zeroesAndData.map((run) => ({ ...run, isZero: run.isZero && run.lengthBytes >= NBD_SPARSE_RUN_BYTES_MIN })),
  );
}

function joined(runs: readonly Run[]): readonly Run[] {
  const found: Run[] = [];
  for (const run of runs) {
    const last = found.at(-1);
    if (last === undefined || last.isZero !== run.isZero) found.push(run);
    else found[found.length - 1] = { ...last, lengthBytes: last.lengthBytes + run.lengthBytes };
  }
  return found;
}
