import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import { EXTENDED_REPLIES, SIMPLE_REPLIES, STRUCTURED_REPLIES } from '../../../src/nbd/session/reply-form.js';
import {
  type ChunkBody,
  chunkType,
  decodeChunkBody,
  decodeExtendedHead,
  decodeStructuredHead,
  encodeChunkBody,
  encodeExtendedHead,
  encodeStructuredHead,
} from '../../../src/nbd/wire/chunk-wire.js';
import { Command } from '../../../src/nbd/wire/constants.js';
import { hex, joined, requestOf } from '../../support/nbd-bytes.js';

// Laid out by hand from the field lists of proto.md (NetworkBlockDevice/nbd, doc/proto.md, commit 89ba7b5), "Structured reply
// chunk message" and "Structured reply types".
const COOKIE = '0000002a00000007';
/** The last chunk: OFFSET_DATA, 12 bytes follow. */
const HEAD = hex(`668e33ef 0001 0001 ${COOKIE} 0000000c`);
const HEAD_MESSAGE = { flags: 1, type: 1, cookie: 0x2a_0000_0007n, lengthBytes: 12 };

const BODIES: readonly { readonly type: number; readonly bytes: Uint8Array; readonly body: Known }[] = [
  { type: 0, bytes: hex(''), body: { kind: 'none' } },
  {
    type: 1,
    bytes: hex('0000000100000000 01020304'),
    body: { kind: 'data', offset: 2n ** 32n, data: Uint8Array.of(1, 2, 3, 4) },
  },
  { type: 2, bytes: hex('0000000100000000 00100000'), body: { kind: 'hole', offset: 2n ** 32n, lengthBytes: 1 << 20 } },
  {
    type: 5,
    bytes: hex('00000001 00100000 00000000 00010000 00000003'),
    body: {
      kind: 'blockStatus',
      contextId: 1,
      extents: [
        { lengthBytes: 1 << 20, flags: 0 },
        { lengthBytes: 65_536, flags: 3 },
      ],
    },
  },
  {
    type: 6,
    bytes: hex('00000001 00000002 0000000100000000 0000000000000000 0000000000010000 0000000000000003'),
    body: {
      kind: 'blockStatusExtended',
      contextId: 1,
      extents: [
        { lengthBytes: 2 ** 32, flags: 0 },
        { lengthBytes: 65_536, flags: 3 },
      ],
    },
  },
  { type: 0x8001, bytes: hex('00000016 0002 6e6f'), body: { kind: 'error', error: 22, sentence: 'no' } },
  { type: 0x8001, bytes: hex('00000016 0000'), body: { kind: 'error', error: 22, sentence: '' } },
  {
    type: 0x8002,
    bytes: hex('00000005 0002 6e6f 0000000100000000'),
    body: { kind: 'errorAt', error: 5, sentence: 'no', offset: 2n ** 32n },
  },
];

type Known = Exclude<ChunkBody, { readonly kind: 'unknown' }>;

function headInto(length: number, encode: (target: Uint8Array) => void): Uint8Array {
  const target = new Uint8Array(length + 4).fill(0xa5);
  encode(target);
  assert.deepEqual(target.subarray(length), hex('a5a5a5a5'), 'wrote past its end');
  return target.subarray(0, length);
}

describe('the head of a chunk', () => {
  test('is encoded', () =>
    assert.deepEqual(
      headInto(20, (target) => encodeStructuredHead(HEAD_MESSAGE, target)),
      HEAD,
    ));
  test('is decoded', () => assert.deepEqual(decodeStructuredHead(HEAD), HEAD_MESSAGE));
  test('comes back from its own bytes, whatever the numbers', () => {
    const parts = {
      flags: fc.nat(0xffff),
      type: fc.nat(0xffff),
      cookie: fc.bigInt(0n, 2n ** 64n - 1n),
      lengthBytes: fc.nat(0xffff_ffff),
    };
    fc.assert(
      fc.property(fc.record(parts, { noNullPrototype: true }), (head) => {
        assert.deepEqual(decodeStructuredHead(headInto(20, (target) => encodeStructuredHead(head, target))), head);
      }),
    );
  });
  test('is malformed at every prefix and with the magic of a simple reply', () => {
    for (let length = 0; length < HEAD.length; length += 1) {
      assert.throws(() => decodeStructuredHead(HEAD.subarray(0, length)), Malformed);
    }
    assert.throws(() => decodeStructuredHead(joined(hex('67446698'), HEAD.subarray(4))), Malformed);
  });
});

