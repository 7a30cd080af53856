import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../src/base/malformed.js';
import { messageType, Option, optionAddress, optionData, optionText } from '../../src/dhcp/options.js';
import { type DhcpMessage, decodeDhcp, encodeDhcp } from '../../src/dhcp/wire.js';

/**
 * A Pi 4's DISCOVER: the fields of captures in raspberrypi/rpi-eeprom#58 and #69, option 97 of the piPXE project's log
 * (4B, 8 GB, revision d03114, MAC e4:5f:01:09:02:f7, serial 91cdf03d); 322 bytes as in the 364-byte frames seen.
 */
const PI_4_DISCOVER = bytesOf(
  '01010600 a1ba5d7b 00000000 00000000 00000000 00000000 00000000',
  'e45f010902f7',
  '00'.repeat(10 + 64 + 128),
  '63825363',
  '350101',
  '370e 01032b3c424380818283848586 87',
  '5d020000',
  '5e03010201',
  '6111 00 34695052 1431d000 010902f7 3df0cd91',
  '3c20 505845436c69656e743a417263683a30303030303a554e44493a303032303031',
  'ff',
);

/** What dnsmasq 2.90 answered to such a DISCOVER in proxy mode (`pxe-service=0,"Raspberry Pi Boot"`), captured on a veth pair. */
const DNSMASQ_OFFER = bytesOf(
  '02010600 0a485863 00008000 00000000 00000000 00000000 00000000',
  'dca632010203',
  '00'.repeat(10 + 64 + 128),
  '63825363 350102 3604c0000201 3c09505845436c69656e74 611100346950521431d000320102036fed9fbf',
  '2b200601030a0400505845091400001152617370626572727920506920426f6f74ff ff',
);

describe('decodeDhcp', () => {
  test('reads a Pi 4’s DISCOVER', () => {
    const message = decodeDhcp(PI_4_DISCOVER);
    assert.equal(PI_4_DISCOVER.length, 322);
    assert.equal(message.xid, 0xa1ba5d7b);
    assert.equal(hex(message.chaddr), 'e45f010902f7');
    assert.equal(messageType(message), 1);
    assert.equal(optionText(message, Option.VendorClassIdentifier), 'PXEClient:Arch:00000:UNDI:002001');
    assert.deepEqual(
      message.options.map(({ code }) => code),
      [53, 55, 93, 94, 97, 60],
    );
  });

  test('reads dnsmasq’s OFFER', () => {
    const message = decodeDhcp(DNSMASQ_OFFER);
    assert.deepEqual([message.op, message.flags, message.yiaddr, message.siaddr], [2, 0x8000, '0.0.0.0', '0.0.0.0']);
    assert.equal(optionAddress(message, Option.ServerIdentifier), '192.0.2.1');
  });

  test('what it read is encoded to the same bytes', () => {
    for (const golden of [PI_4_DISCOVER, DNSMASQ_OFFER]) assert.equal(hex(encodeDhcp(decodeDhcp(golden))), hex(golden));
  });

  test('keeps options that it does not know', () => {
    const message = decodeDhcp(withOptions('e9 03 010203 ff'));
    assert.equal(hex(optionData(message, 0xe9) ?? new Uint8Array()), '010203');
  });

  test('joins an option that comes in pieces (RFC 3396)', () => {
    const message = decodeDhcp(withOptions('3c 03 505845 350101 3c 06 436c69656e74 ff'));
    assert.equal(optionText(message, Option.VendorClassIdentifier), 'PXEClient');
    assert.deepEqual(
      message.options.map(({ code }) => code),
      [60, 53],
    );
  });

  test('reads options in file and sname, in this order, where option 52 says so', () => {
    const both = decodeDhcp(withOptions('340103 3c0150 ff', { file: '3c0158 ff', sname: '3c0145 350101 ff' }));
    assert.equal(optionText(both, Option.VendorClassIdentifier), 'PXE');
    assert.equal(messageType(both), 1);
    assert.deepEqual([both.sname, both.file, optionData(both, Option.Overload)], ['', '', undefined]);

    const fileOnly = decodeDhcp(withOptions('340101 ff', { file: '350101 ff', sname: '6e616d65' }));
    assert.deepEqual([messageType(fileOnly), fileOnly.sname], [1, 'name']);
    const snameOnly = decodeDhcp(withOptions('340102 ff', { file: '66696c65', sname: '350101 ff' }));
    assert.deepEqual([messageType(snameOnly), snameOnly.file], [1, 'file']);
  });

  test('an option 52 inside an overloaded field leads nowhere', () => {
    const message = decodeDhcp(withOptions('340101 ff', { file: '340103 350101 ff', sname: '350102 ff' }));
    assert.equal(messageType(message), 1);
    assert.equal(message.sname, '5\u0001\u0002ÿ');
  });

  test('pads are skipped, and what follows END is ignored', () => {
    assert.equal(messageType(decodeDhcp(withOptions('0000 350101 00 ff 3501'))), 1);
  });

  const malformed: Readonly<Record<string, Uint8Array>> = {
    'hlen over 16': PI_4_DISCOVER.with(2, 17),
    'hlen 255': PI_4_DISCOVER.with(2, 255),
    'no magic cookie': PI_4_DISCOVER.with(239, 0x64),
    'BOOTP of before the cookie': PI_4_DISCOVER.slice(0, 236),
    'an option past the end': withOptions('3c ff 50584543'),
    'an option without its length': withOptions('350101 3c'),
    'no END': withOptions('350101'),
    'pads only': withOptions('00'.repeat(60)),
    'no options at all': withOptions(''),
    'option 52 of no meaning': withOptions('340104 ff'),
    'option 52 of 0': withOptions('340100 ff'),
    'option 52 of two bytes': withOptions('34020101 ff'),
    'option 52 twice': withOptions('340101 340101 ff'),
    'an overloaded file without END': withOptions('340101 ff'),
    'an overloaded sname with an option past its end': withOptions('340102 ff', { sname: '3cff' }),
  };
  for (const [what, bytes] of Object.entries(malformed)) {
    test(`refuses ${what}`, () => {
      assert.throws(() => decodeDhcp(bytes), Malformed);
    });
  }

  test('options of length 0 and 255 are read', () => {
    const message = decodeDhcp(withOptions(`2b00 3c00 6100 3500 2bff${'01'.repeat(255)} ff`));
    assert.equal(optionData(message, 43)?.length, 255);
    assert.equal(messageType(message), undefined);
  });

  test('every prefix of a message is malformed', () => {
    for (const golden of [PI_4_DISCOVER, DNSMASQ_OFFER]) {
      for (let length = 0; length < golden.length; length += 1) {
        assert.throws(() => decodeDhcp(golden.subarray(0, length)), Malformed);
      }
    }
  });

  test('any bytes at all are a message or malformed', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 700 }), decodes));
    const options = fc.uint8Array({ maxLength: 700, size: 'max' });
    fc.assert(fc.property(options, (tail) => decodes(Buffer.concat([PI_4_DISCOVER.subarray(0, 240), tail]))));
  });

  test('a datagram full of tiny pieces is read in no time', () => {
    const message = decodeDhcp(Buffer.concat([withOptions('3c0150'.repeat(20_000)), Uint8Array.of(255)]));
    assert.equal(optionData(message, 60)?.length, 20_000);
  });
});

