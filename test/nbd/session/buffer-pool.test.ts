import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NBD_PIECE_BYTES, NBD_POOLED_BYTES_MAX } from '../../../src/base/limits.js';
import { BufferPool } from '../../../src/nbd/session/buffer-pool.js';
import { EXTENDED_REPLIES } from '../../../src/nbd/session/reply-form.js';

/** The longest header that lies in front of data. */
const HEAD_BYTES = EXTENDED_REPLIES.dataHeadBytes;

test('a pool gives exactly the length asked for, up to a piece and a header', () => {
  const pool = new BufferPool();
  for (const length of [
    0,
    1,
    4096 + HEAD_BYTES,
    4097 + HEAD_BYTES,
    131_088,
    NBD_PIECE_BYTES,
    NBD_PIECE_BYTES + HEAD_BYTES,
  ]) {
    assert.equal(pool.take(length).length, length);
  }
  assert.throws(() => pool.take(NBD_PIECE_BYTES + HEAD_BYTES + 1), RangeError);
});

test('a pool gives no buffer to two at a time, and again what was given back', () => {
  const pool = new BufferPool();
  const [one, two] = [pool.take(5000), pool.take(5000)];
  assert.notEqual(one.buffer, two.buffer);
  pool.give(one);
  const again = pool.take(6000);
  assert.equal(again.buffer, one.buffer);
  assert.equal(again.length, 6000);
  assert.notEqual(pool.take(6000).buffer, one.buffer);
});

test('a pool keeps no more than its share, and nothing that is not its own', () => {
  const pool = new BufferPool();
  const count = Math.ceil(NBD_POOLED_BYTES_MAX / NBD_PIECE_BYTES) + 3;
  const taken = Array.from({ length: count }, () => pool.take(NBD_PIECE_BYTES));
  for (const one of taken) pool.give(one);
  const kept = taken
    .map(() => pool.take(NBD_PIECE_BYTES))
    .filter(({ buffer }) => taken.some((one) => one.buffer === buffer));
  assert.ok(kept.length * NBD_PIECE_BYTES <= NBD_POOLED_BYTES_MAX);
  pool.give(new Uint8Array(5000));
  pool.give(Buffer.from('a slice of the pool that Node shares'));
  assert.equal(pool.take(5000).buffer.byteLength, 8192 + HEAD_BYTES);
});
