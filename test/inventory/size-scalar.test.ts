import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { sizeText, sizeWithin } from '../../src/inventory/size-scalar.js';

const read = (text: string) =>
  sizeWithin({ least: 0, most: Number.MAX_SAFE_INTEGER })(text, (problem) => {
    throw new Error(problem ?? 'refused');
  });

describe('a size', () => {
  const sizes: Readonly<Record<string, number>> = {
    '32GiB': 34_359_738_368,
    '16GB': 16_000_000_000,
    '1B': 1,
    '0512B': 512,
    '3kB': 3000,
    '3KiB': 3072,
    '5MB': 5_000_000,
    '5MiB': 5_242_880,
    '8TiB': 8_796_093_022_208,
    '2TB': 2_000_000_000_000,
  };
  for (const [text, bytes] of Object.entries(sizes))
    test(`${text} is ${bytes} bytes`, () => assert.equal(read(text), bytes));

  test('of any number of bytes is written as it is read', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (bytes) => assert.equal(read(sizeText(bytes)), bytes)));
    assert.deepEqual([34_359_738_368, 16e9, 1536 * 2 ** 30, 1001, 0].map(sizeText), [
      '32GiB',
      '16GB',
      '1536GiB',
      '1001B',
      '0TiB',
    ]);
  });

  test('of any other text is none', () => {
    for (const text of [
      '',
      'GiB',
      '32',
      '32 GiB',
      '32Gib',
      '-1GiB',
      '1e9B',
      '1_0GiB',
      '0x10B',
      '1.5GiB',
      '32GiB ',
      '٣GiB',
    ]) {
      assert.throws(() => read(text), /refused/, text);
    }
    assert.throws(() => read('999999999999999TiB'), /too large/);
  });
});
