import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { quoted } from '../../src/disk/disk-fault.js';
import { openFat } from '../../src/disk/fat/volume.js';
import { encodeMbr, MbrType } from '../../src/disk/partition/mbr.js';
import { readPartitions } from '../../src/disk/partition/read-partitions.js';
import {
  chooseBootPartition,
  chooseRootPartition,
  partitionDevice,
  type WantedPartition,
} from '../../src/disk/partition-choice.js';
import { makeVolume, text } from '../support/fat-volumes.js';

/** A disk of four partitions of 128 KiB: an ext4 that is none beyond its magic, a FAT12, zeroes, and another FAT12. */
async function disk(order: readonly ('ext4' | 'fat' | 'zeroes')[]): Promise<BlockDevice> {
  const device = new MemoryDevice((order.length * 256 + 8) * 512);
  const partitions = order.map((_, index) => ({ type: MbrType.Linux, firstSector: 8 + index * 256, sectorCount: 256 }));
  device.bytes.set(encodeMbr({ diskSignature: 0, partitions }));
  for (const [index, content] of order.entries()) {
    const at = (8 + index * 256) * 512;
    if (content === 'fat') device.bytes.set((await makeVolume(12)).bytes, at);
    if (content === 'ext4') device.bytes.set([0x53, 0xef], at + 1080);
  }
  return device;
}

async function choose(device: BlockDevice, boot: WantedPartition, root: WantedPartition) {
  const table = await readPartitions(device);
  const show = (verdict: Awaited<ReturnType<typeof chooseBootPartition>>) =>
    verdict.answer === 'partition' ? verdict.partition.number : verdict.because;
  return [show(await chooseBootPartition(device, table, boot)), show(await chooseRootPartition(device, table, root))];
}

describe('the boot partition', () => {
  test('is the first that holds a FAT, and root the first that does not', async () => {
    assert.deepEqual(await choose(await disk(['fat', 'ext4']), 'auto', 'auto'), [1, 2]);
    assert.deepEqual(await choose(await disk(['ext4', 'fat', 'zeroes', 'fat']), 'auto', 'auto'), [2, 1]);
    assert.deepEqual(await choose(await disk(['fat', 'fat', 'zeroes']), 'auto', 'auto'), [1, 3]);
  });

  test('is the one that the inventory names, if it holds a FAT', async () => {
    const device = await disk(['fat', 'ext4', 'zeroes', 'fat']);
    assert.deepEqual(await choose(device, 4, 1), [4, 1]);
    assert.deepEqual(await choose(device, 2, 3), ['partition 2 holds no FAT: it holds ext2, ext3 or ext4', 3]);
    assert.deepEqual(await choose(device, 7, 0), [
      'there is no partition 7, only 1, 2, 3, 4',
      'there is no partition 0, only 1, 2, 3, 4',
    ]);
  });

  test('is none where no partition will do, with the reason for each', async () => {
    assert.deepEqual(await choose(await disk(['ext4', 'zeroes']), 'auto', 'auto'), [
      'no partition holds a FAT (1: it holds ext2, ext3 or ext4; 2: it holds zeroes)',
      1,
    ]);
    assert.deepEqual(await choose(await disk(['fat', 'fat']), 'auto', 'auto'), [
      1,
      'every partition holds a FAT (1: FAT12; 2: FAT12)',
    ]);
    assert.deepEqual(await choose(await disk([]), 'auto', 1), [
      'the partition table is empty',
      'the partition table is empty',
    ]);
  });

  test('is the whole device where there is no table', async () => {
    const device = await makeVolume(16);
    assert.deepEqual(await choose(device, 'auto', 'auto'), [0, 'every partition holds a FAT (0: FAT16)']);
    assert.deepEqual(await choose(device, 1, 2), [
      'there is no partition 1: the whole device is one FAT, without a partition table',
      'there is no partition 2: the whole device is one FAT, without a partition table',
    ]);
  });

  test('is a device of its own', async () => {
    const device = await disk(['zeroes', 'fat']);
    const table = await readPartitions(device);
    const verdict = await chooseBootPartition(device, table, 'auto');
    assert.ok(verdict.answer === 'partition');
    const volume = await openFat(partitionDevice(device, verdict.partition));
    assert.equal((await volume.find('config.txt'))?.sizeBytes, text('[all]\nkernel=vmlinuz\n').length);
  });
});

describe('a name in a fault', () => {
  test('cannot steer a terminal or break its quotes', () => {
    assert.equal(quoted('config.txt'), '"config.txt"');
    assert.equal(quoted('größe \u{1f353}'), '"größe \u{1f353}"');
    assert.equal(quoted('a\u001b[2J\u009b\u202e"\\\u2028'), '"a\\u{1b}[2J\\u{9b}\\u{202e}\\u{22}\\u{5c}\\u{2028}"');
  });
});
