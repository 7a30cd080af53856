import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BOOT_FILE_PIECE_BYTES } from '../../src/base/limits.js';
import type { FromCourier } from '../../src/tftp/courier/messages.js';
import { SuppliedFile } from '../../src/tftp/courier/supplied-file.js';

const PIECE = BOOT_FILE_PIECE_BYTES;

describe('a file in the thread that delivers it', () => {
  test('is not looked at where it said that it is past, whatever comes later', () => {
    const said: FromCourier[] = [];
    const file = new SuppliedFile(7, 3 * PIECE, (message) => said.push(message));
    const pieces = [0, 1, 2].map((index) => ({ offset: index * PIECE, bytes: new Uint8Array(PIECE).fill(index) }));
    file.came(pieces);
    const byte = new Uint8Array(1);
    assert.equal(file.readNow(PIECE - 1, byte), true);
    file.progress(PIECE + 5, 2 * PIECE);
    assert.deepEqual(said, [{ kind: 'progress', id: 7, from: PIECE + 5, at: 2 * PIECE }]);
    assert.equal(file.readNow(PIECE - 1, byte), false);
    file.came(pieces.slice(0, 1)); // read again for another transfer, and told to all
    assert.equal(file.readNow(PIECE - 1, byte), false);
    assert.deepEqual([file.readNow(PIECE, byte), byte[0]], [true, 1]);
  });
});