/** extension-ext-header branch of proto.md (commit of 2023-04-21), "Extended reply chunk message": the same for a request at 4 GiB. */
const EXTENDED = hex(`6e8a278c 0001 0001 ${COOKIE} 0000000100000000 000000000000000c`);
const EXTENDED_MESSAGE = { ...HEAD_MESSAGE, offset: 2n ** 32n };

describe('the extended head of a chunk', () => {
  test('is encoded', () =>
    assert.deepEqual(
      headInto(32, (target) => encodeExtendedHead(EXTENDED_MESSAGE, target)),
      EXTENDED,
    ));
  test('is decoded', () => assert.deepEqual(decodeExtendedHead(EXTENDED), EXTENDED_MESSAGE));
  test('comes back from its own bytes, whatever the numbers', () => {
    const parts = {
      flags: fc.nat(0xffff),
      type: fc.nat(0xffff),
      cookie: fc.bigInt(0n, 2n ** 64n - 1n),
      offset: fc.bigInt(0n, 2n ** 64n - 1n),
      lengthBytes: fc.maxSafeNat(),
    };
    fc.assert(
      fc.property(fc.record(parts, { noNullPrototype: true }), (head) => {
        assert.deepEqual(decodeExtendedHead(headInto(32, (target) => encodeExtendedHead(head, target))), head);
      }),
    );
  });
  test('is malformed at every prefix and with the magic of a structured one', () => {
    for (let length = 0; length < EXTENDED.length; length += 1) {
      assert.throws(() => decodeExtendedHead(EXTENDED.subarray(0, length)), Malformed);
    }
    assert.throws(() => decodeExtendedHead(joined(hex('668e33ef'), EXTENDED.subarray(4))), Malformed);
  });
});

describe('what is in a chunk', () => {
  for (const { type, bytes, body } of BODIES) {
    test(`${body.kind} of ${bytes.length} bytes is encoded`, () => assert.deepEqual(encodeChunkBody(body), bytes));
    test(`${body.kind} of ${bytes.length} bytes is decoded`, () =>
      assert.deepEqual(decodeChunkBody(type, bytes), body));
    test(`${body.kind} of ${bytes.length} bytes has its type`, () => assert.equal(chunkType(body), type));
  }
  test('is malformed at every prefix, but for those that are good too', () => {
    for (const { type, bytes, body } of BODIES) {
      for (let length = 0; length < bytes.length; length += 1) {
        const isGood = (body.kind === 'data' && length > 8) || (body.kind === 'blockStatus' && length === 12);
        if (isGood) continue;
        assert.throws(() => decodeChunkBody(type, bytes.subarray(0, length)), Malformed, `${body.kind} ${length}`);
      }
    }
  });
  test('is malformed where it says nothing', () => {
    assert.throws(() => decodeChunkBody(0, hex('00')), Malformed, 'a NONE with a byte');
    assert.throws(() => decodeChunkBody(1, hex('0000000000000000')), Malformed, 'no data');
    assert.throws(() => decodeChunkBody(2, hex('0000000000000000 00000000')), Malformed, 'a hole of nothing');
    assert.throws(() => decodeChunkBody(2, hex('0000000000000000 00000001 00')), Malformed, 'a hole and a byte');
    assert.throws(() => decodeChunkBody(5, hex('00000001')), Malformed, 'no extents');
    assert.throws(() => decodeChunkBody(5, hex('00000001 00000000 00000000')), Malformed, 'an extent of nothing');
    assert.throws(() => decodeChunkBody(6, hex('00000001 00000000')), Malformed, 'no extents');
    assert.throws(() => decodeChunkBody(6, hex('00000001 ffffffff 0000000000000001 0000000000000000')), Malformed);
    assert.throws(() => decodeChunkBody(0x8001, hex('00000000 0000')), Malformed, 'no error');
    assert.throws(() => decodeChunkBody(0x8001, hex('00000005 ffff 00')), Malformed, 'a sentence beyond the end');
  });
  test('of a type nobody knows is unknown, or an error if bit 15 is set', () => {
    assert.deepEqual(decodeChunkBody(77, hex('01')), { kind: 'unknown', type: 77 });
    assert.deepEqual(decodeChunkBody(0x8077, hex('00000005 0002 6e6f 99')), {
      kind: 'error',
      error: 5,
      sentence: 'no',
    });
  });
  test('of any bytes is a message or malformed', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffff),
        fc.constantFrom(0, 1, 2, 5, 6, 0x8001, 0x8002),
        fc.uint8Array({ maxLength: 40 }),
        (any, known, bytes) => {
          for (const type of [any, known]) {
            try {
              decodeChunkBody(type, bytes);
            } catch (error) {
              assert.ok(error instanceof Malformed);
            }
          }
        },
      ),
    );
  });
});

