import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { TFTP_ERROR_TEXT_BYTES_MAX, TFTP_OPTIONS_MAX, TFTP_REQUEST_BYTES_MAX } from '../../src/base/limits.js';
import { Malformed } from '../../src/base/malformed.js';
import {
  decodePacket,
  encodeAck,
  encodeData,
  encodeError,
  encodeOptionAck,
  encodeRequest,
  type TftpPacket,
  writeDataHeader,
} from '../../src/tftp/wire.js';

const latin1 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));

interface GoldenRequest {
  readonly from: string;
  readonly bytes: string;
  readonly path: string;
  readonly options: readonly (readonly [string, string])[];
}

/** RRQs, all in octet mode, and where they come from. Those of programs were taken from a socket, with Debian 12's versions. */
const REQUESTS: readonly GoldenRequest[] = [
  { from: 'RFC 1350 figure 5-1', bytes: '\0\x01foobar\0octet\0', path: 'foobar', options: [] },
  {
    from: 'the example of RFC 2348',
    bytes: '\0\x01foobar\0octet\0blksize\x001428\0',
    path: 'foobar',
    options: [['blksize', '1428']],
  },
  {
    from: 'the example of RFC 2349, timeout',
    bytes: '\0\x01foobar\0octet\0timeout\x001\0',
    path: 'foobar',
    options: [['timeout', '1']],
  },
  {
    from: 'the example of RFC 2349, tsize',
    bytes: '\0\x01foobar\0octet\0tsize\x000\0',
    path: 'foobar',
    options: [['tsize', '0']],
  },
  {
    from: 'the example of RFC 7440',
    bytes: '\0\x01foobar\0octet\0windowsize\x0016\0',
    path: 'foobar',
    options: [['windowsize', '16']],
  },
  {
    from: 'curl 7.88 -m 2',
    bytes: '\0\x0100000001/a.txt\0octet\0tsize\x000\0blksize\x00512\0timeout\x001\0',
    path: '00000001/a.txt',
    options: [
      ['tsize', '0'],
      ['blksize', '512'],
      ['timeout', '1'],
    ],
  },
  {
    from: 'curl 7.88 --tftp-no-options, tftp-hpa 5.2 -m binary',
    bytes: '\0\x0100000001/a.txt\0octet\0',
    path: '00000001/a.txt',
    options: [],
  },
  {
    from: 'busybox 1.35 tftp -b 1468',
    bytes: '\0\x0100000001/a.txt\0octet\0blksize\x001468\0tsize\x000\0',
    path: '00000001/a.txt',
    options: [
      ['blksize', '1468'],
      ['tsize', '0'],
    ],
  },
  {
    from: 'atftp 0.8 with four options',
    bytes: '\0\x0100000001/a.txt\0octet\0tsize\x000\0timeout\x002\0blksize\x001468\0windowsize\x0016\0',
    path: '00000001/a.txt',
    options: [
      ['tsize', '0'],
      ['timeout', '2'],
      ['blksize', '1468'],
      ['windowsize', '16'],
    ],
  },
  {
    from: 'atftp 0.8 --option multicast: an empty value',
    bytes: '\0\x0100000001/a.txt\0octet\0multicast\0\0',
    path: '00000001/a.txt',
    options: [['multicast', '']],
  },
];

describe('golden requests', () => {
  for (const { from, bytes, path, options } of REQUESTS) {
    const request = { kind: 'rrq' as const, path, mode: 'octet', options: new Map(options) };
    test(`decodes ${from}`, () => assert.deepEqual(decodePacket(latin1(bytes)), request));
    test(`encodes ${from}`, () => assert.deepEqual(encodeRequest(request), latin1(bytes)));
  }

  test('mirrors a WRQ (RFC 1350 figure 5-1)', () => {
    const bytes = latin1('\0\x02foobar\0netascii\0');
    const packet = decodePacket(bytes);
    assert.deepEqual(packet, { kind: 'wrq', path: 'foobar', mode: 'netascii', options: new Map() });
    assert.deepEqual(encodeRequest({ kind: 'wrq', path: 'foobar', mode: 'netascii', options: new Map() }), bytes);
  });
});

