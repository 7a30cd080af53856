// What lanes count for the metrics, each for itself, and what becomes of it when one ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counted, LaneCounts } from '../../../src/nbd/lanes/lane-counts.js';

test('what a lane has counted is taken over by another when it ends, and whether it was busy is not', () => {
  const [ended, before] = [new LaneCounts(), new LaneCounts()];
  ended.busySinceMs = 5;
  ended.add(3, Counted.Read, 4096, 0.25);
  ended.add(LaneCounts.disksMax - 1, Counted.WriteZeroes, 1, 100);
  before.add(3, Counted.Read, 512, 0.5);
  before.take(ended);
  assert.deepEqual([...before.of(3, Counted.Read).subarray(0, 3)], [2, 4608, 0.75]);
  assert.deepEqual([...before.of(LaneCounts.disksMax - 1, Counted.WriteZeroes).subarray(0, 3)], [1, 1, 100]);
  assert.deepEqual([...before.of(3, Counted.Write).subarray(0, 3)], [0, 0, 0]);
  assert.equal(before.busySinceMs, 0);
});
