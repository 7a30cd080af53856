import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import { decodeGptEntry, decodeGptHeader, headerCrcOf } from '../../../src/disk/partition/gpt.js';

// Header and first entry after, on an empty file of 64 MB (gdisk 1.0.9): `sgdisk -U 11111111-2222-3333-4444-555555555555
// -n 1:2048:34815 -t 1:0700 -c 1:boot -u 1:66666666-7777-8888-9999-aaaaaaaaaaaa -n 3:34816:0 -t 3:8300 -c 3:wurzel
// -u 3:bbbbbbbb-cccc-dddd-eeee-ffffffffffff`.
const HEADER = Buffer.from(
  '4546492050415254000001005c0000005b036b1f000000000100000000000000ffff0100000000002200000000000000deff010000000000' +
    '1111111122223333444455555555555502000000000000008000000080000000e0f20229',
  'hex',
);
const ENTRY = Buffer.from(
  'a2a0d0ebe5b9334487c068b6b72699c766666666777788889999aaaaaaaaaaaa0008000000000000ff87000000000000' +
    `000000000000000062006f006f007400${'00'.repeat(64)}`,
  'hex',
);

describe('a GUID partition table', () => {
  test('has a header that is read as sgdisk wrote it', () => {
    assert.deepEqual(decodeGptHeader(HEADER), {
      signature: 'EFI PART',
      headerBytes: 92,
      headerCrc: 0x1f6b035b,
      myLba: 1n,
      alternateLba: 131071n,
      firstUsableLba: 34n,
      lastUsableLba: 131038n,
      entriesLba: 2n,
      entryCount: 128,
      entryBytes: 128,
      entriesCrc: 0x2902f2e0,
    });
    assert.equal(headerCrcOf(HEADER, 92), 0x1f6b035b);
  });

  test('has entries that are read as sgdisk wrote them', () => {
    assert.equal(ENTRY.length, 128);
    assert.deepEqual(decodeGptEntry(ENTRY), {
      typeGuid: 'EBD0A0A2-B9E5-4433-87C0-68B6B72699C7',
      firstLba: 2048n,
      lastLba: 34815n,
      name: 'boot',
    });
  });

  test('has names of up to 36 units, with or without an end', () => {
    const entry = new Uint8Array(ENTRY);
    entry.set(Buffer.from('x'.repeat(36), 'utf16le'), 56);
    assert.equal(decodeGptEntry(entry).name, 'x'.repeat(36));
    entry.set([0, 0], 56);
    assert.equal(decodeGptEntry(entry).name, '');
  });

  test('is any bytes that are enough, and Malformed if they are not', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        if (bytes.length >= 92) decodeGptHeader(bytes);
        else assert.throws(() => decodeGptHeader(bytes), Malformed);
        if (bytes.length >= 128) decodeGptEntry(bytes);
        else assert.throws(() => decodeGptEntry(bytes), Malformed);
      }),
    );
  });
});
