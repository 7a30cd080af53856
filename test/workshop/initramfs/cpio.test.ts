import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CPIO_CONTENT_BYTES_MAX } from '../../../src/base/limits.js';
import { Malformed } from '../../../src/base/malformed.js';
import { CpioReader } from '../../../src/workshop/initramfs/cpio.js';
import { cpioArchive } from '../../support/initramfs-archive.js';

const MEMBERS = ['init', { path: './bin/sh', content: 'abcde' }, { path: '/a/b', content: 'x'.repeat(4096) }, 'last'];
const ARCHIVE = cpioArchive(MEMBERS);

/** `printf hi > hi; echo hi | cpio -o -H newc --reproducible` (GNU cpio 2.13), with the times zeroed; padded to 512. */
const GOLDEN = Buffer.concat([
  Buffer.from(
    '070701000000000000' +
      '81A4000000000000000000000001000000000000000200000000000000000000000000000000' +
      '0000000300000000hi\0\0\0\0hi\0\0' +
      '07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000B00000000TRAILER!!!\0',
    'latin1',
  ),
  Buffer.alloc(271),
]);

describe('a cpio archive', () => {
  test('lists its members without ./ or / in front, and hands over wanted content', () => {
    const seen = visit(ARCHIVE);
    assert.deepEqual(seen.paths, ['init', 'bin/sh', 'a/b', 'last']);
    assert.equal(seen.contents[0], 'abcde');
    assert.equal(seen.taken, ARCHIVE.length);
    assert.equal(seen.isComplete, true);
  });

  test('is read as GNU cpio writes it', () => {
    const seen = visit(GOLDEN);
    assert.deepEqual(seen.paths, ['hi']);
    assert.deepEqual(seen.contents, ['hi']);
    assert.equal(seen.isComplete, true);
  });

  test('with a checksum ("070702") is read the same', () => {
    assert.deepEqual(visit(cpioArchive(MEMBERS, '070702')).paths, ['init', 'bin/sh', 'a/b', 'last']);
  });

  test('may follow another one, behind any number of zeroes', () => {
    const two = Buffer.concat([ARCHIVE, Buffer.alloc(512 - (ARCHIVE.length % 512)), cpioArchive(['second'])]);
    assert.deepEqual(visit(two).paths.at(-1), 'second');
  });

  test('ends where something else begins, and says where', () => {
    const followed = Buffer.concat([ARCHIVE, Buffer.alloc(7), Buffer.from([0x1f, 0x8b, 8])]);
    assert.equal(visit(followed).taken, ARCHIVE.length + 7);
  });

  test('comes out the same however it is cut into pieces', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 60 }), (lengths) => {
        const seen = visit(ARCHIVE, lengths);
        assert.deepEqual(seen.paths, ['init', 'bin/sh', 'a/b', 'last']);
        assert.deepEqual(
          seen.contents.map((text) => text.length),
          [5, 4096],
        );
      }),
    );
  });

  test('cut short anywhere is not complete and tells no member twice', () => {
    for (let length = 1; length < ARCHIVE.length - 20; length += 1) {
      const seen = visit(ARCHIVE.subarray(0, length));
      assert.equal(seen.isComplete, false);
      assert.deepEqual(seen.paths, ['init', 'bin/sh', 'a/b', 'last'].slice(0, seen.paths.length));
    }
  });

  test('of the old kind is refused with what to do', () => {
    assert.throws(() => visit(Buffer.from('070707'.padEnd(200, '0'))), /cpio -H newc/);
  });

  test('with a name or number out of bounds is malformed', () => {
    const broken = (at: number, text: string) => {
      const bytes = Buffer.from(ARCHIVE);
      bytes.write(text, at, 'latin1');
      return () => visit(bytes);
    };
    assert.throws(broken(6 + 11 * 8, 'FFFFFFFF'), Malformed);
    assert.throws(broken(6 + 11 * 8, '00000000'), Malformed);
    assert.throws(broken(6 + 6 * 8, '-0000001'), Malformed);
    assert.throws(broken(6 + 6 * 8, '0x000001'), Malformed);
  });

  test('hands over no content larger than the limit, nor makes room for it', () => {
    const bytes = Buffer.from(cpioArchive([{ path: 'huge', content: 'x' }]));
    bytes.write('FFFFFFF0', 6 + 6 * 8, 'latin1');
    const seen = visit(bytes);
    assert.deepEqual(seen.contents, []);
    const large = cpioArchive([{ path: 'large', content: new Uint8Array(CPIO_CONTENT_BYTES_MAX + 1) }, 'after']);
    assert.deepEqual(visit(large).paths, ['large', 'after']);
    assert.deepEqual(visit(large).contents, []);
  });

  test('may be any bytes at all', () => {
    const mutated = fc
      .tuple(fc.nat(ARCHIVE.length - 1), fc.uint8Array({ maxLength: 40 }))
      .map(([at, bytes]) => Buffer.concat([ARCHIVE.subarray(0, at), bytes, ARCHIVE.subarray(at + bytes.length)]));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated), (bytes) => {
        try {
          visit(bytes);
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** Reads `bytes` in pieces of these lengths, over and over; in one piece without any. */
function visit(bytes: Uint8Array, lengths: readonly number[] = []) {
  const paths: string[] = [];
  const contents: string[] = [];
  const reader = new CpioReader({
    entry({ path }) {
      paths.push(path);
      return true;
    },
    content(_entry, content) {
      contents.push(Buffer.from(content).toString('latin1'));
    },
  });
  let taken = 0;
  for (let turn = 0; taken < bytes.length; turn += 1) {
    const length = lengths[turn % lengths.length] ?? bytes.length;
    const piece = bytes.subarray(taken, taken + length);
    const used = reader.feed(piece);
    taken += used;
    if (used < piece.length) break;
  }
  return { paths, contents, taken, isComplete: reader.isComplete };
}
