import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  BLOCKS_PER_SECTOR,
  BlockMap,
  OVERLAY_BLOCK_BYTES,
  type SectorStates,
} from '../../../src/block/overlay/block-map.js';
import { BlockState } from '../../../src/block/overlay/block-states.js';
import { SharedLayers } from '../../../src/block/overlay/shared-layers.js';
import { type BlockMapWork, MapTally } from '../../support/block-map-worker.js';
import { whenOver } from '../../support/cleanup.js';
import { seeded } from '../../support/random.js';

const ID = '1d'.repeat(16);

const { Base, Own, Zero } = BlockState;
const GIBI = 1024 ** 3;
/** Three sectors of the map, of which the last is a short one. */
const BLOCKS = 2 * BLOCKS_PER_SECTOR + 37;
const LIMIT = { timeout: 120_000 };
const SPACE = { takesZero: false, takesSpace: true };
const NO_SPACE = { takesZero: true, takesSpace: false };

describe('a map of blocks', LIMIT, () => {
  test('is what a model of it is, over any history of claims, changes and flushes', () => {
    for (let history = 0; history < 25; history += 1) {
      const chance = seeded(history);
      const map = BlockMap.create(BLOCKS);
      const states: number[] = new Array(BLOCKS).fill(Base);
      const claimed: boolean[] = new Array(BLOCKS).fill(false);
      let written = new Map<number, Uint32Array>();
      for (let step = 0; step < 300; step += 1) {
        const first = chance.below(BLOCKS);
        const end = Math.min(BLOCKS, first + 1 + chance.below(chance.pick([1, 20, 100, BLOCKS]) ?? 1));
        const inside = (what: (block: number) => boolean) => range(first, end).some(what);
        const kind = chance.pick(['claim', 'claim', 'finish', 'flush', 'fail', 'reload'] as const);
        if (kind === 'claim') {
          const takesZero = chance.below(2) === 0;
          const mayNot = inside((block) => claimed[block] === true || (!takesZero && states[block] === Zero));
          assert.equal(map.claim(first, end, { takesZero, takesSpace: true }), !mayNot);
          if (mayNot) continue;
          const isMade = chance.below(3) > 0;
          for (const block of range(first, end)) if (states[block] === Base) claimed[block] = true;
          assertStates(map, states);
          if (!isMade && chance.below(2) === 0) continue; // it stays claimed for a while
          const next = isMade ? (chance.pick([Own, Zero]) ?? Own) : undefined;
          if (next === undefined) map.unclaim(first, end, { takesSpace: true });
          else {
            map.set(next, first, end);
            states.fill(next, first, end);
          }
          claimed.fill(false, first, end);
        } else if (kind === 'finish') {
          for (const [block, is] of claimed.entries()) if (is) map.unclaim(block, block + 1, { takesSpace: true });
          claimed.fill(false);
        } else if (kind === 'reload') {
          map.load([...written].map(([sector, words]) => ({ sector, words })));
          for (const block of range(0, BLOCKS)) states[block] = stateIn(written, block);
          claimed.fill(false);
          assert.ok(map.isDurable);
        } else {
          const taken = map.takeUndurable();
          if (kind === 'fail') map.notDurable(taken);
          else {
            written = new Map([...written, ...taken.map(({ sector, words }) => [sector, words] as const)]);
            map.nowDurable(taken);
            assert.ok(map.isDurable);
            for (const block of range(0, BLOCKS)) assert.equal(stateIn(written, block), states[block]);
          }
        }
        assertStates(map, states);
      }
    }
  });

  test('gives places to eight sectors of the map at once, and to none twice', () => {
    const blocks = 20 * BLOCKS_PER_SECTOR;
    const map = BlockMap.create(blocks);
    const first = 9 * BLOCKS_PER_SECTOR - 1;
    assert.deepEqual(map.unreserved(first, first + 1), [{ first: 8, end: 16 }]);
    assert.deepEqual(map.unreserved(0, blocks), [
      { first: 0, end: 8 },
      { first: 8, end: 16 },
      { first: 16, end: 24 },
    ]);
    map.reserved({ first: 8, end: 16 });
    assert.ok(map.isReserved(first, first + 1) && !map.isReserved(first - 2 * BLOCKS_PER_SECTOR, first));
    assert.deepEqual(map.unreserved(first, first + 1), []);
    map.set(Own, first, first + 1);
    assert.equal(map.isDurable, false);
    map.reserved({ first: 8, end: 16 });
    assert.equal(map.isDurable, false);
  });

  test('a sector that changes while it is written down is written down once more', () => {
    const map = BlockMap.create(BLOCKS);
    map.set(Own, 3, 5);
    const [first, ...others] = map.takeUndurable();
    assert.ok(first !== undefined && others.length === 0);
    map.set(Own, 9, 10);
    map.nowDurable([first]);
    assert.equal(map.isDurable, false);
    const again = map.takeUndurable();
    assert.equal(stateIn(new Map(again.map(({ sector, words }) => [sector, words])), 9), Own);
    map.set(Own, 20, 21);
    map.notDurable(again);
    const last = map.takeUndurable();
    assert.equal(last.length, 1);
    map.nowDurable(last);
    assert.equal(map.isDurable, true);
  });
});

