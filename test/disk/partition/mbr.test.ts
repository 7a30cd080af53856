import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import { decodeMbr, encodeMbr, isExtended, isUsed, MbrType } from '../../../src/disk/partition/mbr.js';

// Bytes 440 to 511 after `sfdisk` (util-linux 2.38) was given, on an empty file of 64 MB:
//   label: dos / label-id: 0x12345678 / start=2048,size=65536,type=c,bootable / start=67584,size=10240,type=83
const sector = new Uint8Array(512);
sector.set(Buffer.from('785634120000', 'hex'), 440);
sector.set(Buffer.from('802021000c3430040008000000000100', 'hex'), 446);
sector.set(Buffer.from('0034310483d713040008010000280000', 'hex'), 462);
sector.set([0x55, 0xaa], 510);

const PLAN = {
  diskSignature: 0x12345678,
  partitions: [
    { type: MbrType.Fat32, firstSector: 2048, sectorCount: 65536, active: true },
    { type: MbrType.Linux, firstSector: 67584, sectorCount: 10240 },
  ],
};

describe('a master boot record', () => {
  test('is read as sfdisk wrote it', () => {
    const mbr = decodeMbr(sector);
    assert.equal(mbr.signature, 0xaa55);
    assert.equal(mbr.diskSignature, 0x12345678);
    assert.deepEqual(mbr.entries, [
      { status: 0x80, type: 0x0c, firstSector: 2048, sectorCount: 65536 },
      { status: 0, type: 0x83, firstSector: 67584, sectorCount: 10240 },
      { status: 0, type: 0, firstSector: 0, sectorCount: 0 },
      { status: 0, type: 0, firstSector: 0, sectorCount: 0 },
    ]);
  });

  test('is written as sfdisk writes it, byte for byte', () => {
    assert.deepEqual(encodeMbr(PLAN), sector);
  });

  test('holds what it was given, up to 2 TiB', () => {
    const number = fc.integer({ min: 1, max: 0x7fff_ffff });
    const fields = fc.tuple(fc.integer({ min: 1, max: 255 }), number, number);
    const partition = fields.map(([type, firstSector, sectorCount]) => ({ type, firstSector, sectorCount }));
    fc.assert(
      fc.property(fc.array(partition, { maxLength: 4 }), (partitions) => {
        const { entries } = decodeMbr(encodeMbr({ diskSignature: 7, partitions }));
        assert.deepEqual(
          entries.filter(isUsed).map(({ type, firstSector, sectorCount }) => ({ type, firstSector, sectorCount })),
          partitions,
        );
      }),
    );
    assert.throws(() => encodeMbr({ diskSignature: 0, partitions: Array(5).fill(PLAN.partitions[1]) }), RangeError);
  });

  test('is any 512 bytes, and Malformed if they are fewer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        if (bytes.length >= 512) assert.equal(decodeMbr(bytes).entries.length, 4);
        else assert.throws(() => decodeMbr(bytes), Malformed);
      }),
    );
  });

  test('has three types of extended partition', () => {
    const entry = { status: 0, firstSector: 1, sectorCount: 1 };
    const extended = Array.from({ length: 256 }, (_, type) => type).filter((type) => isExtended({ ...entry, type }));
    assert.deepEqual(extended, [0x05, 0x0f, 0x85]);
  });
});
