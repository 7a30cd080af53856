import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BlockMap, OVERLAY_BLOCK_BYTES } from '../../../src/block/overlay/block-map.js';
import { BlockState } from '../../../src/block/overlay/block-states.js';
import { SharedLayers } from '../../../src/block/overlay/shared-layers.js';

const BLOCK = OVERLAY_BLOCK_BYTES;
const BLOCKS = 64;
const ID = '1d'.repeat(16);
const { Base, Own, Zero } = BlockState;

/** Two layers over an image that is smaller: their files are 1 and 2, the image's is 3. */
function layers() {
  const [upper, lower] = [BlockMap.create(BLOCKS), BlockMap.create(BLOCKS / 2)];
  for (const map of [upper, lower]) map.reserved({ first: 0, end: 1 });
  const shared = new SharedLayers(
    [
      { ...part(1, 1024, BLOCKS * BLOCK), blocks: { memory: upper.memory, count: upper.blockCount, id: ID } },
      { ...part(2, 4096, (BLOCKS / 2) * BLOCK), blocks: { memory: lower.memory, count: lower.blockCount, id: ID } },
      { ...part(3, 0, 20 * BLOCK + 100), blocks: undefined },
    ],
    BLOCKS * BLOCK,
  );
  return { shared, upper, lower };
}

function part(descriptor: number, at: number, sizeBytes: number) {
  return { descriptor, at, sizeBytes, map: undefined };
}

describe('layers as threads see them that do not own them', () => {
  test('tell for each run of the disk where it lies, and zeroes behind the end of a smaller one', () => {
    const { shared, upper, lower } = layers();
    upper.set(Own, 2, 4);
    upper.set(Zero, 5, 6);
    lower.set(Own, 3, 8);
    lower.set(Zero, 10, 11);
    const found = [];
    for (let at = 0; at < shared.sizeBytes; ) {
      const { descriptor, at: place, lengthBytes } = shared.locate(at, shared.sizeBytes);
      found.push(descriptor < 0 ? [descriptor, lengthBytes] : [descriptor, place, lengthBytes]);
      at += lengthBytes;
    }
    assert.deepEqual(found, [
      [3, 0, 2 * BLOCK],
      [1, 1024 + 2 * BLOCK, 2 * BLOCK],
      [2, 4096 + 4 * BLOCK, BLOCK],
      [-1, BLOCK],
      [2, 4096 + 6 * BLOCK, 2 * BLOCK],
      [3, 8 * BLOCK, 2 * BLOCK],
      [-1, BLOCK],
      [3, 11 * BLOCK, 9 * BLOCK + 100],
      [-1, 12 * BLOCK - 100],
      [-1, 32 * BLOCK],
    ]);
  });

  test('take a whole block for the first time, or any bytes of what the uppermost has, and leave the rest to their owner', () => {
    const { shared, upper } = layers();
    assert.equal(shared.beginWrite(0, 100), undefined);
    assert.equal(shared.beginWrite(BLOCK, BLOCK), 1024 + BLOCK);
    assert.equal(upper.stateOf(1), Base); // as long as it is written
    assert.equal(shared.beginWrite(BLOCK, BLOCK), undefined); // nobody else meanwhile
    assert.equal(shared.beginWrite(0, 2 * BLOCK), undefined);
    assert.equal(shared.beginWrite(0, BLOCK), 1024);
    shared.endWrite(0, BLOCK, true);
    assert.equal(upper.isDurable, false);
    assert.equal(shared.beginWrite(7, 100), 1024 + 7);
    shared.endWrite(7, 100, true);
    upper.set(Zero, 9, 10);
    assert.equal(shared.beginWrite(9 * BLOCK, BLOCK), undefined); // zeroes are the owner's
  });

  test('are as before where the first write of a block fails', () => {
    const { shared, upper } = layers();
    upper.set(Own, 3, 4);
    assert.equal(shared.beginWrite(2 * BLOCK, 3 * BLOCK), 1024 + 2 * BLOCK);
    shared.endWrite(2 * BLOCK, 3 * BLOCK, false);
    assert.deepEqual(
      [2, 3, 4].map((block) => upper.stateOf(block)),
      [Base, Own, Base],
    );
    assert.equal(shared.beginWrite(2 * BLOCK, BLOCK), 1024 + 2 * BLOCK);
  });

  test('do not bring back what their owner has zeroed while some bytes of it were written', () => {
    const { shared, upper } = layers();
    upper.set(Own, 3, 4);
    assert.equal(shared.beginWrite(3 * BLOCK + 5, 10), 1024 + 3 * BLOCK + 5);
    upper.set(Zero, 3, 4);
    shared.endWrite(3 * BLOCK + 5, 10, true);
    assert.equal(upper.stateOf(3), Zero);
  });
});
