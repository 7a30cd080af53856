import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { median, medianOfRatios, percentile } from '../../bench/statistics.js';

describe('the statistics of a bench', () => {
  test('the median is the middle value, whatever the order, and sorts as numbers do', () => {
    assert.equal(median([100, 9, 20]), 20);
    assert.equal(median([4, 1, 3, 2]), 2.5);
    assert.throws(() => median([]), /no values/);
  });

  test('a percentile is the nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
    assert.deepEqual(
      [0, 0.5, 0.99, 1].map((share) => percentile(hundred, share)),
      [1, 50, 99, 100],
    );
  });

  test('ratios are taken round by round, not between medians', () => {
    // A machine that gets ten times slower half-way: each round says 2, the medians of each side would too only by chance.
    assert.deepEqual(medianOfRatios([2, 20, 40], [1, 10, 10]), { median: 2, lowest: 2, highest: 4 });
    assert.throws(() => medianOfRatios([1], [1, 2]), /1 rounds of ours, 2 of theirs/);
  });
});
