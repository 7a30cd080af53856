import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesText, durationText, sinceText } from '../../src/base/amounts.js';

test('amounts of bytes are short', () => {
  const texts = [0, 1, 999, 1000, 62_601_311, 16e9, 1.5e12, 123_456_789].map(bytesText);
  assert.deepEqual(texts, ['0 bytes', '1 byte', '999 bytes', '1 kB', '62.6 MB', '16 GB', '1.5 TB', '123 MB']);
});

test('durations are short', () => {
  const texts = [0.4, 999, 1300, 31_200, 119_000, 720_000].map(durationText);
  assert.deepEqual(texts, ['0 ms', '999 ms', '1.3 s', '31.2 s', '119 s', '12 min']);
});

test('a time since something is exact at first and coarser later', () => {
  const since = (ms: number) => sinceText(ms);
  assert.deepEqual([12, 9999, 31_240, 720_000, 3 * 3600_000, (3 * 24 + 4) * 3600_000].map(since), [
    '0.012 s',
    '9.999 s',
    '31.2 s',
    '12 min',
    '3 h',
    '3 days 4 h',
  ]);
});