describe('the space that a map may take', LIMIT, () => {
  test('is taken by a claim, given back with it, and taken by zeroes that become data', () => {
    const map = BlockMap.create(100);
    assert.equal(map.granted, undefined);
    map.grant(0);
    assert.equal(map.claim(0, 1, SPACE), false);
    map.grant(10);
    assert.ok(map.claim(0, 6, SPACE));
    assert.equal(map.granted, 4);
    assert.equal(map.claim(20, 40, SPACE), false); // more than there is, over several words
    assert.equal(map.granted, 4);
    map.unclaim(0, 3, SPACE);
    map.set(Own, 3, 6);
    assert.equal(map.granted, 7);
    assert.ok(map.claim(2, 5, SPACE)); // two of which it has already
    assert.equal(map.granted, 6);
    map.set(Own, 2, 5);
    assert.ok(map.claim(50, 52, NO_SPACE));
    map.set(Zero, 50, 52);
    assert.equal(map.granted, 6);
    assert.ok(map.claim(50, 52, { takesZero: true, takesSpace: true }));
    map.set(Own, 50, 52);
    assert.equal(map.granted, 4);
  });

  test('does not grow by what was claimed without any, and could not be', () => {
    const map = BlockMap.create(100);
    map.grant(10);
    assert.ok(map.claim(40, 41, SPACE));
    for (let times = 0; times < 5; times += 1) assert.equal(map.claim(0, 60, NO_SPACE), false);
    assert.equal(map.granted, 9);
  });

  test('is the same at the end of all claims, however many threads have claimed', async (context) => {
    const blocks = 200;
    const { map, tally } = await threads(context, ['claim', 'claim', 'claim'], blocks, (fresh) => fresh.grant(blocks));
    const made = tally.subarray(MapTally.Blocks + blocks);
    await passes(() => made.every((is) => is === 1));
    Atomics.store(tally, MapTally.GoesOn, 0);
    await passes(() => map.isAll(Own, 0, blocks));
    assert.equal(map.granted, 0);
  });
});

