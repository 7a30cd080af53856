import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import { Command, CommandFlag, Errno } from '../../../src/nbd/wire/constants.js';
import {
  COMPACT_REQUESTS,
  decodeExtendedRequest,
  decodeRequest,
  decodeSimpleReply,
  encodeExtendedRequest,
  encodeRequest,
  encodeSimpleReply,
} from '../../../src/nbd/wire/transmission-wire.js';
import { hex, joined, requestOf } from '../../support/nbd-bytes.js';

/** proto.md (commit 89ba7b5), "Request message": WRITE with FUA of 512 bytes at 4 GiB, cookie as Linux makes them (tag below, counter above). */
const WRITE = hex('25609513 0001 0001 0000002a00000007 0000000100000000 00000200');
const WRITE_MESSAGE = {
  flags: CommandFlag.Fua,
  command: Command.Write,
  cookie: 0x2a_0000_0007n,
  offset: 0x1_0000_0000n,
  lengthBytes: 512,
};
/** proto.md, "Simple reply message": ENOSPC. */
const REPLY = hex('67446698 0000001c 0000002a00000007');
const REPLY_MESSAGE = { error: Errno.ENOSPC, cookie: 0x2a_0000_0007n };

function encodedInto(length: number, encode: (target: Uint8Array) => void): Uint8Array {
  const target = new Uint8Array(length + 4).fill(0xa5);
  encode(target);
  assert.deepEqual(target.subarray(length), hex('a5a5a5a5'), 'wrote past its end');
  return target.subarray(0, length);
}

describe('a request', () => {
  test('is encoded', () =>
    assert.deepEqual(
      encodedInto(28, (target) => encodeRequest(WRITE_MESSAGE, target)),
      WRITE,
    ));
  test('is decoded', () => assert.deepEqual(decodeRequest(WRITE), WRITE_MESSAGE));
  test('comes back from its own bytes, whatever the numbers', () => {
    const parts = {
      flags: fc.nat(0xffff),
      command: fc.nat(0xffff),
      cookie: fc.bigInt(0n, 2n ** 64n - 1n),
      offset: fc.bigInt(0n, 2n ** 64n - 1n),
      lengthBytes: fc.nat(0xffff_ffff),
    };
    const message = fc.record(parts, { noNullPrototype: true });
    fc.assert(
      fc.property(message, (request) => {
        const bytes = encodedInto(28, (target) => encodeRequest(request, target));
        assert.deepEqual(decodeRequest(bytes), request);
      }),
    );
  });
  test('is malformed at every prefix and with any other magic', () => {
    for (let length = 0; length < WRITE.length; length += 1) {
      assert.throws(() => decodeRequest(WRITE.subarray(0, length)), Malformed);
    }
    // Reserved and historic magics (proto.md, "Reserved Magic values") are no requests either.
    for (const magic of ['12560953', '25609514', '21e41c71', '00000000']) {
      assert.throws(() => decodeRequest(Uint8Array.from([...hex(magic), ...WRITE.subarray(4)])), Malformed);
    }
  });
  test('of any bytes is a message or malformed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        try {
          decodeRequest(bytes);
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }),
    );
  });
  test('has a payload only if it is a WRITE', () => {
    assert.equal(COMPACT_REQUESTS.payloadBytes(WRITE_MESSAGE), 512);
    for (const command of [0, 2, 3, 4, 5, 6, 7, 8, 0xffff]) {
      assert.equal(COMPACT_REQUESTS.payloadBytes(requestOf({ command, lengthBytes: 512 })), 0);
    }
  });
});

/**
 * extension-ext-header branch of proto.md (commit of 2023-04-21), "Request message": WRITE of 4 GiB + 512 bytes of payload at 4 GiB, with FUA and
 * PAYLOAD_LEN.
 */
const EXTENDED = hex('21e41c71 0021 0001 0000002a00000007 0000000100000000 0000000100000200');
const EXTENDED_MESSAGE = {
  ...WRITE_MESSAGE,
  flags: CommandFlag.Fua | CommandFlag.PayloadLen,
  lengthBytes: 2 ** 32 + 512,
};

describe('an extended request', () => {
  test('is encoded', () =>
    assert.deepEqual(
      encodedInto(32, (target) => encodeExtendedRequest(EXTENDED_MESSAGE, target)),
      EXTENDED,
    ));
  test('is decoded', () => assert.deepEqual(decodeExtendedRequest(EXTENDED), EXTENDED_MESSAGE));
  test('comes back from its own bytes, whatever the numbers', () => {
    const parts = {
      flags: fc.nat(0xffff),
      command: fc.nat(0xffff),
      cookie: fc.bigInt(0n, 2n ** 64n - 1n),
      offset: fc.bigInt(0n, 2n ** 64n - 1n),
      lengthBytes: fc.maxSafeNat(),
    };
    fc.assert(
      fc.property(fc.record(parts, { noNullPrototype: true }), (request) => {
        const bytes = encodedInto(32, (target) => encodeExtendedRequest(request, target));
        assert.deepEqual(decodeExtendedRequest(bytes), request);
      }),
    );
  });
  test('may have a length that no disk has, which stays as long', () => {
    const longest = Uint8Array.from([...EXTENDED.subarray(0, 24), ...hex('ffffffffffffffff')]);
    assert.equal(decodeExtendedRequest(longest).lengthBytes, 2 ** 64);
  });
  test('is malformed at every prefix and with the magic of a compact one', () => {
    for (let length = 0; length < EXTENDED.length; length += 1) {
      assert.throws(() => decodeExtendedRequest(EXTENDED.subarray(0, length)), Malformed);
    }
    assert.throws(() => decodeExtendedRequest(joined(hex('25609513'), EXTENDED.subarray(4))), Malformed);
  });
});

describe('a simple reply', () => {
  test('is encoded', () =>
    assert.deepEqual(
      encodedInto(16, (target) => encodeSimpleReply(REPLY_MESSAGE, target)),
      REPLY,
    ));
  test('is decoded', () => assert.deepEqual(decodeSimpleReply(REPLY), REPLY_MESSAGE));
  test('is malformed at every prefix and with the magic of a structured one', () => {
    for (let length = 0; length < REPLY.length; length += 1) {
      assert.throws(() => decodeSimpleReply(REPLY.subarray(0, length)), Malformed);
    }
    assert.throws(() => decodeSimpleReply(hex('668e33ef 00000000 0000000000000001')), Malformed);
  });
});
