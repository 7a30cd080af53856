import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { strided } from '../../../src/disk/fat/cluster-pool.js';
import type { FatFile } from '../../../src/disk/fat/file-tree.js';
import { type FormatOptions, formatFat } from '../../../src/disk/fat/format.js';
import { openFat } from '../../../src/disk/fat/volume.js';
import { runDiskProgram, withoutFatPrograms } from '../../support/disk-programs.js';
import { PI_FILES, pattern, readEverything, text } from '../../support/fat-volumes.js';
import { scratchFolder } from '../../support/scratch.js';

const MANY: readonly FatFile[] = Array.from({ length: 300 }, (_, index) => ({
  path: `overlays/an-overlay-with-a-long-name-${index}.dtbo`,
  bytes: pattern(index * 7),
}));

const VOLUMES: readonly (Omit<FormatOptions, 'files'> & { readonly megabytes: number })[] = [
  { type: 12, megabytes: 1.44 },
  { type: 12, megabytes: 8, sectorsPerCluster: 16, clusterOrder: strided(2) },
  { type: 16, megabytes: 16, label: 'BOOTFS' },
  { type: 16, megabytes: 32, sectorsPerCluster: 4, clusterOrder: strided(5), volumeId: 0xcafe_f00d },
  { type: 16, megabytes: 40, bytesPerSector: 4096 },
  { type: 32, megabytes: 34, label: 'SYSTEM-BOOT', hiddenSectorCount: 2048 },
  { type: 32, megabytes: 34, clusterOrder: strided(7), modified: new Date('2026-02-03T04:05:06Z') },
  { type: 32, megabytes: 70, bytesPerSector: 1024 },
];

describe('a fresh volume', () => {
  for (const { megabytes, ...options } of VOLUMES) {
    const { type, bytesPerSector = 512, sectorsPerCluster = 'any', clusterOrder } = options;
    const what = `FAT${type} of ${megabytes} MB, sectors of ${bytesPerSector}, ${sectorsPerCluster} per cluster`;
    test(`is in order for fsck.vfat and mtools: ${what}${clusterOrder === undefined ? '' : ', in fragments'}`, {
      skip: withoutFatPrograms(),
    }, async (context) => {
      const device = new MemoryDevice(Math.floor((megabytes * 2 ** 20) / bytesPerSector) * bytesPerSector);
      const files = [...PI_FILES, ...MANY];
      await formatFat(device, { ...options, files });
      const image = join(scratchFolder(context), 'fat.img');
      writeFileSync(image, device.bytes);
      // It exits 1 for anything that it would mend, and for anything odd it says more than these lines.
      const verdict = runDiskProgram('fsck.vfat', ['-n', image]).trim().split('\n');
      assert.match(verdict[0] ?? '', /^fsck\.fat/);
      assert.match(verdict[1] ?? '', /files, \d+\/\d+ clusters$/);
      assert.equal(verdict.length, 2, verdict.join('\n'));
      assert.equal((await openFat(device)).geometry.type, type);

      const sample = files.filter((_, index) => index < PI_FILES.length || index % 60 === 0);
      const copies = scratchFolder(context);
      for (const [index, { path, bytes }] of sample.entries()) {
        runDiskProgram('mcopy', ['-n', '-i', image, `::${path}`, join(copies, `${index}`)]);
        runDiskProgram('cmp', [join(copies, `${index}`), '-'], Buffer.from(bytes));
      }
    });
  }

  test('is read back whole by our own reader', async () => {
    for (const { megabytes, ...options } of VOLUMES.slice(0, 4)) {
      const device = new MemoryDevice(megabytes * 2 ** 20);
      await formatFat(device, { ...options, files: [...PI_FILES, ...MANY] });
      const found = await readEverything(device);
      for (const { path, bytes } of [...PI_FILES, ...MANY]) assert.deepEqual(found.get(path), bytes, path);
      assert.equal(found.size, PI_FILES.length + MANY.length + 3);
    }
  });

  test('is the same for the same files, whatever lay on the device before', async () => {
    const make = async (filler: number) => {
      const device = new MemoryDevice(new Uint8Array(200_000).fill(filler));
      await formatFat(device, { type: 12, files: PI_FILES });
      return readEverything(device);
    };
    assert.deepEqual(await make(0), await make(0xa5));
  });

  test('cannot hold what no volume can', async () => {
    const bytes = text('x');
    const cases: readonly (readonly FatFile[])[] = [
      [{ path: '/a', bytes }],
      [{ path: 'a//b', bytes }],
      [{ path: '../a', bytes }],
      [{ path: 'a.', bytes }],
      [{ path: 'a?', bytes }],
      [
        { path: 'a', bytes },
        { path: 'A', bytes },
      ],
      [
        { path: 'a', bytes },
        { path: 'a/b', bytes },
      ],
      [{ path: 'large', bytes: new Uint8Array(100_000) }],
    ];
    for (const files of cases) {
      await assert.rejects(formatFat(new MemoryDevice(65_536), { type: 12, files }), RangeError);
    }
    await assert.rejects(formatFat(new MemoryDevice(65_536), { type: 16, files: [] }), RangeError);
    await assert.rejects(formatFat(new MemoryDevice(65_536), { type: 32, files: [] }), RangeError);
    await assert.rejects(formatFat(new MemoryDevice(100), { type: 12, files: [] }), RangeError);
  });

  test('hands out each cluster once in any stride', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 300 }), (stride, count) => {
        const order = strided(stride);
        const clusters = Array.from({ length: count }, (_, ordinal) => order(ordinal, count));
        assert.deepEqual(
          clusters.toSorted((a, b) => a - b),
          Array.from({ length: count }, (_, index) => index),
        );
      }),
    );
  });
});
