import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ByteReader } from '../../src/base/byte-reader.js';
import { ByteWriter } from '../../src/base/byte-writer.js';
import { Malformed } from '../../src/base/malformed.js';

describe('bytes', () => {
  test('what the writer writes the reader reads, in both orders', () => {
    const bytes = new ByteWriter(8)
      .u8(0x01)
      .u16(0x0203)
      .u32(0x04050607)
      .u64(0x08090a0b0c0d0e0fn)
      .u16Le(0x0203)
      .u32Le(0x04050607)
      .u64Le(0x08090a0b0c0d0e0fn)
      .latin1('PXE')
      .utf8('é')
      .zeroes(2)
      .bytes(Uint8Array.of(9))
      .done();
    const hex = '0102030405060708090a0b0c0d0e0f0302070605040f0e0d0c0b0a0908505845c3a9000009';
    assert.equal(Buffer.from(bytes).toString('hex'), hex);
    const reader = new ByteReader(bytes);
    assert.deepEqual(
      [reader.u8(), reader.u16(), reader.u32(), reader.u64()],
      [1, 0x0203, 0x04050607, 0x08090a0b0c0d0e0fn],
    );
    assert.deepEqual([reader.u16Le(), reader.u32Le(), reader.u64Le()], [0x0203, 0x04050607, 0x08090a0b0c0d0e0fn]);
    reader.skip(5);
    assert.deepEqual([...reader.bytes(2)], [0, 0]);
    assert.equal(reader.remaining, 1);
    assert.deepEqual([...reader.rest()], [9]);
  });

  test('reading past the end is malformed and says where', () => {
    const reader = new ByteReader(Uint8Array.of(1, 2, 3));
    reader.skip(2);
    assert.throws(() => reader.u16(), new Malformed('2 bytes wanted at 2, 1 left'));
    assert.throws(() => reader.bytes(-1), Malformed);
    assert.equal(reader.position, 2);
  });

  test('a value that does not fit is a bug', () => {
    assert.throws(() => new ByteWriter().u8(256), RangeError);
    assert.throws(() => new ByteWriter().u32(-1), RangeError);
    assert.throws(() => new ByteWriter().u64(-1n), RangeError);
    assert.throws(() => new ByteWriter().u16(1.5), RangeError);
  });
});
