import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import { BOOT_FILE_PIECE_BYTES } from '../../../src/base/limits.js';
import { type PieceMemory, PieceStore } from '../../../src/boards/boot-files/piece-store.js';

const PIECE = BOOT_FILE_PIECE_BYTES;

function takeAll(store: PieceStore): PieceMemory[] {
  const taken: PieceMemory[] = [];
  for (let piece = store.take(); piece !== undefined; piece = store.take()) taken.push(piece);
  return taken;
}

/** The kernel is told in another thread. */
async function takeAgain(store: PieceStore, count: number): Promise<PieceMemory[]> {
  const taken: PieceMemory[] = [];
  while (taken.length < count) {
    const piece = store.take();
    if (piece === undefined) await passed(1);
    else taken.push(piece);
  }
  return taken;
}

describe('memory for pieces', () => {
  test('is so much and no more, in pieces that do not overlap', () => {
    const store = new PieceStore(3 * PIECE + PIECE / 2);
    const pieces = takeAll(store);
    assert.equal(pieces.length, 3);
    assert.equal(store.usedBytes, 3 * PIECE);
    for (const [number, { bytes }] of pieces.entries()) bytes.fill(number + 1);
    for (const [number, { bytes }] of pieces.entries()) {
      assert.equal(bytes.length, PIECE);
      assert.ok(bytes.every((byte) => byte === number + 1));
    }
  });

  test('lies in memory that another thread can be given', () => {
    const [piece] = takeAll(new PieceStore(PIECE));
    assert.ok(piece?.bytes.buffer instanceof SharedArrayBuffer);
  });

  test('given back it is the kernel’s, and can be taken again', async () => {
    const store = new PieceStore(8 * PIECE);
    const pieces = takeAll(store);
    for (const { bytes } of pieces) bytes.fill(0xa5);
    for (const index of [5, 1, 6, 2]) pieces[index]?.giveBack();
    assert.equal(store.usedBytes, 4 * PIECE);
    await passed(1);
    const again = await takeAgain(store, 4);
    for (const { bytes } of again) assert.ok(bytes.every((byte) => byte === 0));
    for (const index of [0, 3, 4, 7]) assert.ok(pieces[index]?.bytes.every((byte) => byte === 0xa5));
    assert.equal(store.take(), undefined);
  });

  test('what is wanted in the same turn needs no word with the kernel', () => {
    const store = new PieceStore(PIECE);
    const [piece] = takeAll(store);
    piece?.bytes.fill(0xa5);
    piece?.giveBack();
    assert.equal(store.take()?.bytes[0], 0xa5);
    assert.equal(store.take(), undefined);
  });

  test('asks to give up what can be done without, when all is in use and not before, and no more than it needs', () => {
    const store = new PieceStore(3 * PIECE);
    const pieces: PieceMemory[] = [];
    let asked = 0;
    const stop = store.whenShort(() => {
      asked += 1;
      pieces.pop()?.giveBack();
      return asked < 3;
    });
    pieces.push(...takeAll(new PieceStore(PIECE)));
    for (let count = 0; count < 3; count += 1) assert.ok(store.take());
    assert.equal(asked, 0);
    assert.equal(store.take(), undefined); // what was given up was another store's
    assert.equal(asked, 3);
    stop();
    store.take();
    assert.equal(asked, 3);
  });

  test('none of it at all is possible', () => {
    assert.equal(new PieceStore(0).take(), undefined);
  });
});
