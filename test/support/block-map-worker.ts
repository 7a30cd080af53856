// A thread that changes a block map that others use too: see test/block/overlay/block-map.test.ts.
import { isMainThread, workerData } from 'node:worker_threads';
import { BlockMap } from '../../src/block/overlay/block-map.js';
import { BlockState } from '../../src/block/overlay/block-states.js';
import { seeded } from './random.js';

export interface BlockMapWork {
  readonly kind: 'claim' | 'makeOwn' | 'toggle';
  readonly memory: SharedArrayBuffer;
  readonly blockCount: number;
  /** Int32: see MapTally. */
  readonly tally: SharedArrayBuffer;
  readonly seed: number;
}

export const MapTally = {
  /** 0 ends it. */
  GoesOn: 0,
  /** `makeOwn`: up to this block it may go now. */
  Upto: 1,
  /** What should not have been. */
  Wrong: 2,
  /** Rounds, of all. */
  Done: 3,
  /** From here on, for each block: who has claimed it now; then for each, whether it was made. */
  Blocks: 4,
} as const;

if (!isMainThread) work(workerData);

function work({ kind, memory, blockCount, tally, seed }: BlockMapWork): void {
  const map = new BlockMap(memory, blockCount);
  const fields = new Int32Array(tally);
  if (kind === 'claim') claimOnAndOn(map, fields, seed);
  else if (kind === 'makeOwn') makeOwn(map, fields, seed);
  else toggle(map, fields);
}

/** Claims what is nobody's; makes it its own, or gives it back. Of each block there is one at a time who has it, and one who makes it. */
function claimOnAndOn(map: BlockMap, tally: Int32Array, seed: number): void {
  const chance = seeded(seed);
  const made = (block: number) => MapTally.Blocks + map.blockCount + block;
  while (Atomics.load(tally, MapTally.GoesOn) === 1) {
    const first = chance.below(map.blockCount);
    const end = Math.min(map.blockCount, first + 1 + chance.below(40));
    if (!map.claim(first, end, { takesZero: false, takesSpace: true })) continue;
    Atomics.add(tally, MapTally.Done, 1);
    const mine: number[] = [];
    for (let block = first; block < end; block += 1) if (Atomics.load(tally, made(block)) === 0) mine.push(block);
    for (const block of mine) if (Atomics.add(tally, MapTally.Blocks + block, 1) !== 0) wrong(tally);
    const isMade = chance.below(4) === 0;
    for (const block of mine) {
      if (isMade && Atomics.exchange(tally, made(block), 1) !== 0) wrong(tally);
      Atomics.sub(tally, MapTally.Blocks + block, 1);
    }
    if (isMade) map.set(BlockState.Own, first, end);
    else map.unclaim(first, end, { takesSpace: true });
  }
}

/** Every other block, each as soon as it may. */
function makeOwn(map: BlockMap, tally: Int32Array, first: number): void {
  for (let block = first; block < map.blockCount; block += 2) {
    while (Atomics.load(tally, MapTally.Upto) <= block) if (Atomics.load(tally, MapTally.GoesOn) === 0) return;
    if (!map.claim(block, block + 1, { takesZero: false, takesSpace: true })) wrong(tally);
    map.set(BlockState.Own, block, block + 1);
  }
}

/** The first block is its own, then as beneath, then zero; over and over. */
function toggle(map: BlockMap, tally: Int32Array): void {
  while (Atomics.load(tally, MapTally.GoesOn) === 1) {
    map.set(BlockState.Own, 0, 1);
    map.set(BlockState.Base, 0, 1);
    map.set(BlockState.Own, 0, 1);
    map.set(BlockState.Zero, 0, 1);
    Atomics.add(tally, MapTally.Done, 1);
  }
}

function wrong(tally: Int32Array): void {
  Atomics.add(tally, MapTally.Wrong, 1);
}
