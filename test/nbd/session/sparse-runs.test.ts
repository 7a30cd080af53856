import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NBD_SPARSE_RUN_BYTES_MIN } from '../../../src/base/limits.js';
import type { Extent } from '../../../src/block/block-device.js';
import { runsOf } from '../../../src/nbd/session/sparse-runs.js';

const LONG = NBD_SPARSE_RUN_BYTES_MIN;

function extentsOf(...parts: readonly (readonly [Extent['kind'], number])[]): readonly Extent[] {
  let offset = 7;
  return parts.map(([kind, lengthBytes]) => {
    const extent = { kind, offset, lengthBytes };
    offset += lengthBytes;
    return extent;
  });
}

function shapes(...parts: readonly (readonly [Extent['kind'], number])[]): readonly (readonly [string, number])[] {
  return runsOf(extentsOf(...parts)).map(({ isZero, lengthBytes }) => [isZero ? 'zero' : 'data', lengthBytes]);
}

test('zeroes are told, whether space was taken for them or not', () => {
  assert.deepEqual(shapes(['hole', LONG], ['zero', LONG], ['data', 1]), [
    ['zero', 2 * LONG],
    ['data', 1],
  ]);
});

test('zeroes that are too few are read as data, with the data around them', () => {
  assert.deepEqual(shapes(['data', 4096], ['hole', LONG - 1], ['data', 4096]), [['data', 8191 + LONG]]);
  assert.deepEqual(shapes(['hole', LONG - 1]), [['data', LONG - 1]]);
  assert.deepEqual(shapes(['hole', LONG / 2], ['zero', LONG / 2]), [['zero', LONG]], 'together they are enough');
});

test('runs cover what the extents covered, never alike twice in a row, and no data is taken for zeroes', () => {
  const part = fc.tuple(fc.constantFrom('data', 'zero', 'hole'), fc.integer({ min: 1, max: 3 * LONG }));
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 20 }), (parts) => {
      const extents = extentsOf(...parts);
      const runs = runsOf(extents);
      let at = 7;
      for (const [index, run] of runs.entries()) {
        assert.equal(run.offset, at);
        at += run.lengthBytes;
        if (index > 0) assert.notEqual(run.isZero, runs[index - 1]?.isZero);
        const overlaps = extents.filter((one) => one.offset < at && one.offset + one.lengthBytes > run.offset);
        if (run.isZero) assert.ok(overlaps.every(({ kind }) => kind !== 'data'));
      }
      assert.equal(at, 7 + parts.reduce((sum, [, lengthBytes]) => sum + lengthBytes, 0));
    }),
  );
});
