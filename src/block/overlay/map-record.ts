import type { BlockMap } from './block-map.js';
import { encodeSector, MAP_AT, SECTOR_BYTES } from './overlay-format.js';

/** A file as a thread uses it that may wait for its disk. Each answers whether it has. */
export interface RecordMedium {
  write(offset: number, bytes: Uint8Array): boolean;
  /** Brings to stable storage what was written before. */
  sync(): boolean;
}

/** `owners`: the owner has to do it, and meets what there is to be met. */
export type Recorded = 'done' | 'notSynced' | 'owners';

/**
 * What an overlay's owner does to flush it (`OverlayFile.sync`), in another thread, which is the only one to sync the file meanwhile:
 * first the data, then the sectors of the map that tell of them. One that was never written before is the owner's, who counts them.
 */
export function recordHere(map: BlockMap, id: string, medium: RecordMedium): Recorded {
  if (!map.beginRecord()) return 'owners';
  const sectors = map.takeUndurable();
  let recorded: Recorded = 'owners';
  try {
    if (!sectors.every(({ sector }) => map.isRecorded(sector))) return recorded;
    recorded = 'notSynced';
    if (!medium.sync()) return recorded;
    for (const states of sectors) {
      if (medium.write(MAP_AT + states.sector * SECTOR_BYTES, encodeSector(id, states))) continue;
      recorded = 'owners';
      return recorded;
    }
    if (sectors.length > 0 && !medium.sync()) return recorded;
    recorded = 'done';
    return recorded;
  } finally {
    if (recorded === 'done') map.nowDurable(sectors);
    else map.notDurable(sectors);
    map.endRecord();
  }
}