describe('golden packets behind the request', () => {
  const rows: readonly [string, Uint8Array, TftpPacket, Uint8Array][] = [
    [
      'OACK of the example in RFC 2347',
      latin1('\0\x06blksize\x001432\0'),
      { kind: 'oack', options: new Map([['blksize', '1432']]) },
      encodeOptionAck(new Map([['blksize', '1432']])),
    ],
    ['ACK 0 of the example in RFC 2347', latin1('\0\x04\0\0'), { kind: 'ack', block: 0 }, encodeAck(0)],
    ['ACK 65535 (RFC 1350 figure 5-3)', latin1('\0\x04\xff\xff'), { kind: 'ack', block: 65535 }, encodeAck(65535)],
    [
      'DATA 258 (RFC 1350 figure 5-2)',
      latin1('\0\x03\x01\x02abc'),
      { kind: 'data', block: 258, payload: latin1('abc') },
      encodeData(258, latin1('abc')),
    ],
    [
      'the empty DATA block that ends a file of whole blocks',
      latin1('\0\x03\0\x02'),
      { kind: 'data', block: 2, payload: new Uint8Array(0) },
      encodeData(2, new Uint8Array(0)),
    ],
    [
      'the ERROR by which a Pi ends a probe (raspberrypi/firmware#1700)',
      latin1('\0\x05\0\0Early terminate\0'),
      { kind: 'error', code: 0, message: 'Early terminate' },
      encodeError(0, 'Early terminate'),
    ],
  ];
  for (const [name, bytes, packet, encoded] of rows) {
    test(`decodes ${name}`, () => assert.deepEqual(decodePacket(bytes), packet));
    test(`encodes ${name}`, () => assert.deepEqual(encoded, bytes));
  }

  test('a DATA header is written whole, whatever was there before', () => {
    const packet = new Uint8Array(6).fill(0xa5);
    writeDataHeader(packet, 0x1234);
    assert.deepEqual([...packet], [0, 3, 0x12, 0x34, 0xa5, 0xa5]);
  });
});

