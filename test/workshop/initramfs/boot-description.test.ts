import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { systemClock } from '../../../src/base/clock.js';
import { bootDescriptionLines, describeBoot } from '../../../src/workshop/initramfs/boot-description.js';
import {
  bootPartition,
  RASPBERRY_PI_OS_CONFIG,
  UBUNTU_NOBLE_CONFIG,
  UBUNTU_QUESTING_CONFIG,
} from '../../support/boot-partitions.js';
import {
  type ArchiveMember,
  cpioArchive,
  DRACUT_WITH_NBD,
  INITRAMFS_TOOLS_PLAIN,
  INITRAMFS_TOOLS_WITH_NBD,
} from '../../support/initramfs-archive.js';

const PI4_FIRMWARE = { 'start4.elf': '', 'fixup4.dat': '' };

describe('what check prints of an image', () => {
  test('of Raspberry Pi OS as it is downloaded: what it lacks, and the remedy', async () => {
    const lines = await linesOf({
      ...PI4_FIRMWARE,
      'config.txt': RASPBERRY_PI_OS_CONFIG,
      'cmdline.txt': 'root=PARTUUID=4e639091-02 rootwait resize\n',
      'kernel8.img': '',
      'kernel_2712.img': '',
      initramfs8: pack(INITRAMFS_TOOLS_PLAIN),
      initramfs_2712: pack(INITRAMFS_TOOLS_PLAIN),
      'bcm2711-rpi-4-b.dtb': '',
      'bcm2712-rpi-5-b.dtb': '',
    });
    assert.deepEqual(lines, [
      'Pi 4B: cannot boot: initramfs8 cannot attach a disk over NBD',
      'Pi 5: cannot boot: initramfs_2712 cannot attach a disk over NBD',
      'not made for: Pi 2B v1.2, Pi 3B, Pi 3B+, Pi 400, CM4, Pi 500, CM5 (no device tree)',
      'cmdline.txt: found, with resize for the first boot',
      ...['initramfs8', 'initramfs_2712'].map(
        (name) =>
          `${name} (initramfs-tools for 6.12.34+rpt-rpi-v8): lacks the nbd module of the kernel, nbd-client, the script that starts it: ` +
          'install nbd-client in the image and run update-initramfs -u; see docs/howto/nbd-initramfs.md',
      ),
    ]);
  });

  test('of Ubuntu 24.04 with nbd-client in it: that it boots', async () => {
    const lines = await linesOf({
      ...PI4_FIRMWARE,
      'config.txt': UBUNTU_NOBLE_CONFIG,
      'cmdline.txt': 'root=LABEL=writable\n',
      vmlinuz: '',
      'initrd.img': pack(INITRAMFS_TOOLS_WITH_NBD),
      'bcm2711-rpi-4-b.dtb': '',
    });
    assert.deepEqual(
      lines.filter((line) => !line.startsWith('not made for')),
      [
        'Pi 4B: boots vmlinuz with initrd.img and cmdline.txt',
        'cmdline.txt: found',
        'initrd.img (initramfs-tools for 6.12.34+rpt-rpi-v8): has nbd and nbd-client',
      ],
    );
  });

  test('of Ubuntu 25.10: each cmdline.txt that is there, and the initramfs that a plain boot takes', async () => {
    const lines = await linesOf({
      'config.txt': UBUNTU_QUESTING_CONFIG,
      'current/cmdline.txt': '',
      'current/vmlinuz': '',
      'current/initrd.img': pack(DRACUT_WITH_NBD),
      'current/bcm2712-rpi-5-b.dtb': '',
      'new/cmdline.txt': '',
    });
    assert.deepEqual(
      lines.filter((line) => !line.startsWith('not made for')),
      [
        'Pi 5: boots current/vmlinuz with current/initrd.img and current/cmdline.txt',
        'current/cmdline.txt: found',
        'new/cmdline.txt: found',
        'current/initrd.img (dracut for 6.17.0-1004-raspi): has nbd and nbd-client',
      ],
    );
  });

  test('of files that the firmware joins: what they hold together', async () => {
    const lines = await linesOf({
      'config.txt': 'kernel=k\ninitramfs a.gz,b.gz followkernel\n',
      'cmdline.txt': '',
      k: '',
      'a.gz': pack(INITRAMFS_TOOLS_PLAIN),
      'b.gz': pack(INITRAMFS_TOOLS_WITH_NBD.slice(4)),
      'bcm2712-rpi-5-b.dtb': '',
    });
    assert.ok(lines.includes('Pi 5: boots k with a.gz and b.gz and cmdline.txt'));
  });

  test('of an image with everything missing: all that is missing, by name', async () => {
    const lines = await linesOf({ 'config.txt': 'include gone.txt\n', 'bcm2711-rpi-4-b.dtb': '', 'boot.img': '' });
    assert.deepEqual(
      lines.filter((line) => !line.startsWith('not made for')),
      [
        'Pi 4B: cannot boot: start4.elf is missing',
        'Pi 4B: cannot boot: fixup4.dat is missing',
        'Pi 4B: cannot boot: the kernel is missing (kernel8.img or kernel7l.img)',
        'Pi 4B: cannot boot: cmdline.txt is missing',
        'Pi 4B: cannot boot: config.txt names no initramfs, and without one Linux has no root over NBD (auto_initramfs=1 names it)',
        'cmdline.txt: missing: a board would get no arguments, and no disk',
        'warning: config.txt:1 includes gone.txt, which is not there',
        'warning: boot.img is there: a board that boots from it is not given our arguments',
      ],
    );
    assert.ok((await linesOf({})).includes('warning: config.txt is not there'));
  });
});

function pack(members: readonly ArchiveMember[]): Uint8Array {
  return gzipSync(cpioArchive(members));
}

async function linesOf(files: Readonly<Record<string, string | Uint8Array>>): Promise<readonly string[]> {
  return bootDescriptionLines(await describeBoot(bootPartition(files), systemClock));
}