describe('encodeDhcp', () => {
  test('any message is read back as it was', () => {
    const address = fc.tuple(octet(), octet(), octet(), octet()).map((bytes) => bytes.join('.'));
    const option = fc.record({
      code: fc.integer({ min: 1, max: 254 }).filter((code) => code !== Option.Overload),
      data: fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 250, maxLength: 520, size: 'max' })),
    });
    const message: fc.Arbitrary<DhcpMessage> = fc.record({
      ...{ op: octet(), htype: octet(), hops: octet() },
      ...{ xid: fc.integer({ min: 0, max: 0xffff_ffff }), secs: word(), flags: word() },
      ...{ ciaddr: address, yiaddr: address, siaddr: address, giaddr: address },
      chaddr: fc.uint8Array({ maxLength: 16 }),
      ...{ sname: fc.stringMatching(/^[a-z]{0,64}$/), file: fc.stringMatching(/^[a-z]{0,128}$/) },
      options: fc.uniqueArray(option, { selector: ({ code }) => code, maxLength: 8 }),
    });
    fc.assert(
      fc.property(message, (sent) => {
        const bytes = encodeDhcp(sent);
        assert.ok(bytes.length >= 300);
        const received = decodeDhcp(bytes);
        assert.deepEqual(plain(received), plain(sent));
      }),
      { endOnFailure: true },
    );
  });

  test('fills up to 300 bytes after END, not before', () => {
    const bytes = encodeDhcp({ ...decodeDhcp(PI_4_DISCOVER), options: [{ code: 53, data: Uint8Array.of(1) }] });
    assert.equal(bytes.length, 300);
    assert.equal(hex(bytes.subarray(240)), `350101ff${'00'.repeat(56)}`);
  });

  test('a name that does not fit its field is a bug, not a message', () => {
    assert.throws(() => encodeDhcp({ ...decodeDhcp(PI_4_DISCOVER), sname: 'x'.repeat(65) }), RangeError);
  });
});

function octet() {
  return fc.integer({ min: 0, max: 255 });
}

function word() {
  return fc.integer({ min: 0, max: 0xffff });
}

function decodes(bytes: Uint8Array): void {
  try {
    const message = decodeDhcp(bytes);
    assert.ok(message.chaddr.length <= 16);
  } catch (error) {
    assert.ok(error instanceof Malformed);
  }
}

/** A DISCOVER's fixed part with these options and fields, in hex. */
function withOptions(options: string, fields: { readonly file?: string; readonly sname?: string } = {}): Uint8Array {
  const bytes = Buffer.concat([PI_4_DISCOVER.subarray(0, 240), bytesOf(options)]);
  bytes.set(bytesOf(fields.sname ?? ''), 44);
  bytes.set(bytesOf(fields.file ?? ''), 108);
  return bytes;
}

function plain(message: DhcpMessage): object {
  const options = message.options.map(({ code, data }) => [code, hex(data)]);
  return { ...message, chaddr: hex(message.chaddr), options };
}

function bytesOf(...parts: readonly string[]): Uint8Array {
  return Uint8Array.from(Buffer.from(parts.join('').replaceAll(' ', ''), 'hex'));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
