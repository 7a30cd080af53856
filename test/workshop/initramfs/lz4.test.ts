import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import { decodeLz4Block, unpackLz4Frame, unpackLz4Legacy } from '../../../src/workshop/initramfs/lz4.js';
import type { Unpacking } from '../../../src/workshop/initramfs/unpacking.js';

const TEXT = 'brambleboot '.repeat(8);
/** `printf 'brambleboot %.0s' 1 2 3 4 5 6 7 8 | lz4 -l` (lz4 1.9.4). */
const LEGACY = Buffer.from('02214c1816000000cf6272616d626c65626f6f74200c003c50626f6f7420', 'hex');
/** The same with `lz4` alone: a frame with content checksum and independent blocks. */
const FRAME = Buffer.from('04224d186440a716000000cf6272616d626c65626f6f74200c003c50626f6f74200000000017bdd2e8', 'hex');

describe('an lz4 block', () => {
  test('is literals and matches that may overlap what they make', () => {
    // One literal, then a match of 4 + 15 + 3 bytes at distance 1, then the last literals.
    assert.equal(block([0x1f, 0x61, 0x01, 0x00, 0x03, 0x10, 0x62]), `${'a'.repeat(23)}b`);
    assert.equal(block([0x32, 0x61, 0x62, 0x63, 0x03, 0x00, 0x10, 0x2e]), 'abcabcabc.');
    assert.equal(block([0x00]), '');
  });

  test('has long matches too', () => {
    assert.equal(block([0x2f, 0x61, 0x62, 0x02, 0x00, 0xff, 0x0a, 0x10, 0x2e]), `${'ab'.repeat(143)}.`);
  });

  test('reaches back no further than its beginning, and makes no more than there is room for', () => {
    assert.throws(() => block([0x10, 0x61, 0x02, 0x00]), Malformed);
    assert.throws(() => block([0x10, 0x61, 0x00, 0x00]), Malformed);
    assert.throws(
      () => decodeLz4Block(Uint8Array.of(0x1f, 0x61, 1, 0, 255, 255, 0, 0), new Uint8Array(64), 0),
      Malformed,
    );
    assert.throws(() => decodeLz4Block(Uint8Array.of(0x50, 1, 2, 3, 4, 5), new Uint8Array(4), 0), Malformed);
  });

  test('may be any bytes at all', () => {
    const output = new Uint8Array(5000);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          assert.ok(decodeLz4Block(bytes, output, 1000) <= output.length);
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('lz4 as the kernel takes it (legacy)', () => {
  test('unpacks, and takes what is its own', async () => {
    assert.deepEqual(await unpack(unpackLz4Legacy(LEGACY)), { text: TEXT, taken: LEGACY.length });
  });

  test('ends where no block can follow: at zeroes, at another archive', async () => {
    for (const tail of [Buffer.alloc(8), Buffer.from('070701'), Buffer.from([1])]) {
      assert.deepEqual(await unpack(unpackLz4Legacy(Buffer.concat([LEGACY, tail]))), {
        text: TEXT,
        taken: LEGACY.length,
      });
    }
  });

  test('goes on in an appended stream', async () => {
    assert.equal((await unpack(unpackLz4Legacy(Buffer.concat([LEGACY, LEGACY])))).text, TEXT + TEXT);
  });
});

describe('lz4 in its frame format', () => {
  test('unpacks, and takes what is its own', async () => {
    const followed = Buffer.concat([FRAME, Buffer.from('next')]);
    assert.deepEqual(await unpack(unpackLz4Frame(followed)), { text: TEXT, taken: FRAME.length });
  });

  test('has stored blocks, and blocks that refer back to the one before', async () => {
    const header = [0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0x00];
    const stored = [0x03, 0, 0, 0x80, 0x61, 0x62, 0x63];
    const back = [0x05, 0, 0, 0, 0x02, 0x03, 0x00, 0x10, 0x2e];
    const frame = Uint8Array.from([...header, ...stored, ...back, 0, 0, 0, 0]);
    assert.equal((await unpack(unpackLz4Frame(frame))).text, 'abcabcabc.');
  });
});

test('both formats may be any bytes at all, and cut anywhere', async () => {
  for (const whole of [LEGACY, FRAME]) {
    const start = whole === LEGACY ? unpackLz4Legacy : unpackLz4Frame;
    for (let length = 4; length < whole.length; length += 1) {
      try {
        const { text } = await unpack(start(whole.subarray(0, length)));
        assert.ok(TEXT.startsWith(text));
      } catch (error) {
        assert.ok(error instanceof Malformed);
      }
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
        try {
          await unpack(start(Buffer.concat([whole.subarray(0, 4), bytes])));
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }),
    );
  }
});

function block(bytes: readonly number[]): string {
  const output = Buffer.alloc(400, 0xa5);
  return output.subarray(0, decodeLz4Block(Uint8Array.from(bytes), output, 0)).toString('latin1');
}

async function unpack(unpacking: Unpacking) {
  let text = '';
  for (;;) {
    const { done, value } = await unpacking.next();
    if (done) return { text, taken: value };
    text += Buffer.from(value).toString('latin1');
  }
}
