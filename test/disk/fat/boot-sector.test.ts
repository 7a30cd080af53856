import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { DiskFault } from '../../../src/disk/disk-fault.js';
import { BootSectorAt as At, decodeBootSector, encodeBootSector } from '../../../src/disk/fat/boot-sector.js';
import { geometryOf } from '../../../src/disk/fat/geometry.js';
import { lookForFat } from '../../../src/disk/fat/look.js';
import { openFat } from '../../../src/disk/fat/volume.js';
import { makeVolume } from '../../support/fat-volumes.js';
import { faultOf, poke } from '../../support/faults.js';

// The first 62 or 90 bytes of `mkfs.vfat -F 12|16|32 -i 1234abcd -n BOOTFS --invariant` (dosfstools 4.2): FAT12 on 2 MiB with
// -s 1, FAT16 on 40 MiB with -s 2, FAT32 on 40 MiB with -s 1. Behind them is its boot code, which we do not write.
const GOLDEN = {
  12: 'eb3c906d6b66732e66617400020101000200020010f80c00100002000000000000000000800029cdab3412424f4f54465320202020204641543132202020',
  16: 'eb3c906d6b66732e66617400020202000200020000f8a000200008000000000000400100800029cdab3412424f4f54465320202020204641543136202020',
  32: 'eb58906d6b66732e66617400020120000200000000f8000020000800000000000040010076020000000000000200000001000600000000000000000000000000800029cdab3412424f4f54465320202020204641543332202020',
} as const;

function golden(type: 12 | 16 | 32): Uint8Array {
  const sector = new Uint8Array(512);
  sector.set(Buffer.from(GOLDEN[type], 'hex'));
  sector.set([0x55, 0xaa], 510);
  return sector;
}

describe('the boot sector of a FAT', () => {
  test('is read as mkfs.vfat wrote it', () => {
    const boot = decodeBootSector(golden(32));
    assert.equal(boot.oemName, 'mkfs.fat');
    assert.equal(boot.bytesPerSector, 512);
    assert.equal(boot.reservedSectorCount, 32);
    assert.equal(boot.totalSectors32, 81920);
    assert.deepEqual(boot.fat32, {
      fatSectors: 630,
      flags: 0,
      version: 0,
      rootCluster: 2,
      fsInfoSector: 1,
      backupBootSector: 6,
    });
    assert.equal(boot.volumeId, 0x1234abcd);
    assert.equal(boot.volumeLabel, 'BOOTFS     ');
    assert.equal(boot.typeText, 'FAT32   ');
    assert.equal(decodeBootSector(golden(12)).fatSectors16, 12);
    assert.equal(decodeBootSector(golden(16)).sectorsPerCluster, 2);
  });

  for (const type of [12, 16, 32] as const) {
    test(`of a FAT${type} is written as mkfs.vfat writes it`, () => {
      assert.deepEqual(encodeBootSector(decodeBootSector(golden(type))), golden(type));
    });
  }

  test('is any 512 bytes, and Malformed if they are fewer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        if (bytes.length >= 512) decodeBootSector(bytes);
        else assert.throws(() => decodeBootSector(bytes), Malformed);
      }),
    );
  });
});