describe('a map of blocks that several threads use', LIMIT, () => {
  test('lets one of them at a time have a block, and one of them make it', async (context) => {
    const blocks = 3000;
    const { map, tally } = await threads(context, ['claim', 'claim', 'claim', 'claim'], blocks);
    const made = tally.subarray(MapTally.Blocks + blocks);
    await passes(() => Atomics.load(tally, MapTally.Wrong) > 0 || made.every((is) => is === 1));
    assert.equal(tally[MapTally.Wrong], 0);
    await passes(() => map.isAll(Own, 0, blocks));
  });

  test('whoever sees that a block is its own sees that the map has to be flushed, and flushes it', async (context) => {
    const blocks = 300_000;
    const { map, tally } = await threads(context, ['makeOwn', 'makeOwn'], blocks);
    let [unseen, untaken] = [0, 0];
    const look = (block: number) => {
      if (map.isDurable) unseen += 1;
      const taken = map.takeUndurable();
      if (stateIn(new Map(taken.map(({ sector, words }) => [sector, words])), block) !== Own) untaken += 1;
      map.nowDurable(taken);
    };
    const endMs = performance.now() + 3000;
    for (let block = 0; block < blocks && performance.now() < endMs; block += 2) {
      Atomics.store(tally, MapTally.Upto, block + 2);
      while (map.stateOf(block) !== Own && map.stateOf(block + 1) !== Own);
      const [first, second] = map.stateOf(block) === Own ? [block, block + 1] : [block + 1, block];
      look(first);
      // Of two who changed it at once, one may have been written down with the other.
      while (map.stateOf(second) !== Own);
      map.nowDurable(map.takeUndurable());
    }
    assert.deepEqual({ unseen, untaken, wrong: tally[MapTally.Wrong] }, { unseen: 0, untaken: 0, wrong: 0 });
  });

  test('a run of blocks is what one of them is, whatever becomes of that meanwhile', async (context) => {
    const blocks = 64;
    const { map, tally } = await threads(context, ['toggle'], blocks, (fresh) => {
      fresh.set(Zero, 32, blocks);
    });
    const file = { descriptor: 7, at: 0, sizeBytes: blocks * OVERLAY_BLOCK_BYTES, map: undefined };
    const told = [
      { ...file, descriptor: 8, blocks: { memory: map.memory, count: blocks, id: ID } },
      { ...file, blocks: undefined },
    ];
    const layers = new SharedLayers(told, file.sizeBytes);
    let [wrong, all] = [0, 0];
    const endMs = performance.now() + 1500;
    while (performance.now() < endMs) {
      for (let round = 0; round < 1000; round += 1) {
        const { descriptor, lengthBytes } = layers.locate(0, file.sizeBytes);
        // Its own is the first block at most; the image's are those up to the 32nd; there is no run of zeroes longer than the first.
        const most = descriptor === 7 ? 32 : 1;
        if (lengthBytes < OVERLAY_BLOCK_BYTES || lengthBytes > most * OVERLAY_BLOCK_BYTES) wrong += 1;
        if (map.isAll(Own, 0, 2) || map.isAll(Zero, 0, 2)) all += 1;
      }
    }
    assert.ok(Atomics.load(tally, MapTally.Done) > 1000);
    assert.deepEqual({ wrong, all }, { wrong: 0, all: 0 });
  });
});

describe('the memory of a map', () => {
  test('is under 5 MB for a disk of 64 GiB, and of what nobody touched it takes none', () => {
    const blocks = (64 * GIBI) / OVERLAY_BLOCK_BYTES;
    assert.ok(BlockMap.create(blocks).memory.byteLength < 5e6);
    const before = process.memoryUsage.rss();
    const maps = Array.from({ length: 100 }, () => BlockMap.create(blocks));
    for (const map of maps) {
      map.set(Own, 5, 9);
      assert.equal(map.endOfRun(Base, 9, blocks), blocks);
      map.nowDurable(map.takeUndurable());
    }
    const eachBytes = (process.memoryUsage.rss() - before) / maps.length;
    assert.ok(eachBytes < 500_000, `${eachBytes} bytes each`);
  });
});

function assertStates(map: BlockMap, states: readonly number[]): void {
  for (let block = 0; block < BLOCKS; ) {
    const state = map.stateOf(block);
    const end = map.endOfRun(state, block, BLOCKS);
    assert.ok(end > block && states.slice(block, end).every((each) => each === state), `at ${block}`);
    assert.ok(end === BLOCKS || states[end] !== states[block], `the run from ${block} goes on at ${end}`);
    block = end;
  }
}

function stateIn(sectors: ReadonlyMap<number, SectorStates['words']>, block: number): number {
  const words = sectors.get(Math.floor(block / BLOCKS_PER_SECTOR));
  const at = block % BLOCKS_PER_SECTOR;
  return ((words?.[at >>> 4] ?? 0) >>> ((at & 15) * 2)) & 3;
}

function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}

/** Threads that have begun to do that to one map; they end with the test. */
async function threads(
  context: TestContext,
  kinds: readonly BlockMapWork['kind'][],
  blockCount: number,
  prepare: (map: BlockMap) => void = () => {},
) {
  const map = BlockMap.create(blockCount);
  map.reserved({ first: 0, end: map.sectorCount });
  prepare(map);
  const tally = new Int32Array(new SharedArrayBuffer(4 * (MapTally.Blocks + 2 * blockCount)));
  tally[MapTally.GoesOn] = 1;
  const workers = kinds.map((kind, seed) => {
    const workerData: BlockMapWork = { kind, memory: map.memory, blockCount, tally: tally.buffer, seed };
    return new Worker(new URL('../../support/block-map-worker.js', import.meta.url), { workerData });
  });
  const exits = workers.map((worker) => once(worker, 'exit'));
  whenOver(context, async () => {
    Atomics.store(tally, MapTally.GoesOn, 0);
    await Promise.all(exits);
  });
  await Promise.all(workers.map((worker) => once(worker, 'online')));
  return { map, tally };
}

/** Other threads go on meanwhile. */
async function passes(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}
