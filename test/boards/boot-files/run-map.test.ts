import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RunMap } from '../../../src/boards/boot-files/run-map.js';

const RUNS = [
  { offset: 400, lengthBytes: 100 },
  { offset: 100, lengthBytes: 50 },
  { offset: 900, lengthBytes: 30 },
];

describe('a map of runs', () => {
  const map = new RunMap(RUNS);

  test('finds where bytes of the file lie', () => {
    assert.deepEqual(map.partitionRangesOf(90, 70), [
      { offset: 490, at: 0, lengthBytes: 10 },
      { offset: 100, at: 10, lengthBytes: 50 },
      { offset: 900, at: 60, lengthBytes: 10 },
    ]);
    assert.deepEqual(map.partitionRangesOf(0, 0), []);
  });

  test('finds which bytes of the file lie in a part of the partition', () => {
    assert.deepEqual(map.fileRangesOf(120, 300), [
      { start: 120, end: 150 },
      { start: 0, end: 20 },
    ]);
    assert.deepEqual(map.fileRangesOf(0, 100), []);
    assert.deepEqual(map.fileRangesOf(930, 1000), []);
    assert.deepEqual(new RunMap([]).fileRangesOf(0, 1000), []);
  });

  test('agrees with counting byte by byte', () => {
    const places = RUNS.flatMap(({ offset, lengthBytes }) =>
      Array.from({ length: lengthBytes }, (_, index) => offset + index),
    );
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(300), (offset, length) => {
        const counted = places.flatMap((place, index) => (place >= offset && place < offset + length ? [index] : []));
        const found = map
          .fileRangesOf(offset, length)
          .flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
        assert.deepEqual(
          found.sort((a, b) => a - b),
          counted,
        );
      }),
    );
  });
});