describe('the geometry', () => {
  test('follows from the cluster count', () => {
    const small = geometryOf(decodeBootSector(golden(12)), 2 ** 21);
    assert.deepEqual(small, {
      type: 12,
      clusterBytes: 512,
      clusterCount: 4096 - 1 - 24 - 32,
      tableOffset: 512,
      root: { kind: 'region', offset: 25 * 512, lengthBytes: 512 * 32 },
      dataOffset: 57 * 512,
    });
    assert.equal(geometryOf(decodeBootSector(golden(16)), 40 * 2 ** 20).type, 16);
    const large = geometryOf(decodeBootSector(golden(32)), 40 * 2 ** 20);
    assert.equal(large.type, 32);
    assert.deepEqual(large.root, { kind: 'chain', firstCluster: 2 });
  });

  test('changes its type between 4084 and 4085 clusters, and refuses 65525 without the fields of FAT32', () => {
    const boot = { ...decodeBootSector(golden(16)), sectorsPerCluster: 1, fatSectors16: 256 };
    const dataSector = 2 + 2 * 256 + 32;
    // mkfs.vfat reserves two sectors here, to keep the clusters on even ones.
    assert.equal(boot.reservedSectorCount, 2);
    const typeAt = (clusterCount: number) =>
      geometryOf({ ...boot, totalSectors16: 0, totalSectors32: dataSector + clusterCount }, 2 ** 30).type;
    assert.equal(typeAt(4084), 12);
    assert.equal(typeAt(4085), 16);
    assert.equal(typeAt(65524), 16);
    assert.throws(() => typeAt(65525), DiskFault);
  });

  test('refuses more clusters than a FAT32 has numbers for', () => {
    const boot = decodeBootSector(golden(32));
    const fat32 = { fatSectors: 2 ** 22, flags: 0, version: 0, rootCluster: 2, fsInfoSector: 1, backupBootSector: 6 };
    const dataSector = 32 + 2 * 2 ** 22;
    const countAt = (clusterCount: number) =>
      geometryOf({ ...boot, fat32, totalSectors32: dataSector + clusterCount }, 2 ** 40).clusterCount;
    assert.equal(countAt(0x0fff_fff5), 0x0fff_fff5);
    assert.throws(() => countAt(0x0fff_fff6), DiskFault);
  });

  test('takes the FAT that a FAT32 says is the active one', () => {
    const boot = decodeBootSector(golden(32));
    const fat32 = { fatSectors: 630, flags: 0x81, version: 0, rootCluster: 2, fsInfoSector: 1, backupBootSector: 6 };
    assert.equal(geometryOf({ ...boot, fat32 }, 40 * 2 ** 20).tableOffset, (32 + 630) * 512);
    assert.throws(() => geometryOf({ ...boot, fat32: { ...fat32, flags: 0x82 } }, 40 * 2 ** 20), DiskFault);
  });

  const refused = [
    { what: 'no bytes per sector', type: 16, at: At.BytesPerSector, width: 2, value: 0, structure: /bytes per sector/ },
    { what: '3 bytes per sector', type: 16, at: At.BytesPerSector, width: 2, value: 3, structure: /bytes per sector/ },
    { what: '8192 bytes per sector', type: 16, at: At.BytesPerSector, width: 2, value: 8192, structure: /bytes per/ },
    {
      what: 'no sectors per cluster',
      type: 32,
      at: At.SectorsPerCluster,
      width: 1,
      value: 0,
      structure: /per cluster/,
    },
    { what: '3 sectors per cluster', type: 32, at: At.SectorsPerCluster, width: 1, value: 3, structure: /per cluster/ },
    { what: 'nothing reserved', type: 12, at: At.ReservedSectors, width: 2, value: 0, structure: /reserved sectors/ },
    { what: 'no FAT', type: 32, at: At.FatCount, width: 1, value: 0, structure: /number of FATs/ },
    { what: 'no root entries', type: 12, at: At.RootEntries, width: 2, value: 0, structure: /root entries/ },
    { what: 'root entries on FAT32', type: 32, at: At.RootEntries, width: 2, value: 512, structure: /root entries/ },
    { what: 'no such medium', type: 12, at: At.Media, width: 1, value: 0x12, structure: /media byte/ },
    { what: 'FAT32 without sectors', type: 32, at: At.Fat32Sectors, width: 4, value: 0, structure: /sectors per FAT/ },
    { what: 'a short FAT', type: 16, at: At.FatSectors16, width: 2, value: 3, structure: /sectors per FAT/ },
    { what: 'a later version', type: 32, at: At.Fat32Version, width: 2, value: 1, structure: /version/ },
    { what: 'root cluster 0', type: 32, at: At.Fat32RootCluster, width: 4, value: 0, structure: /root directory/ },
    { what: 'root cluster 1', type: 32, at: At.Fat32RootCluster, width: 4, value: 1, structure: /root directory/ },
    {
      what: 'root far out',
      type: 32,
      at: At.Fat32RootCluster,
      width: 4,
      value: 0x0fffffff,
      structure: /root directory/,
    },
    { what: 'no signature', type: 16, at: At.Signature, width: 2, value: 0, structure: /signature/ },
  ] as const;
  for (const { what, type, at, width, value, structure } of refused) {
    test(`is refused with ${what} (${value})`, async () => {
      const device = await makeVolume(type);
      poke(device.bytes, at, width, value);
      const fault = await faultOf(openFat(device), structure, at);
      assert.equal(fault.value, value);
    });
  }

  const overfull = [
    { what: 'a huge reserved region', type: 16, at: At.ReservedSectors, width: 2, value: 0xffff },
    { what: 'absurdly many root entries', type: 12, at: At.RootEntries, width: 2, value: 0xffff },
    { what: 'a FAT of 2³² sectors', type: 32, at: At.Fat32Sectors, width: 4, value: 0xffffffff },
    { what: '255 FATs', type: 16, at: At.FatCount, width: 1, value: 255 },
    { what: 'more sectors than the device', type: 16, at: At.TotalSectors16, width: 2, value: 0xffff },
    { what: 'no sectors at all', type: 32, at: At.TotalSectors32, width: 4, value: 0 },
    { what: 'sectors of 4096 that do not fit', type: 16, at: At.BytesPerSector, width: 2, value: 4096 },
  ] as const;
  for (const { what, type, at, width, value } of overfull) {
    test(`does not reach past the device with ${what}`, async () => {
      const device = await makeVolume(type);
      poke(device.bytes, at, width, value);
      await faultOf(openFat(device), /total number of sectors/);
    });
  }

  test('is refused on a device that is smaller than a sector', async () => {
    const fault = await faultOf(openFat(new MemoryDevice(511)), /size of the device/, 0);
    assert.equal(fault.message, 'size of the device (byte 0) is 511; sound is at least 512 bytes');
  });

  test('is never anything but sound or a fault, whatever the boot sector says', () => {
    const field = fc.tuple(fc.integer({ min: 11, max: 63 }), fc.integer({ min: 0, max: 255 }));
    const types = fc.constantFrom(12 as const, 16 as const, 32 as const);
    fc.assert(
      fc.property(types, fc.array(field, { maxLength: 8 }), fc.nat(2 ** 31), (type, changes, deviceBytes) => {
        const sector = golden(type);
        for (const [at, value] of changes) sector[at] = value;
        try {
          const geometry = geometryOf(decodeBootSector(sector), deviceBytes);
          const end = geometry.dataOffset + geometry.clusterCount * geometry.clusterBytes;
          assert.ok(end <= deviceBytes && geometry.clusterCount >= 1);
          const tableEnd = geometry.tableOffset + Math.ceil(((geometry.clusterCount + 2) * geometry.type) / 8);
          assert.ok(tableEnd <= geometry.dataOffset);
        } catch (error) {
          if (!(error instanceof DiskFault)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a look for a FAT', () => {
  test('says which one it is', async () => {
    for (const type of [12, 16, 32] as const) {
      const look = await lookForFat(await makeVolume(type));
      assert.ok(look.answer === 'fat' && look.geometry.type === type);
    }
  });

  const others = [
    { what: 'ext2, ext3 or ext4', at: 1080, text: '\x53\xef' },
    { what: 'exFAT', at: 3, text: 'EXFAT   ' },
    { what: 'NTFS', at: 3, text: 'NTFS    ' },
    { what: 'squashfs', at: 0, text: 'hsqs' },
  ];
  for (const { what, at, text } of others) {
    test(`recognises ${what}`, async () => {
      const device = new MemoryDevice(4096);
      device.bytes.set(Buffer.from(text, 'latin1'), at);
      assert.deepEqual(await lookForFat(device), { answer: 'other', because: `it holds ${what}` });
    });
  }

  test('says what is wrong with a damaged one', async () => {
    const device = await makeVolume(32);
    poke(device.bytes, At.SectorsPerCluster, 1, 0);
    const because = 'sectors per cluster in the FAT boot sector (byte 13) is 0; sound is a power of two from 1 to 128';
    assert.deepEqual(await lookForFat(device), { answer: 'other', because });
  });

  test('takes zeroes, and next to nothing, for no FAT', async () => {
    assert.deepEqual(await lookForFat(new MemoryDevice(8192)), { answer: 'other', because: 'it holds zeroes' });
    assert.equal((await lookForFat(new MemoryDevice(0))).answer, 'other');
  });
});
