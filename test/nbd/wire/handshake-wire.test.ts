import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import { Info, Option, OptionReply } from '../../../src/nbd/wire/constants.js';
import {
  decodeClientFlags,
  decodeExportNameReply,
  decodeExportRequest,
  decodeGreeting,
  decodeInfoReply,
  decodeOptionHeader,
  decodeOptionReplyHeader,
  decodeServerEntry,
  encodeAck,
  encodeClientFlags,
  encodeExportNameReply,
  encodeExportRequest,
  encodeGreeting,
  encodeInfoReply,
  encodeOption,
  encodeOptionReply,
  encodeSentence,
  encodeServerEntry,
} from '../../../src/nbd/wire/handshake-wire.js';
import { hex, joined } from '../../support/nbd-bytes.js';

// Each row is laid out by hand from the field lists of proto.md (NetworkBlockDevice/nbd, doc/proto.md, commit 89ba7b5) under
// the heading named, with its magic numbers.
const NBDMAGIC = '4e42444d41474943';
const IHAVEOPT = '49484156454f5054';
const REPLY = '0003e889045565a9';

/** proto.md, "Newstyle negotiation": both flags of "Handshake flags". */
const GREETING = hex(`${NBDMAGIC} ${IHAVEOPT} 0003`);
/** "Client flags": both. */
const CLIENT_FLAGS = hex('00000003');
/** "Newstyle negotiation", an option; data of `NBD_OPT_GO`: name "node1", one info request, NBD_INFO_BLOCK_SIZE. */
const GO_BODY = hex('00000005 6e6f646531 0001 0003');
const GO = joined(hex(`${IHAVEOPT} 00000007 0000000d`), GO_BODY);
/** "Fixed newstyle negotiation", a reply without data. */
const GO_ACK = hex(`${REPLY} 00000007 00000001 00000000`);
/** `NBD_REP_ERR_UNKNOWN` with the sentence "no". */
const GO_UNKNOWN = hex(`${REPLY} 00000007 80000006 00000002 6e6f`);
/** `NBD_REP_INFO` with `NBD_INFO_EXPORT`, 16 GiB, flags 0x016d. */
const INFO_EXPORT_BODY = hex('0000 0000000400000000 016d');
const INFO_EXPORT = joined(hex(`${REPLY} 00000007 00000003 0000000c`), INFO_EXPORT_BODY);
/** `NBD_INFO_BLOCK_SIZE`: 1, 4096, 64 MiB. */
const INFO_BLOCK_SIZE_BODY = hex('0003 00000001 00001000 04000000');
/** `NBD_INFO_NAME`. */
const INFO_NAME_BODY = hex('0001 6e6f646531');
/** `NBD_INFO_DESCRIPTION`. */
const INFO_DESCRIPTION_BODY = hex('0002 6120626f617264');
/** `NBD_REP_SERVER`. */
const SERVER_BODY = hex('00000005 6e6f646531');

const exportFacts = { sizeBytes: 17_179_869_184n, transmissionFlags: 0x016d };

describe('the greeting', () => {
  test('is encoded as proto.md draws it', () => assert.deepEqual(encodeGreeting(3), GREETING));
  test('is decoded to its handshake flags', () => assert.equal(decodeGreeting(GREETING), 3));
  test('of an oldstyle server is told from ours', () => {
    // "Oldstyle negotiation": cliserv_magic in the place of IHAVEOPT.
    assert.throws(() => decodeGreeting(hex(`${NBDMAGIC} 0000420281861253 0000`)), /oldstyle/);
  });
  test('of something else is no NBD', () => assert.throws(() => decodeGreeting(new Uint8Array(18)), Malformed));
});

describe('client flags', () => {
  test('are encoded and decoded as 32 bits', () => {
    assert.deepEqual(encodeClientFlags(3), CLIENT_FLAGS);
    assert.equal(decodeClientFlags(CLIENT_FLAGS), 3);
    assert.equal(decodeClientFlags(hex('ffffffff')), 0xffff_ffff);
  });
});

describe('an option', () => {
  test('is encoded with its length', () => assert.deepEqual(encodeOption(Option.Go, GO_BODY), GO));
  test('is decoded from its header', () => {
    assert.deepEqual(decodeOptionHeader(GO.subarray(0, 16)), { option: Option.Go, lengthBytes: 13 });
  });
  test('without IHAVEOPT is malformed', () => {
    assert.throws(() => decodeOptionHeader(hex(`${NBDMAGIC} 00000007 00000000`)), Malformed);
  });
});

