import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { FileResidency, mapFile, mayAskResidency, unmapFile } from '../../src/os/file-residency.js';
import { dropCached } from '../../src/os/file-space.js';
import { QuietReader } from '../../src/os/quiet-reader.js';
import { whenOver } from '../support/cleanup.js';
import { scratchFolder } from '../support/scratch.js';

const PIECE = 1024 * 1024;
const PIECES = 32;
const SIZE = PIECES * PIECE + 100;

/** A file of which nothing is in the page cache; `isOnDisk` is false of a filesystem in memory, which drops nothing. */
async function coldFile(context: TestContext) {
  const path = join(scratchFolder(context), 'image');
  const content = randomFillSync(Buffer.alloc(SIZE));
  writeFileSync(path, content);
  const open = () => {
    const descriptor = openSync(path, 'r+');
    whenOver(context, () => closeSync(descriptor));
    return descriptor;
  };
  const descriptor = open();
  fsyncSync(descriptor);
  await dropCached(descriptor);
  const map = mapFile(descriptor, SIZE);
  assert.ok(map !== undefined);
  whenOver(context, () => unmapFile(map));
  const residency = new FileResidency(SIZE);
  const absent = () => residency.absent(map, 0, SIZE);
  return {
    content,
    open,
    absent,
    has: (piece: number) => residency.has(map, piece * PIECE, PIECE),
    isOnDisk: absent().length > 0,
  };
}

function readThrough(descriptor: number): Buffer {
  const reader = new QuietReader(descriptor, { sizeBytes: SIZE, pieceBytes: PIECE });
  const all = Buffer.alloc(SIZE);
  for (let offset = 0; offset < SIZE; offset += PIECE) all.set(reader.next(), offset);
  assert.equal(reader.next().length, 0);
  reader.close();
  return all;
}

test('what was read goes from memory again', async (context) => {
  const file = await coldFile(context);
  const before = file.absent();
  assert.ok(readThrough(file.open()).equals(file.content));
  assert.deepEqual(file.absent(), before);
});

test('what was in memory before stays, and what the kernel reads ahead of it does not go on to the end', async (context) => {
  const file = await coldFile(context);
  const other = file.open();
  // In order, so that the kernel leaves its mark.
  for (let at = 0; at < PIECE; at += 4096) readSync(other, new Uint8Array(4096), 0, 4096, at);
  const last = [PIECES - 4, PIECES - 3, PIECES - 2, PIECES - 1];
  const wereCold = last.filter((piece) => !file.has(piece));
  assert.ok(readThrough(file.open()).equals(file.content));
  assert.equal(file.has(0), true);
  if (file.isOnDisk)
    assert.deepEqual(
      last.filter((piece) => !file.has(piece)),
      wereCold,
    );
});

test('a file that ends before its size has no more bytes than it has', async (context) => {
  const file = await coldFile(context);
  const reader = new QuietReader(file.open(), { sizeBytes: SIZE + 3 * PIECE, pieceBytes: PIECE });
  for (let piece = 0; piece < PIECES; piece += 1) assert.equal(reader.next().length, PIECE);
  assert.equal(reader.next().length, 100);
  assert.equal(reader.next().length, 0);
  reader.close();
});

test('what can not be read throws what the kernel says', () => {
  const reader = new QuietReader(0x7fff_0000, { sizeBytes: SIZE, pieceBytes: PIECE });
  assert.throws(() => reader.next(), { code: 'EBADF' });
  assert.equal(mayAskResidency(0x7fff_0000), false);
});
