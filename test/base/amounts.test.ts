import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesText, durationText } from '../../src/base/amounts.js';

test('amounts of bytes are short', () => {
  const texts = [0, 1, 999, 1000, 62_601_311, 16e9, 1.5e12, 123_456_789].map(bytesText);
  assert.deepEqual(texts, ['0 bytes', '1 byte', '999 bytes', '1 kB', '62.6 MB', '16 GB', '1.5 TB', '123 MB']);
});

test('durations are short', () => {
  const texts = [0.4, 999, 1300, 31_200, 119_000, 720_000].map(durationText);
  assert.deepEqual(texts, ['0 ms', '999 ms', '1.3 s', '31.2 s', '119 s', '12 min']);
});
