// Volumes that dosfstools made and mtools filled, read by us.
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, readSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { decodeBootSector } from '../../../src/disk/fat/boot-sector.js';
import { lookForFat } from '../../../src/disk/fat/look.js';
import { openFat } from '../../../src/disk/fat/volume.js';
import { runDiskProgram, withoutFatPrograms } from '../../support/disk-programs.js';
import { PI_FILES, pattern, readEverything, readFile, text } from '../../support/fat-volumes.js';
import { openImageFile } from '../../support/image-file.js';
import { scratchFolder } from '../../support/scratch.js';

interface Foreign {
  readonly type: 12 | 16 | 32;
  readonly megabytes: number;
  readonly options: readonly string[];
}

const VOLUMES: readonly Foreign[] = [
  { type: 12, megabytes: 2, options: ['-s', '1'] },
  { type: 12, megabytes: 16, options: ['-s', '16', '-f', '1'] },
  { type: 12, megabytes: 16, options: ['-s', '2', '-S', '4096', '-r', '128'] },
  { type: 16, megabytes: 16, options: ['-s', '2'] },
  { type: 16, megabytes: 512, options: ['-s', '64', '-h', '2048'] },
  { type: 32, megabytes: 34, options: ['-s', '1'] },
  { type: 32, megabytes: 512, options: ['-s', '4'] },
  { type: 32, megabytes: 512, options: ['-s', '1', '-S', '4096', '-R', '8'] },
  { type: 32, megabytes: 2048, options: ['-s', '32', '-n', 'bootfs'] },
];

const FILES = [
  ...PI_FILES,
  { path: 'Mixed Case Name.Txt', bytes: text('mixed') },
  { path: 'UPPER.TXT', bytes: text('upper') },
  { path: 'жук-und-größe.txt', bytes: text('unicode') },
  { path: `${'long'.repeat(50)}.txt`, bytes: text('long') },
];

describe('a volume of mkfs.vfat and mtools', () => {
  for (const { type, megabytes, options } of VOLUMES) {
    test(`is read: FAT${type} of ${megabytes} MB, ${options.join(' ') || 'no options'}`, {
      skip: withoutFatPrograms(),
    }, async (context) => {
      const folder = scratchFolder(context);
      const image = join(folder, 'fat.img');
      writeFileSync(image, '');
      truncateSync(image, megabytes * 2 ** 20);
      runDiskProgram('mkfs.vfat', ['-F', `${type}`, ...options, image]);
      for (const { path, bytes } of FILES) {
        mkdirSync(dirname(join(folder, 'tree', path)), { recursive: true });
        writeFileSync(join(folder, 'tree', path), bytes);
      }
      const names = [...new Set(FILES.map(({ path }) => path.split('/', 1).join('')))];
      runDiskProgram('mcopy', ['-s', '-i', image, ...names.map((name) => join(folder, 'tree', name)), '::']);
      fragment(image, folder);

      const device = openImageFile(image);
      context.after(() => device.close());
      assert.equal((await openFat(device)).geometry.type, type);
      const found = await readEverything(device);
      for (const { path, bytes } of FILES) assert.deepEqual(found.get(path), bytes, path);
      const volume = await openFat(device);
      assert.deepEqual(await readFile(device, volume, 'fragments.bin'), pattern(300_000, 9));
      const entry = await volume.find('FRAGMENTS.BIN');
      assert.ok(entry !== undefined && (await volume.runs(entry)).length > 3, 'is in fragments');
      assert.equal((await lookForFat(device)).answer, 'fat');
    });
  }

  test('is a FAT32 without its cluster count where it has the fields of one, as for Linux and fsck', {
    skip: withoutFatPrograms(),
  }, async (context) => {
    const image = join(scratchFolder(context), 'fat.img');
    writeFileSync(image, '');
    truncateSync(image, 32 * 2 ** 20);
    runDiskProgram('mkfs.vfat', ['-F', '32', '-s', '8', image]);
    const device = openImageFile(image);
    context.after(() => device.close());
    const volume = await openFat(device);
    assert.equal(volume.geometry.type, 32);
    assert.ok(volume.geometry.clusterCount < 65525);
    assert.deepEqual(await volume.list(''), []);
  });
});

/** Leaves gaps of one cluster, or a few, and puts a file into them. */
function fragment(image: string, folder: string): void {
  const small = Array.from({ length: 12 }, (_, index) => join(folder, `small-${index}`));
  for (const path of small) writeFileSync(path, pattern(17_000));
  runDiskProgram('mcopy', ['-i', image, ...small, '::']);
  const removed = small.filter((_, index) => index % 2 === 0).map((path) => `::${path.split('/').at(-1) ?? ''}`);
  runDiskProgram('mdel', ['-i', image, ...removed]);
  forgetNextFree(image);
  writeFileSync(join(folder, 'fragments.bin'), pattern(300_000, 9));
  runDiskProgram('mcopy', ['-i', image, join(folder, 'fragments.bin'), '::']);
}

/** FSInfo of a FAT32 says where to look for a free cluster, and mtools would look behind the gaps. All ones: not known. */
function forgetNextFree(image: string): void {
  const file = openSync(image, 'r+');
  const boot = new Uint8Array(512);
  readSync(file, boot, 0, boot.length, 0);
  const { fat32, bytesPerSector } = decodeBootSector(boot);
  if (fat32 !== undefined)
    writeSync(file, new Uint8Array(4).fill(0xff), 0, 4, fat32.fsInfoSector * bytesPerSector + 492);
  closeSync(file);
}
