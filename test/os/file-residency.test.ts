import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lockFile } from '../../src/os/file-lock.js';
import { FileResidency, mapFile, unmapFile } from '../../src/os/file-residency.js';
import { dropCached } from '../../src/os/file-space.js';
import { syncFile } from '../../src/os/stream-calls.js';
import { whenOver } from '../support/cleanup.js';
import { scratchFolder } from '../support/scratch.js';

const SIZE = 1024 * 1024;

test('what was written is there until it is dropped, and pages are told apart', async (context) => {
  const path = join(scratchFolder(context), 'file');
  writeFileSync(path, new Uint8Array(SIZE).fill(7));
  const descriptor = openSync(path, 'r+');
  whenOver(context, async () => closeSync(descriptor));
  const map = mapFile(descriptor, SIZE);
  assert.ok(map !== undefined);
  whenOver(context, async () => unmapFile(map));
  const residency = new FileResidency(SIZE);
  assert.equal(residency.has(map, 0, SIZE), true);
  assert.equal(residency.has(map, SIZE - 1, 1), true);
  assert.equal(syncFile(descriptor), 0);
  await dropCached(descriptor);
  if (residency.has(map, 0, SIZE)) return; // a filesystem in memory drops nothing
  assert.equal(residency.has(map, 0, 1), false);
});

test('a mapping keeps no lock', (context) => {
  const path = join(scratchFolder(context), 'file');
  writeFileSync(path, new Uint8Array(SIZE));
  const descriptor = openSync(path, 'r+');
  assert.equal(lockFile(descriptor, 'exclusive'), true);
  const map = mapFile(descriptor, SIZE);
  assert.ok(map !== undefined);
  closeSync(descriptor);
  const next = openSync(path, 'r+');
  assert.equal(lockFile(next, 'exclusive'), true);
  closeSync(next);
  unmapFile(map);
});

test('what can not be mapped has no map', () => {
  assert.equal(mapFile(0x7fff_0000, SIZE), undefined);
});
