import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { BOOT_NAMES_MAX, BOOT_PREFIXES_MAX } from '../../../src/base/limits.js';
import { autoInitramfs, planBoot, readBootPlan } from '../../../src/boards/boot-config/boot-plan.js';
import {
  bootPartition,
  RASPBERRY_PI_OS_CONFIG,
  UBUNTU_NOBLE_CONFIG,
  UBUNTU_QUESTING_CONFIG,
} from '../../support/boot-partitions.js';

describe('what a board may ask for', () => {
  test('of Raspberry Pi OS: the default names, and an initramfs for each kernel', async () => {
    const plan = await planOf({ 'config.txt': RASPBERRY_PI_OS_CONFIG });
    assert.deepEqual(plan.cmdlinePaths, ['cmdline.txt']);
    for (const kernel of ['kernel.img', 'kernel7.img', 'kernel7l.img', 'kernel8.img', 'kernel_2712.img', 'boot.img']) {
      assert.ok(plan.isKernel(kernel), kernel);
    }
    assert.deepEqual(
      ['initramfs8', 'initramfs_2712', 'initramfs7l'].filter((name) => !plan.initramfsPaths.includes(name)),
      [],
    );
    assert.deepEqual(plan.warnings, []);
  });

  test('of Ubuntu 24.04', async () => {
    const plan = await planOf({ 'config.txt': UBUNTU_NOBLE_CONFIG });
    assert.deepEqual(plan.cmdlinePaths, ['cmdline.txt']);
    assert.ok(plan.isKernel('vmlinuz'));
    assert.deepEqual(plan.initramfsPaths, ['initrd.img']);
  });

  test('of Ubuntu 25.10: under current/, under new/ for tryboot, and in the root if the prefix does not hold', async () => {
    const plan = await planOf({ 'config.txt': UBUNTU_QUESTING_CONFIG });
    assert.deepEqual(plan.cmdlinePaths, ['cmdline.txt', 'current/cmdline.txt', 'new/cmdline.txt']);
    assert.ok(plan.isCmdline('/Current/CMDLINE.TXT'));
    assert.ok(!plan.isCmdline('old/cmdline.txt'));
    assert.ok(plan.isKernel('new/vmlinuz'));
    assert.deepEqual(plan.initramfsPaths, ['initrd.img', 'current/initrd.img', 'new/initrd.img']);
  });

  test('without a config.txt: what the firmware takes by itself', async () => {
    const plan = await planOf({});
    assert.deepEqual(plan.cmdlinePaths, ['cmdline.txt']);
    assert.ok(plan.isKernel('kernel8.img'));
    assert.deepEqual(plan.initramfsPaths, []);
  });

  test('from tryboot.txt and from included files, in any section', async () => {
    const plan = await planOf({
      'config.txt': '[none]\ncmdline=never.txt\n[0x1234]\ninclude sub/extra.txt\n',
      'sub/extra.txt': '[EDID=X]\ncmdline=monitor.txt\nkernel=odd.img\n',
      'tryboot.txt': 'os_prefix=test-\ncmdline=try.txt\n',
    });
    const expected = ['cmdline.txt', 'never.txt', 'monitor.txt', 'try.txt'];
    assert.deepEqual(plan.cmdlinePaths, [...expected.flatMap((name) => [name, `test-${name}`])]);
    assert.ok(plan.isKernel('odd.img') && plan.isKernel('test-odd.img'));
  });

  test('a name with a slash in front bypasses the prefix; upstream_kernel brings one', async () => {
    const plan = await planOf({
      'config.txt': 'os_prefix=a/\nupstream_kernel=1\nkernel=/shared.img\ncmdline=/etc/line.txt\n',
    });
    assert.ok(plan.isKernel('shared.img') && !plan.isKernel('a/shared.img'));
    assert.ok(plan.isKernel('upstream/kernel8.img'));
    assert.ok(plan.isCmdline('etc/line.txt') && plan.isCmdline('upstream/cmdline.txt'));
  });

  test('never has the configuration itself rewritten, nor a path that climbs', async () => {
    const plan = await planOf({
      'config.txt': 'cmdline=CONFIG.txt\ncmdline=user.txt\ncmdline=../other/cmdline.txt\ninclude user.txt\n',
      'user.txt': '',
    });
    assert.deepEqual(plan.cmdlinePaths, ['cmdline.txt']);
  });

  test('is bounded, and says where it stopped', async () => {
    const lines = Array.from(
      { length: 200 },
      (_, index) => `os_prefix=p${index}/\nkernel=k${index}\ncmdline=c${index}\n`,
    );
    const plan = await planOf({ 'config.txt': lines.join('') });
    assert.equal(plan.cmdlinePaths.length, BOOT_PREFIXES_MAX * BOOT_NAMES_MAX);
    assert.ok(plan.kernelPaths.length <= BOOT_PREFIXES_MAX * BOOT_NAMES_MAX + 2);
    assert.match(plan.warnings.join('\n'), /names 201 os_prefix values: only 16/);
  });

  test('whatever the files hold, there is a plan that knows cmdline.txt', async () => {
    const word = fc.constantFrom(
      'kernel=',
      'cmdline=',
      'os_prefix=',
      'include ',
      'initramfs ',
      '[',
      ']',
      'a/',
      '/',
      '..',
      'config.txt',
      '\n',
      '\0',
      'é',
    );
    const text = fc.array(word, { maxLength: 40 }).map((words) => words.join(''));
    await fc.assert(
      fc.asyncProperty(text, text, async (config, other) => {
        const plan = await planOf({ 'config.txt': config, a: other, 'a/a': config });
        assert.ok(plan.isCmdline('cmdline.txt'));
        assert.ok(!plan.isCmdline('config.txt'));
      }),
    );
  });
});

test('auto_initramfs goes by the name of the kernel alone', () => {
  assert.equal(autoInitramfs('kernel8.img'), 'initramfs8');
  assert.equal(autoInitramfs('kernel_2712.img'), 'initramfs_2712');
  assert.equal(autoInitramfs('kernel.img'), 'initramfs');
  assert.equal(autoInitramfs('kernel8-b2u-wake.img'), 'initramfs8-b2u-wake');
  assert.equal(autoInitramfs('current/kernel8.img'), 'current/initramfs8');
  assert.equal(autoInitramfs('vmlinuz'), undefined);
});

function planOf(files: Readonly<Record<string, string>>) {
  return readBootPlan(bootPartition(files));
}

test('a name that only looks the same is another: the Kelvin sign is no k to FAT', () => {
  const plan = planBoot([]);
  assert.equal(plan.isKernel('KERNEL8.IMG'), true);
  assert.equal(plan.isKernel('/kernel8.img'), true);
  assert.equal(plan.isKernel('\u212aernel8.img'), false);
});