describe('a reply, in the form that was negotiated', () => {
  const read = requestOf({ command: Command.Read, cookie: 0x2a_0000_0007n, offset: 4096n, lengthBytes: 4 });
  const flush = requestOf({ command: Command.Flush, cookie: 0x2a_0000_0007n });
  const failure = { errno: 'EIO', sentence: 'no' } as const;

  test('has its data in front of it, not a byte moved', () => {
    const into = (form: typeof SIMPLE_REPLIES, isLast: boolean) => {
      const target = new Uint8Array(form.dataHeadBytes + 4).fill(0xa5);
      form.encodeDataHead(read, 4096, isLast, target);
      return target;
    };
    assert.deepEqual(into(SIMPLE_REPLIES, true), hex(`67446698 00000000 ${COOKIE} a5a5a5a5`));
    const chunk = `0001 ${COOKIE} 0000000c 0000000000001000 a5a5a5a5`;
    assert.deepEqual(into(STRUCTURED_REPLIES, true), hex(`668e33ef 0001 ${chunk}`));
    assert.deepEqual(into(STRUCTURED_REPLIES, false), hex(`668e33ef 0000 ${chunk}`));
    const extended = `0001 ${COOKIE} 0000000000001000 000000000000000c 0000000000001000 a5a5a5a5`;
    assert.deepEqual(into(EXTENDED_REPLIES, true), hex(`6e8a278c 0001 ${extended}`));
  });
  test('tells a hole', () => {
    const hole = STRUCTURED_REPLIES.encodeHole(read, 4096, 512, false);
    assert.deepEqual(hole, hex(`668e33ef 0000 0002 ${COOKIE} 0000000c 0000000000001000 00000200`));
  });
  test('tells what lies where', () => {
    const told = STRUCTURED_REPLIES.encodeAllocation(read, [
      { offset: 4096, lengthBytes: 1, kind: 'data' },
      { offset: 4097, lengthBytes: 2, kind: 'zero' },
      { offset: 4099, lengthBytes: 1, kind: 'hole' },
    ]);
    const extents = '00000001 00000000 00000002 00000002 00000001 00000003';
    assert.deepEqual(told, hex(`668e33ef 0001 0005 ${COOKIE} 0000001c 00000001 ${extents}`));
    const large = EXTENDED_REPLIES.encodeAllocation(read, [{ offset: 4096, lengthBytes: 2 ** 40, kind: 'hole' }]);
    const descriptor = '00000001 00000001 0000010000000000 0000000000000003';
    assert.deepEqual(large, hex(`6e8a278c 0001 0006 ${COOKIE} 0000000000001000 0000000000000018 ${descriptor}`));
  });
  test('tells success, simply wherever that is allowed', () => {
    const simple = hex(`67446698 00000000 ${COOKIE}`);
    assert.deepEqual(Uint8Array.from(SIMPLE_REPLIES.encodeDone(flush)), simple);
    assert.deepEqual(Uint8Array.from(STRUCTURED_REPLIES.encodeDone(flush)), simple);
    const none = EXTENDED_REPLIES.encodeDone(flush);
    assert.deepEqual(none, hex(`6e8a278c 0001 0000 ${COOKIE} 0000000000000000 0000000000000000`));
    assert.deepEqual(STRUCTURED_REPLIES.encodeDone(read), hex(`668e33ef 0001 0000 ${COOKIE} 00000000`));
  });
  test('tells failure, in words where there is a place for them', () => {
    assert.deepEqual(Uint8Array.from(SIMPLE_REPLIES.encodeFailure(read, failure)), hex(`67446698 00000005 ${COOKIE}`));
    const error = STRUCTURED_REPLIES.encodeFailure(flush, failure);
    assert.deepEqual(error, hex(`668e33ef 0001 8001 ${COOKIE} 00000008 00000005 0002 6e6f`));
    const errorAt = STRUCTURED_REPLIES.encodeFailure(read, { ...failure, at: 4096 });
    assert.deepEqual(errorAt, hex(`668e33ef 0001 8002 ${COOKIE} 00000010 00000005 0002 6e6f 0000000000001000`));
  });
});
