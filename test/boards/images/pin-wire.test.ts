import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PIN_BYTES_MAX } from '../../../src/base/limits.js';
import type { Pin } from '../../../src/boards/images/pin.js';
import { decodePin, encodePin } from '../../../src/boards/images/pin-wire.js';

const PIN: Pin = {
  id: '0123456789abcdef0123456789abcdef',
  file: '/srv/images/noble.img',
  sizeBytes: 16_013_942_784,
  seen: { kind: 'file', mtimeNs: 1_700_000_000_123_456_789n, ctimeNs: -1n, inode: 131n, device: 65_024n },
  digest: 'ab'.repeat(32),
  pinnedAt: new Date('2026-11-20T21:14:40.000Z'),
};

const GOLDEN =
  '{"format":"brambleboot image version","version":1,"pin":{"id":"0123456789abcdef0123456789abcdef","file":"/srv/images/noble.img",' +
  '"sizeBytes":16013942784,"seen":{"kind":"file","mtimeNs":"1700000000123456789","ctimeNs":"-1","inode":"131","device":"65024"},' +
  `"digest":"${'ab'.repeat(32)}","pinnedAt":"2026-11-20T21:14:40.000Z"},"checksum":"CHECKSUM"}\n`;

test('a pin is written as documented', () => {
  const text = encodePin(PIN);
  assert.equal(text.replace(/"checksum":"[0-9a-f]{8}"/, '"checksum":"CHECKSUM"'), GOLDEN);
});

test('what was written is read', () => {
  for (const pin of [PIN, { ...PIN, digest: undefined, seen: undefined }]) {
    assert.deepEqual(decodePin(PIN.id, encodePin(pin)), { answer: 'pin', pin });
  }
});

test('the longest path fits', () => {
  const pin = { ...PIN, file: `/${'\u0001'.repeat(4094)}` };
  assert.ok(encodePin(pin).length <= PIN_BYTES_MAX);
  assert.deepEqual(decodePin(PIN.id, encodePin(pin)), { answer: 'pin', pin });
});

test('any text is a pin or a fault, and every change of one character is noticed', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => decodePin(PIN.id, text).answer === 'faulty'));
  const text = encodePin(PIN).trimEnd();
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
      fc.pre(text[at] !== character);
      const changed = `${text.slice(0, at)}${character}${text.slice(at + 1)}`;
      const verdict = decodePin(PIN.id, changed);
      if (verdict.answer === 'pin') assert.deepEqual(verdict.pin, PIN); // a blank between two words of JSON, say
    }),
  );
  for (let end = 0; end < text.length; end += 1)
    assert.equal(decodePin(PIN.id, text.slice(0, end)).answer, 'faulty', `${end}`);
});
