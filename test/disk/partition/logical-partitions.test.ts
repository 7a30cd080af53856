import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MBR_EXTENDED_RECORDS_MAX } from '../../../src/base/limits.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { readLogicalPartitions } from '../../../src/disk/partition/logical-partitions.js';
import { MbrType } from '../../../src/disk/partition/mbr.js';
import { CountingDevice } from '../../support/counting-device.js';
import { poke } from '../../support/faults.js';

const EXTENDED = { status: 0, type: MbrType.ExtendedLba, firstSector: 100, sectorCount: 1000 };

interface Record {
  readonly at: number;
  /** Counted from the record. */
  readonly data?: readonly [firstSector: number, sectorCount: number];
  /** Counted from the start of the extended partition. */
  readonly next?: number;
}

function diskWith(records: readonly Record[], sectorCount = 2000): CountingDevice {
  const device = new MemoryDevice(sectorCount * 512);
  for (const { at, data, next } of records) {
    poke(device.bytes, at * 512 + 510, 2, 0xaa55);
    if (data !== undefined) pokeEntry(device.bytes, at * 512 + 446, MbrType.Linux, data[0], data[1]);
    if (next !== undefined) pokeEntry(device.bytes, at * 512 + 462, MbrType.Extended, next, 50);
  }
  return new CountingDevice(device);
}

function pokeEntry(bytes: Uint8Array, at: number, type: number, firstSector: number, sectorCount: number): void {
  poke(bytes, at + 4, 1, type);
  poke(bytes, at + 8, 4, firstSector);
  poke(bytes, at + 12, 4, sectorCount);
}

async function read(records: readonly Record[], sectorCount?: number) {
  const device = diskWith(records, sectorCount);
  const { partitions, fault } = await readLogicalPartitions(device, EXTENDED);
  return { places: partitions.map((p) => [p.firstSector, p.sectorCount]), fault, reads: device.reads };
}

describe('logical partitions', () => {
  test('are followed from record to record, also backwards', async () => {
    const { places, fault } = await read([
      { at: 100, data: [10, 50], next: 400 },
      { at: 500, data: [10, 60], next: 200 },
      { at: 300, data: [10, 70] },
    ]);
    assert.deepEqual(places, [
      [110, 50],
      [510, 60],
      [310, 70],
    ]);
    assert.equal(fault, undefined);
  });

  test('may be missing in a record, or altogether', async () => {
    assert.deepEqual(
      (
        await read([
          { at: 100, next: 400 },
          { at: 500, data: [1, 2] },
        ])
      ).places,
      [[501, 2]],
    );
    assert.deepEqual((await read([{ at: 100 }])).places, []);
  });

  test('end where a record points to itself', async () => {
    const { places, fault, reads } = await read([{ at: 100, data: [10, 50], next: 0 }]);
    assert.deepEqual(places, [[110, 50]]);
    assert.match(
      fault?.message ?? '',
      /^link to the next extended boot record \(byte 51662\) is sector 100; sound is a/,
    );
    assert.equal(reads, 1);
  });

  test('end where the chain comes back to an earlier record', async () => {
    const { places, fault, reads } = await read([
      { at: 100, data: [10, 50], next: 400 },
      { at: 500, data: [10, 60], next: 200 },
      { at: 300, data: [10, 70], next: 400 },
    ]);
    assert.equal(places.length, 3);
    assert.equal(fault?.offset, 300 * 512 + 446 + 16);
    assert.equal(reads, 3);
  });

  test('end where the chain leaves the extended partition', async () => {
    for (const next of [1000, 0xffff_ff00]) {
      const { places, fault } = await read([{ at: 100, data: [10, 50], next }]);
      assert.equal(places.length, 1);
      assert.equal(fault?.value, `sector ${100 + next}`);
    }
  });

  test('end where a partition leaves the extended partition, or lies on its record', async () => {
    for (const data of [
      [10, 991],
      [0, 5],
      [0xffff_ffff, 1],
      [1, 0xffff_ffff],
    ] as const) {
      const { places, fault } = await read([
        { at: 100, data, next: 400 },
        { at: 500, data: [1, 2] },
      ]);
      assert.deepEqual(places, []);
      assert.equal(fault?.structure, 'logical partition in an extended boot record');
    }
  });

  test('end where a record is none, or lies behind the end of the disk', async () => {
    assert.match((await read([])).fault?.structure ?? '', /signature of an extended boot record/);
    const cut = await read([{ at: 100, data: [10, 50], next: 400 }], 300);
    assert.equal(cut.places.length, 1);
    assert.match(cut.fault?.structure ?? '', /place of an extended boot record/);
  });

  test('are no more than Linux has numbers for', async () => {
    const records = Array.from({ length: 400 }, (_, index) => ({ at: 100 + index, next: index + 1 }));
    const { fault, reads } = await read(records);
    assert.equal(fault?.sound, `at most ${MBR_EXTENDED_RECORDS_MAX} records`);
    assert.equal(reads, MBR_EXTENDED_RECORDS_MAX);
  });
});