describe('what peers get wrong', () => {
  test('option names and the mode are case-blind', () => {
    const packet = decodePacket(latin1('\0\x01f\0OcTeT\0BLKSIZE\x001468\0'));
    assert.deepEqual(packet, { kind: 'rrq', path: 'f', mode: 'octet', options: new Map([['blksize', '1468']]) });
  });

  test('of an option given twice the first counts', () => {
    const packet = decodePacket(latin1('\0\x01f\0octet\0blksize\x00512\0BlkSize\x0065464\0'));
    assert.deepEqual(packet.kind === 'rrq' && [...packet.options], [['blksize', '512']]);
  });

  test('padding, an option without a value and one without an end are dropped', () => {
    for (const tail of ['\0\0\0', 'tsize\0', 'tsize\x000', 'tsize']) {
      const packet = decodePacket(latin1(`\0\x01f\0octet\0${tail}`));
      assert.equal(packet.kind === 'rrq' && packet.options.size, 0, JSON.stringify(tail));
    }
  });

  test('a request with no end of its name or mode is malformed', () => {
    for (const body of ['', 'f', 'f\0', 'f\0octet']) {
      assert.throws(() => decodePacket(latin1(`\0\x01${body}`)), Malformed, JSON.stringify(body));
    }
  });

  test('an empty name is a name', () => {
    assert.deepEqual(decodePacket(latin1('\0\x01\0octet\0')), {
      kind: 'rrq',
      path: '',
      mode: 'octet',
      options: new Map(),
    });
  });

  test('a request longer than RFC 2347 allows is malformed, a name of 65 KB too', () => {
    const fitting = `\0\x01${'x'.repeat(TFTP_REQUEST_BYTES_MAX - 9)}\0octet\0`;
    assert.equal(fitting.length, TFTP_REQUEST_BYTES_MAX);
    assert.equal(decodePacket(latin1(fitting)).kind, 'rrq');
    assert.throws(() => decodePacket(latin1(`${fitting}\0`)), Malformed);
    assert.throws(() => decodePacket(latin1(`\0\x01${'x'.repeat(65_000)}\0octet\0`)), Malformed);
  });

  test('no more options are kept than there is a use for', () => {
    const many = Array.from({ length: 60 }, (_, index) => `${index}\0v\0`).join('');
    const packet = decodePacket(latin1(`\0\x01f\0octet\0${many}`));
    assert.equal(packet.kind === 'rrq' && packet.options.size, TFTP_OPTIONS_MAX);
  });

  test('a name is UTF-8, and an overlong "/" or "." does not become one', () => {
    const name = decodePacket(Uint8Array.from([0, 1, ...Buffer.from('ü.txt'), 0, ...Buffer.from('octet'), 0]));
    assert.equal(name.kind === 'rrq' && name.path, 'ü.txt');
    const overlong = decodePacket(latin1('\0\x01\xc0\xae\xc0\xae\xc0\xafx\0octet\0'));
    assert.equal(overlong.kind === 'rrq' && /[./]/.test(overlong.path), false);
  });

  test('an unknown opcode is a packet, fewer than two bytes are none', () => {
    assert.deepEqual(decodePacket(latin1('\0\x07x')), { kind: 'unknown', opcode: 7 });
    assert.deepEqual(decodePacket(latin1('GET / HTTP/1.0')), { kind: 'unknown', opcode: 0x4745 });
    for (const bytes of ['', '\0']) assert.throws(() => decodePacket(latin1(bytes)), Malformed);
  });

  test('an ACK, DATA or ERROR of three bytes is malformed, an ERROR without text is not', () => {
    for (const opcode of [3, 4, 5]) assert.throws(() => decodePacket(Uint8Array.of(0, opcode, 0)), Malformed);
    assert.deepEqual(decodePacket(Uint8Array.of(0, 5, 0, 1)), { kind: 'error', code: 1, message: '' });
  });

  test('zeroes behind an ACK are not looked at (raspberrypi/firmware#1898)', () => {
    assert.deepEqual(decodePacket(latin1(`\0\x04\0\x07${'\0'.repeat(14)}`)), { kind: 'ack', block: 7 });
  });

  test('text of an ERROR is bounded and printable in both directions', () => {
    const sent = encodeError(1, `${'é\n\0'.repeat(200)}`);
    assert.ok(sent.length <= 4 + TFTP_ERROR_TEXT_BYTES_MAX + 1);
    assert.equal(sent.at(-1), 0);
    assert.match(Buffer.from(sent.subarray(4, -1)).toString('latin1'), /^[\x20-\x7e]+$/);
    const received = decodePacket(latin1(`\0\x05\0\x01a\nb\x1b[2J${'z'.repeat(500)}`));
    assert.equal(received.kind === 'error' && /\p{Cc}/u.test(received.message), false);
    assert.ok(received.kind === 'error' && received.message.length <= TFTP_ERROR_TEXT_BYTES_MAX);
  });

  test('a NUL in what we encode is a bug, not a shorter string', () => {
    assert.throws(() => encodeRequest({ kind: 'rrq', path: 'a\0b', mode: 'octet', options: new Map() }), RangeError);
  });
});

describe('any bytes', () => {
  const packetOrMalformed = (bytes: Uint8Array): TftpPacket | undefined => {
    try {
      return decodePacket(bytes);
    } catch (error) {
      assert.ok(error instanceof Malformed, String(error));
      return undefined;
    }
  };

  test('are a packet or malformed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.integer({ min: 0, max: 8 }), (bytes, opcode) => {
        packetOrMalformed(bytes);
        packetOrMalformed(Uint8Array.of(0, opcode, ...bytes));
      }),
    );
  });

  test('every prefix of a good packet is a packet or malformed', () => {
    for (const { bytes } of REQUESTS) {
      for (let end = 0; end <= bytes.length; end += 1) packetOrMalformed(latin1(bytes).subarray(0, end));
    }
  });

  test('what is encoded is decoded to the same', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((value) => !value.includes('\0'));
    const name = text
      .map((value) => value.toLowerCase())
      .filter((value) => value !== '' && value === value.toLowerCase());
    fc.assert(
      fc.property(text, fc.array(fc.tuple(name, text), { maxLength: 3 }), (path, options) => {
        const request = { kind: 'rrq' as const, path, mode: 'octet', options: new Map(options) };
        const bytes = encodeRequest(request);
        fc.pre(bytes.length <= TFTP_REQUEST_BYTES_MAX);
        assert.deepEqual(decodePacket(bytes), request);
      }),
    );
  });
});