describe('the data of INFO and GO', () => {
  const message = { exportName: 'node1', infoRequests: [Info.BlockSize] };
  test('is encoded', () => assert.deepEqual(encodeExportRequest(message), GO_BODY));
  test('is decoded', () => assert.deepEqual(decodeExportRequest(GO_BODY), message));
  test('comes back from its own bytes', () => {
    const names = fc.string({ unit: 'grapheme', maxLength: 200 });
    const requests = fc.array(fc.nat(0xffff), { maxLength: 50 });
    fc.assert(
      fc.property(names, requests, (exportName, infoRequests) => {
        const again = decodeExportRequest(encodeExportRequest({ exportName, infoRequests }));
        assert.deepEqual(again, { exportName, infoRequests });
      }),
    );
  });
  test('is malformed at every prefix', () => {
    for (let length = 0; length < GO_BODY.length; length += 1) {
      assert.throws(() => decodeExportRequest(GO_BODY.subarray(0, length)), Malformed, `${length} bytes`);
    }
  });
  test('is malformed with a byte too many', () => {
    assert.throws(() => decodeExportRequest(joined(GO_BODY, hex('00'))), Malformed);
  });
  test('is malformed with a name length beyond its end, up to 2³²−1', () => {
    for (const length of ['00000006', '0000000e', '00001001', 'ffffffff']) {
      assert.throws(() => decodeExportRequest(joined(hex(length), GO_BODY.subarray(4))), Malformed, length);
    }
  });
});

describe('an option reply', () => {
  test('is encoded', () => {
    assert.deepEqual(encodeAck(Option.Go), GO_ACK);
    assert.deepEqual(encodeSentence(Option.Go, OptionReply.ErrUnknown, 'no'), GO_UNKNOWN);
    assert.deepEqual(encodeOptionReply(Option.Go, OptionReply.Info, INFO_EXPORT_BODY), INFO_EXPORT);
  });
  test('is decoded from its header', () => {
    const header = { option: Option.Go, reply: OptionReply.ErrUnknown, lengthBytes: 2 };
    assert.deepEqual(decodeOptionReplyHeader(GO_UNKNOWN.subarray(0, 20)), header);
  });
});

describe('an info', () => {
  const rows = [
    { body: INFO_EXPORT_BODY, info: { kind: 'export', ...exportFacts } },
    {
      body: INFO_BLOCK_SIZE_BODY,
      info: { kind: 'blockSize', minimum: 1, preferred: 4096, maximumPayload: 0x400_0000 },
    },
    { body: INFO_DESCRIPTION_BODY, info: { kind: 'description', description: 'a board' } },
    { body: INFO_NAME_BODY, info: { kind: 'name', exportName: 'node1' } },
  ] as const;
  for (const { body, info } of rows) {
    test(`${info.kind} is encoded`, () => assert.deepEqual(encodeInfoReply(info), body));
    test(`${info.kind} is decoded`, () => assert.deepEqual(decodeInfoReply(body), info));
  }
  test('that is not known survives with its code', () => {
    assert.deepEqual(decodeInfoReply(hex('0077 0102')), { kind: 'unknown', code: 0x77 });
  });
});

describe('a name in a list', () => {
  const described = joined(SERVER_BODY, hex('6120626f617264'));
  const rows = [
    { bytes: SERVER_BODY, entry: { exportName: 'node1', description: '' } },
    { bytes: described, entry: { exportName: 'node1', description: 'a board' } },
  ];
  for (const { bytes, entry } of rows) {
    test(`is encoded, description "${entry.description}"`, () => assert.deepEqual(encodeServerEntry(entry), bytes));
    test(`is decoded, description "${entry.description}"`, () => assert.deepEqual(decodeServerEntry(bytes), entry));
  }
  test('is malformed at every prefix', () => {
    for (let length = 0; length < SERVER_BODY.length; length += 1) {
      assert.throws(() => decodeServerEntry(SERVER_BODY.subarray(0, length)), Malformed);
    }
  });
});

describe('the reply to EXPORT_NAME', () => {
  const head = INFO_EXPORT_BODY.subarray(2);
  test('ends in 124 zeroes for a client without NO_ZEROES', () => {
    assert.deepEqual(encodeExportNameReply(exportFacts, { zeroes: true }), joined(head, new Uint8Array(124)));
  });
  test('ends after ten bytes for one with it', () => {
    assert.deepEqual(encodeExportNameReply(exportFacts, { zeroes: false }), head);
  });
  test('is decoded', () => assert.deepEqual(decodeExportNameReply(head), exportFacts));
});

test('any bytes are a message or malformed, to every decoder', () => {
  const decoders = [
    decodeGreeting,
    decodeClientFlags,
    decodeOptionHeader,
    decodeExportRequest,
    decodeOptionReplyHeader,
    decodeInfoReply,
    decodeServerEntry,
    decodeExportNameReply,
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const decode of decoders) {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof Malformed);
        }
      }
    }),
  );
});
