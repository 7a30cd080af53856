import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BOARD_MODELS, selectBoot } from '../../../src/boards/boot-config/boot-selection.js';
import { readBootConfig } from '../../../src/boards/boot-config/config-files.js';
import {
  bootPartition,
  RASPBERRY_PI_OS_CONFIG,
  UBUNTU_NOBLE_CONFIG,
  UBUNTU_QUESTING_CONFIG,
} from '../../support/boot-partitions.js';

describe('what the firmware of a model loads', () => {
  test('of Raspberry Pi OS: its own kernel, and the initramfs of that name', async () => {
    const files = filesOf(RASPBERRY_PI_OS_CONFIG, [
      'kernel8.img',
      'kernel_2712.img',
      'bcm2711-rpi-4-b.dtb',
      'bcm2712-rpi-5-b.dtb',
      'start4.elf',
      'fixup4.dat',
    ]);
    const pi5 = await select('Pi 5', files);
    assert.equal(pi5.kernel, 'kernel_2712.img');
    assert.deepEqual(pi5.initramfs, ['initramfs_2712']);
    const pi4 = await select('Pi 4B', files);
    assert.equal(pi4.kernel, 'kernel8.img');
    assert.deepEqual(pi4.initramfs, ['initramfs8']);
    assert.deepEqual(pi4.missingFirmware, []);
    assert.equal((await select('Pi 400', files)).deviceTree, undefined);
  });

  test('of Ubuntu 24.04: what config.txt says', async () => {
    const files = filesOf(UBUNTU_NOBLE_CONFIG, ['vmlinuz', 'bcm2711-rpi-4-b.dtb', 'start4.elf']);
    const pi4 = await select('Pi 4B', files);
    assert.equal(pi4.kernel, 'vmlinuz');
    assert.deepEqual(pi4.initramfs, ['initrd.img']);
    assert.equal(pi4.cmdline, 'cmdline.txt');
    assert.deepEqual(pi4.missingFirmware, ['fixup4.dat']);
  });

  test('of Ubuntu 25.10: under current/ if kernel and device tree are there, else in the root', async () => {
    const there = await select(
      'Pi 5',
      filesOf(UBUNTU_QUESTING_CONFIG, ['current/vmlinuz', 'current/bcm2712-rpi-5-b.dtb']),
    );
    assert.equal(there.kernel, 'current/vmlinuz');
    assert.equal(there.cmdline, 'current/cmdline.txt');
    assert.deepEqual(there.initramfs, ['current/initrd.img']);

    const half = await select(
      'Pi 5',
      filesOf(UBUNTU_QUESTING_CONFIG, ['current/vmlinuz', 'vmlinuz', 'bcm2712-rpi-5-b.dtb']),
    );
    assert.equal(half.osPrefix, '');
    assert.equal(half.kernel, 'vmlinuz');
  });

  test('goes by the sections that hold for it, the last one winning', async () => {
    const config =
      'kernel=a\n[pi4]\nkernel=b\n[pi400]\nkernel=c\n[all]\n[gpio4=1]\nkernel=d\n[none]\nkernel=e\n[all]\n[HDMI:0]\narm_64bit=1\n';
    const files = filesOf(config, ['a', 'b', 'c', 'd', 'e']);
    assert.equal((await select('Pi 3B', files)).kernel, 'a');
    assert.equal((await select('Pi 4B', files)).kernel, 'b');
    assert.equal((await select('Pi 400', files)).kernel, 'c');
  });

  test('goes by arm_64bit where no kernel is named', async () => {
    const both = ['kernel7.img', 'kernel7l.img', 'kernel8.img'];
    assert.equal((await select('Pi 3B', filesOf('', both))).kernel, 'kernel7.img');
    assert.equal((await select('Pi 3B', filesOf('arm_64bit=1', both))).kernel, 'kernel8.img');
    assert.equal((await select('Pi 4B', filesOf('', both))).kernel, 'kernel8.img');
    assert.equal((await select('Pi 4B', filesOf('arm_64bit=0', both))).kernel, 'kernel7l.img');
  });
});

function filesOf(config: string, names: readonly string[]): Record<string, string> {
  return { 'config.txt': config, ...Object.fromEntries(names.map((name) => [name, ''])) };
}

async function select(name: string, files: Readonly<Record<string, string>>) {
  const read = bootPartition(files);
  const model = BOARD_MODELS.find((candidate) => candidate.name === name);
  assert.ok(model);
  return selectBoot(
    await readBootConfig('config.txt', read),
    model,
    async (path) => (await read(path, 0)) !== undefined,
  );
}
