import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { BlockDevice } from '../../../src/block/block-device.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { slice } from '../../../src/block/slice.js';
import { encodeMbr, MbrType } from '../../../src/disk/partition/mbr.js';
import type { PartitionTable } from '../../../src/disk/partition/partition-table.js';
import { readPartitions } from '../../../src/disk/partition/read-partitions.js';
import { CountingDevice } from '../../support/counting-device.js';
import { runDiskProgram } from '../../support/disk-programs.js';
import { makeVolume } from '../../support/fat-volumes.js';
import { faultOf, poke } from '../../support/faults.js';
import { makeGptImage, SMALL_GPT, sealHeader } from '../../support/gpt-images.js';
import { openImageFile } from '../../support/image-file.js';
import { extendedDisk, tableOrFault } from '../../support/partition-disks.js';
import { without } from '../../support/programs.js';
import { scratchFolder } from '../../support/scratch.js';

const MIB = 2 ** 20;

/** Number, start and size in sectors of 512. */
function places(table: PartitionTable): readonly (readonly number[])[] {
  return table.partitions.map(({ number, offset, sizeBytes }) => [number, offset / 512, sizeBytes / 512]);
}

function emptyImage(context: TestContext, sizeBytes: number): string {
  const path = join(scratchFolder(context), 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

function opened(context: TestContext, path: string): BlockDevice {
  const device = openImageFile(path);
  context.after(() => device.close());
  return device;
}

describe('an MBR disk', () => {
  test('of sfdisk is read with primaries and logicals, numbered as sfdisk numbers them', {
    skip: without('sfdisk', 'fdisk'),
  }, async (context) => {
    const path = emptyImage(context, 64 * MIB);
    const script = [
      'label: dos',
      'start=2048,size=20480,type=c',
      'start=22528,size=100000,type=f',
      'start=24576,size=4096,type=83',
      'start=30720,size=8192,type=82',
      'start=40960,size=2048,type=e',
    ];
    runDiskProgram('sfdisk', ['-q', path], script.join('\n'));
    const table = await readPartitions(opened(context, path));
    assert.equal(table.scheme, 'mbr');
    assert.deepEqual(table.warnings, []);
    const listed = runDiskProgram('sfdisk', ['-d', path]).matchAll(/img(\d+) : start= *(\d+), size= *(\d+)/g);
    const expected = [...listed].map(([, ...numbers]) => numbers.map(Number)).filter(([number]) => number !== 2);
    assert.equal(expected.length, 4);
    assert.deepEqual(places(table), expected);
    assert.deepEqual(
      table.partitions.map(({ type }) => type),
      [0x0c, 0x83, 0x82, 0x0e].map((code) => ({ kind: 'mbr', code })),
    );
  });

  const disk = (...partitions: (readonly [first: number, count: number])[]) => {
    const device = new MemoryDevice(1000 * 512);
    const planned = partitions.map(([firstSector, sectorCount]) => ({ type: MbrType.Linux, firstSector, sectorCount }));
    device.bytes.set(encodeMbr({ diskSignature: 0, partitions: planned }));
    return device;
  };

  test('keeps the numbers of the entries where one is unused', async () => {
    const device = disk([10, 10], [20, 10], [30, 10], [40, 10]);
    poke(device.bytes, 446 + 16 + 4, 1, 0);
    poke(device.bytes, 446 + 32 + 12, 4, 0);
    assert.deepEqual(places(await readPartitions(device)), [
      [1, 10, 10],
      [4, 40, 10],
    ]);
  });

  test('cuts a partition at the end of the device and leaves out one behind it, as Linux does', async () => {
    const table = await readPartitions(disk([900, 200], [1000, 1], [0xffff_0000, 0xffff_ffff]));
    assert.deepEqual(places(table), [[1, 900, 100]]);
    assert.deepEqual(
      table.warnings.map(({ structure, offset }) => [structure, offset]),
      [
        ['end of partition 1, which is cut short,', 446 + 8],
        ['end of partition 2, which is left out,', 462 + 8],
        ['end of partition 3, which is left out,', 478 + 8],
      ],
    );
  });

  test('warns of partitions that overlap, and keeps them', async () => {
    const table = await readPartitions(disk([10, 100], [50, 10], [105, 10], [300, 10]));
    assert.equal(table.partitions.length, 4);
    assert.deepEqual(
      table.warnings.map(({ message }) => message),
      [
        'start of partition 2 (byte 25600) is 25600; sound is not before 56320, where partition 1 ends',
        'start of partition 3 (byte 53760) is 53760; sound is not before 56320, where partition 1 ends',
      ],
    );
  });

  test('keeps its primaries where a chain of logicals points to itself', async () => {
    const device = disk([10, 20], [100, 500]);
    poke(device.bytes, 446 + 16 + 4, 1, MbrType.Extended);
    const record = [
      { type: MbrType.Linux, firstSector: 10, sectorCount: 20 },
      { type: MbrType.Extended, firstSector: 1, sectorCount: 20 },
    ];
    device.bytes.set(encodeMbr({ diskSignature: 0, partitions: record }), 100 * 512);
    poke(device.bytes, 100 * 512 + 446 + 16 + 8, 4, 0);
    const counting = new CountingDevice(device);
    const table = await readPartitions(counting);
    assert.deepEqual(places(table), [
      [1, 10, 20],
      [5, 110, 20],
    ]);
    assert.match(table.warnings[0]?.message ?? '', /where the chain has not been yet/);
    assert.equal(counting.reads, 2);
  });

  test('is a fault without its signature, or with a status that is none', async () => {
    await faultOf(readPartitions(new MemoryDevice(4096)), /signature of the master boot record/, 510);
    await faultOf(readPartitions(new MemoryDevice(100)), /size of the device/);
    const device = disk([10, 10], [20, 10]);
    poke(device.bytes, 462, 1, 0x7f);
    await faultOf(readPartitions(device), /status of entry 2/, 462);
  });
});

describe('a GPT disk', () => {
  test('of sgdisk is read with its numbers, types and names', { skip: without('sgdisk', 'gdisk') }, async (context) => {
    const path = emptyImage(context, 64 * MIB);
    const boot = ['-n', '1:2048:34815', '-t', '1:0700', '-c', '1:boot'];
    runDiskProgram('sgdisk', [...boot, '-n', '3:34816:0', '-t', '3:8300', '-c', '3:Wurzel-ü', path]);
    const table = await readPartitions(opened(context, path));
    assert.equal(table.scheme, 'gpt');
    assert.deepEqual(table.warnings, []);
    assert.deepEqual(places(table), [
      [1, 2048, 32768],
      [3, 34816, 131038 - 34816 + 1],
    ]);
    assert.deepEqual(
      table.partitions.map(({ type, name }) => [type, name]),
      [
        [{ kind: 'gpt', guid: 'EBD0A0A2-B9E5-4433-87C0-68B6B72699C7' }, 'boot'],
        [{ kind: 'gpt', guid: '0FC63DAF-8483-4772-8E79-3D69D8477DE4' }, 'Wurzel-ü'],
      ],
    );
  });

  test('of sgdisk with other entries in its MBR is a hybrid, and the GPT counts', {
    skip: without('sgdisk', 'gdisk'),
  }, async (context) => {
    const path = emptyImage(context, 64 * MIB);
    runDiskProgram('sgdisk', ['-n', '1:2048:34815', '-n', '2:34816:0', '-h', '1', path]);
    const table = await readPartitions(opened(context, path));
    assert.equal(table.scheme, 'hybrid');
    assert.deepEqual(
      table.partitions.map(({ number }) => number),
      [1, 2],
    );
  });

  test('of sgdisk with more entries than usual is read', { skip: without('sgdisk', 'gdisk') }, async (context) => {
    const path = emptyImage(context, 64 * MIB);
    runDiskProgram('sgdisk', ['-S', '256', '-n', '200:4096:8191', path]);
    assert.deepEqual(places(await readPartitions(opened(context, path))), [[200, 4096, 4096]]);
  });

  test('with sectors of 4096 is read', async () => {
    const table = await readPartitions(makeGptImage({ ...SMALL_GPT, sectorBytes: 4096 }));
    assert.deepEqual(places(table), [
      [1, 64 * 8, 64 * 8],
      [3, 128 * 8, 73 * 8],
    ]);
    assert.deepEqual(table.warnings, []);
  });

  const damages = [
    { what: 'signature', at: 0, width: 1, value: 0x65, structure: /GPT header/, seal: true },
    { what: 'header size of 0', at: 12, width: 4, value: 0, structure: /size of the GPT header/, seal: false },
    { what: 'header size of 2³²', at: 12, width: 4, value: 0xffff_ffff, structure: /size of the GPT/, seal: false },
    { what: 'header CRC', at: 16, width: 4, value: 1, structure: /CRC of the GPT header/, seal: false },
    { what: 'own LBA', at: 24, width: 8, value: 7, structure: /own LBA/, seal: true },
    { what: 'last usable LBA', at: 48, width: 8, value: 2n ** 64n - 1n, structure: /last usable LBA/, seal: true },
    { what: 'first usable LBA', at: 40, width: 8, value: 2n ** 63n, structure: /last usable LBA/, seal: true },
    { what: 'LBA of the entries past the end', at: 72, width: 8, value: 255, structure: /LBA of the GPT/, seal: true },
    { what: 'LBA of the entries at 2⁶⁴', at: 72, width: 8, value: 2n ** 64n - 1n, structure: /LBA of the/, seal: true },
    { what: 'LBA of the entries at 0', at: 72, width: 8, value: 0, structure: /LBA of the GPT/, seal: true },
    { what: 'entry count of 0', at: 80, width: 4, value: 0, structure: /number of GPT entries/, seal: true },
    { what: 'entry count of 2³²', at: 80, width: 4, value: 0xffff_ffff, structure: /number of GPT/, seal: true },
    { what: 'entry size of 0', at: 84, width: 4, value: 0, structure: /size of a GPT entry/, seal: true },
    { what: 'entry size of 200', at: 84, width: 4, value: 200, structure: /size of a GPT entry/, seal: true },
    { what: 'entry size of 2³¹', at: 84, width: 4, value: 0x8000_0000, structure: /size of a GPT entry/, seal: true },
    { what: 'entry size of 2³²', at: 84, width: 4, value: 0xffff_ffff, structure: /size of a GPT entry/, seal: true },
    { what: 'CRC of the entries', at: 88, width: 4, value: 1, structure: /CRC of the GPT entries/, seal: true },
  ] as const;
  for (const { what, at, width, value, structure, seal } of damages) {
    test(`with a damaged ${what} is read from its backup, and without one is a fault`, async () => {
      const device = makeGptImage(SMALL_GPT);
      poke(device.bytes, 512 + at, width, value);
      if (seal) sealHeader(device.bytes, 512);
      const table = await readPartitions(device);
      assert.deepEqual(places(table), [
        [1, 64, 64],
        [3, 128, 73],
      ]);
      assert.match(table.warnings[0]?.structure ?? '', structure);

      const backup = 255 * 512;
      poke(device.bytes, backup + at, width, value);
      if (seal) sealHeader(device.bytes, backup);
      const fault = await faultOf(readPartitions(device), structure);
      assert.ok(fault.offset >= 512 && fault.offset < 1024, 'the fault of the primary');
    });
  }

  test('with a damaged entry is read from its backup', async () => {
    const device = makeGptImage(SMALL_GPT);
    poke(device.bytes, 1024 + 32, 8, 3);
    const table = await readPartitions(device);
    assert.deepEqual(places(table)[0], [1, 64, 64]);
    assert.match(table.warnings[0]?.structure ?? '', /CRC of the GPT entries/);
  });

  test('with a damaged backup says so', async () => {
    const device = makeGptImage(SMALL_GPT);
    poke(device.bytes, 255 * 512 + 60, 1, 1);
    const table = await readPartitions(device);
    assert.equal(table.partitions.length, 2);
    assert.deepEqual(
      table.warnings.map(({ structure, offset }) => [structure, offset]),
      [['CRC of the GPT header', 255 * 512 + 16]],
    );
  });

  test('that was made larger says that its backup is not at the end', async () => {
    const device = makeGptImage(SMALL_GPT);
    const grown = new MemoryDevice(1024 * 512);
    grown.bytes.set(device.bytes);
    const table = await readPartitions(grown);
    assert.equal(table.partitions.length, 2);
    assert.equal(
      table.warnings[0]?.message,
      'LBA of the backup in the GPT header (byte 544) is 255; sound is 1023, the last LBA of the device',
    );
  });

  test('leaves out a partition that lies outside, and says where that stands', async () => {
    const partitions = new Map([
      [1, [64, 127]],
      [2, [200, 300]],
      [4, [150, 149]],
      [5, [2n ** 64n - 2n, 2n ** 64n - 1n]],
      [6, [100, 160]],
    ] as const);
    const table = await readPartitions(makeGptImage({ ...SMALL_GPT, partitions }));
    assert.deepEqual(places(table), [
      [1, 64, 64],
      [6, 100, 61],
    ]);
    assert.deepEqual(
      table.warnings.map(({ offset }) => offset),
      [1024 + 128 + 32, 1024 + 3 * 128 + 32, 1024 + 4 * 128 + 32, 100 * 512],
    );
  });

  test('with nothing but the protective MBR is a fault', async () => {
    const device = makeGptImage(SMALL_GPT);
    device.bytes.fill(0, 512);
    await faultOf(readPartitions(device), /GPT header/, 512);
    await faultOf(readPartitions(slice(device, 0, 512)), /GPT header/);
  });
});

describe('a disk without a table', () => {
  test('is one FAT with number 0', async () => {
    for (const type of [12, 16, 32] as const) {
      const device = await makeVolume(type);
      const table = await readPartitions(device);
      const whole = { number: 0, offset: 0, sizeBytes: device.sizeBytes, type: { kind: 'whole' }, name: '' };
      assert.deepEqual(table, { scheme: 'none', partitions: [whole], warnings: [] });
    }
  });

  test('is known by its FAT also where boot code lies in place of the table', async () => {
    const device = await makeVolume(16);
    device.bytes.fill(0xcd, 446, 510);
    assert.equal((await readPartitions(device)).scheme, 'none');
  });

  test('has one if mkfs.vfat wrote one into its boot sector', {
    skip: without('mkfs.vfat', 'dosfstools'),
  }, async (context) => {
    const path = emptyImage(context, 64 * MIB);
    runDiskProgram('mkfs.vfat', ['--mbr=yes', path]);
    const table = await readPartitions(opened(context, path));
    assert.deepEqual(places(table), [[1, 0, 131072]]);
  });
});

describe('any disk', () => {
  test('is a table or a fault whatever is changed in it, and nothing is read outside', async () => {
    const images = [makeGptImage(SMALL_GPT), await extendedDisk(), await makeVolume(12)];
    const change = (sizeBytes: number) =>
      fc.tuple(fc.oneof(fc.integer({ min: 440, max: 1200 }), fc.nat(sizeBytes - 1)), fc.nat(255));
    for (const image of images) {
      const cut = fc.nat(image.sizeBytes);
      const changes = fc.array(change(image.sizeBytes), { maxLength: 8 });
      await fc.assert(
        fc.asyncProperty(changes, fc.oneof(cut, fc.constant(image.sizeBytes)), async (these, sizeBytes) => {
          const bytes = image.bytes.slice();
          for (const [at, value] of these) bytes[at] = value;
          const device = new CountingDevice(new MemoryDevice(bytes.subarray(0, sizeBytes)));
          await tableOrFault(device);
          assert.ok(device.reads <= 12 && device.bytesRead <= 4 * MIB);
        }),
        { numRuns: 300 },
      );
    }
  });

  test('of any bytes at all is a table or a fault', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 0, maxLength: 3000 }), fc.boolean(), async (bytes, signed) => {
        if (signed) bytes.set([0x55, 0xaa].slice(0, Math.max(bytes.length - 510, 0)), Math.min(510, bytes.length));
        await tableOrFault(new CountingDevice(new MemoryDevice(bytes)));
      }),
      { numRuns: 500 },
    );
  });
});
