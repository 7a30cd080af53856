import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import {
  decodeMetaContext,
  decodeMetaContextRequest,
  encodeMetaContext,
  encodeMetaContextRequest,
} from '../../../src/nbd/wire/meta-context-wire.js';
import { hex, joined } from '../../support/nbd-bytes.js';

// Laid out by hand from the field lists of proto.md (NetworkBlockDevice/nbd, doc/proto.md, commit 89ba7b5).
/** `NBD_OPT_SET_META_CONTEXT`: export "node1", queries "base:allocation" and "". */
const REQUEST = hex('00000005 6e6f646531 00000002 0000000f 626173653a616c6c6f636174696f6e 00000000');
const REQUEST_MESSAGE = { exportName: 'node1', queries: ['base:allocation', ''] };
/** `NBD_REP_META_CONTEXT`. */
const CONTEXT = hex('00000001 626173653a616c6c6f636174696f6e');
const CONTEXT_MESSAGE = { id: 1, name: 'base:allocation' };

describe('the data of LIST_ and SET_META_CONTEXT', () => {
  test('is encoded', () => assert.deepEqual(encodeMetaContextRequest(REQUEST_MESSAGE), REQUEST));
  test('is decoded', () => assert.deepEqual(decodeMetaContextRequest(REQUEST), REQUEST_MESSAGE));
  test('comes back from its own bytes', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 100 });
    fc.assert(
      fc.property(text, fc.array(text, { maxLength: 20 }), (exportName, queries) => {
        const again = decodeMetaContextRequest(encodeMetaContextRequest({ exportName, queries }));
        assert.deepEqual(again, { exportName, queries });
      }),
    );
  });
  test('is malformed at every prefix, and with a byte too many', () => {
    for (let length = 0; length < REQUEST.length; length += 1) {
      assert.throws(() => decodeMetaContextRequest(REQUEST.subarray(0, length)), Malformed, `${length} bytes`);
    }
    assert.throws(() => decodeMetaContextRequest(joined(REQUEST, hex('00'))), Malformed);
  });
  test('is malformed with lengths and counts beyond its end, up to 2³²−1, and takes no memory for them', () => {
    for (const bytes of [
      'ffffffff 6e6f646531 00000000',
      '00001001 6e6f646531 00000000',
      '00000005 6e6f646531 ffffffff',
      '00000005 6e6f646531 40000000 00000000',
      '00000005 6e6f646531 00000001 ffffffff',
      '00000005 6e6f646531 00000001 00001001',
    ]) {
      assert.throws(() => decodeMetaContextRequest(hex(bytes)), Malformed, bytes);
    }
  });
});

describe('a metadata context', () => {
  test('is encoded', () => assert.deepEqual(encodeMetaContext(CONTEXT_MESSAGE), CONTEXT));
  test('is decoded', () => assert.deepEqual(decodeMetaContext(CONTEXT), CONTEXT_MESSAGE));
  test('is malformed without an id', () => {
    for (let length = 0; length < 4; length += 1) {
      assert.throws(() => decodeMetaContext(CONTEXT.subarray(0, length)), Malformed);
    }
  });
});

test('any bytes are a message or malformed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      for (const decode of [decodeMetaContext, decodeMetaContextRequest]) {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }
    }),
  );
});
