import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootedOverRestart, filesText } from '../../../src/boards/journal/status.js';

test('of a boot it is said what was read, and not what was not', () => {
  const said = (filesRead: number, bytesRead: number, probes: number) => filesText({ filesRead, bytesRead, probes });
  assert.equal(said(0, 0, 0), 'no files');
  assert.equal(said(0, 0, 2), 'no files, 2 probes');
  assert.equal(said(1, 92, 1), '1 file, 92 bytes, 1 probe');
  assert.equal(said(12, 31e6, 0), '12 files, 31 MB');
});

test('a boot went over a restart if that came before its disk, and not after', () => {
  const over = (...kinds: readonly ('file' | 'restart' | 'attached')[]) =>
    bootedOverRestart({ steps: kinds.map((kind) => ({ kind })) });
  assert.equal(over('file', 'restart', 'attached'), true);
  assert.equal(over('file', 'attached', 'restart'), false);
  assert.equal(over('file', 'restart'), false);
});
