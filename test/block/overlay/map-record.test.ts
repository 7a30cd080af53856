import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BlockMap } from '../../../src/block/overlay/block-map.js';
import { BlockState } from '../../../src/block/overlay/block-states.js';
import { recordHere } from '../../../src/block/overlay/map-record.js';
import { decodeSector, MAP_AT, SECTOR_BYTES } from '../../../src/block/overlay/overlay-format.js';

const ID = '1d'.repeat(16);
const BLOCKS = 5000;
const { Own } = BlockState;

/** Of which two sectors were written down before, and the third was not. */
function recordedMap(): BlockMap {
  const map = BlockMap.create(BLOCKS);
  map.load([0, 1].map((sector) => ({ sector, words: new Uint32Array(127) })));
  return map;
}

/** Writes down what is done to it, and fails from the step on that is named. */
function medium(failsAt = Number.POSITIVE_INFINITY) {
  const steps: string[] = [];
  const written = new Map<number, Uint8Array>();
  return {
    steps,
    written,
    write(offset: number, bytes: Uint8Array) {
      steps.push(`write ${(offset - MAP_AT) / SECTOR_BYTES}`);
      written.set(offset, Uint8Array.from(bytes));
      return steps.length < failsAt;
    },
    sync() {
      steps.push('sync');
      return steps.length < failsAt;
    },
  };
}

describe('a map that another thread than its owner writes down', () => {
  test('is on stable storage after the data that it tells of', () => {
    const map = recordedMap();
    map.set(Own, 2030, 2035);
    const file = medium();
    assert.equal(recordHere(map, ID, file), 'done');
    assert.deepEqual(file.steps, ['sync', 'write 0', 'write 1', 'sync']);
    const states = decodeSector(ID, 1, file.written.get(MAP_AT + SECTOR_BYTES) ?? new Uint8Array());
    assert.equal(states?.words[0], 0b010101);
    assert.equal(map.isDurable, true);
    assert.deepEqual(map.takeUndurable(), []);
    const again = medium();
    assert.equal(recordHere(map, ID, again), 'done');
    assert.deepEqual(again.steps, ['sync']);
  });

  test('is left to its owner where a sector is written for the first time', () => {
    const map = recordedMap();
    map.set(Own, 1, 2);
    map.set(Own, 4500, 4501);
    const file = medium();
    assert.equal(recordHere(map, ID, file), 'owners');
    assert.deepEqual(file.steps, []);
    assert.deepEqual(
      map.takeUndurable().map(({ sector }) => sector),
      [0, 2],
    );
  });

  test('is left to its owner while that is at it, and keeps the owner waiting until the sync is over', () => {
    const map = recordedMap();
    map.set(Own, 1, 2);
    assert.equal(map.beginOwnersRecord(), false);
    assert.equal(recordHere(map, ID, medium()), 'owners');
    map.endOwnersRecord();
    const file = medium();
    assert.equal(
      recordHere(map, ID, { write: file.write, sync: () => file.sync() && map.beginOwnersRecord() }),
      'done',
    );
    assert.equal(map.beginOwnersRecord(), false);
  });

  for (const [failsAt, recorded] of [
    [1, 'notSynced'],
    [2, 'owners'],
    [3, 'notSynced'],
  ] as const) {
    test(`is as undurable as before where step ${failsAt} fails`, () => {
      const map = recordedMap();
      map.set(Own, 1, 2);
      assert.equal(recordHere(map, ID, medium(failsAt)), recorded);
      assert.equal(map.isDurable, false);
      const taken = map.takeUndurable();
      assert.equal(taken.length, 1);
      map.nowDurable(taken);
      assert.equal(map.isDurable, true);
      assert.equal(map.beginOwnersRecord(), false);
    });
  }
});
