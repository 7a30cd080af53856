import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { CMDLINE_BYTES_MAX } from '../../../src/base/limits.js';
import { planBoot } from '../../../src/boards/boot-config/boot-plan.js';
import { BOARD_MODELS, selectBoot } from '../../../src/boards/boot-config/boot-selection.js';
import { bootArguments, virtualCmdline } from '../../../src/boards/boot-config/cmdline.js';
import { readBootConfig } from '../../../src/boards/boot-config/config-files.js';
import { parseNbdRoot } from '../../../src/pretend/disk-stage.js';
import { holds } from '../../support/any-inventory.js';
import {
  bootPartition,
  RASPBERRY_PI_OS_CONFIG,
  UBUNTU_NOBLE_CONFIG,
  UBUNTU_QUESTING_CONFIG,
} from '../../support/boot-partitions.js';
import { projectFile } from '../../support/project.js';
import type { FuzzTarget } from '../target.js';

const words = (...texts: readonly string[]) => texts.map((text) => Buffer.from(text, 'latin1'));

/** config.txt, and behind a NUL each the files a.txt and b.txt, which it may include. */
export const configTxt: FuzzTarget = {
  name: 'config-txt',
  good: async () =>
    words(
      ...[RASPBERRY_PI_OS_CONFIG, UBUNTU_NOBLE_CONFIG, UBUNTU_QUESTING_CONFIG],
      'include a.txt\n[all]\ninclude b.txt\n\0[pi4]\nkernel=x\ninclude b.txt\n\0cmdline=y\nos_prefix=z/\ninclude a.txt\n',
    ),
  words: words(
    ...['include a.txt\n', 'include b.txt\n', 'include config.txt\n', '[all]\n', '[none]\n', '[pi4]\n', '[0x1234]\n'],
    ...[
      'os_prefix=',
      'kernel=',
      'cmdline=',
      'initramfs a,b followkernel\n',
      'arm_64bit=1\n',
      '=',
      '\r',
      '\n',
      '[',
      ']',
    ],
  ),
  inputBytesMax: 20_000,
  caseCpuMsMax: 2000,
  start: async () => ({
    async check(input) {
      const [config = '', a = '', b = ''] = Buffer.from(input).toString('latin1').split('\0');
      const read = await readBootConfig('config.txt', bootPartition({ 'config.txt': config, 'a.txt': a, 'b.txt': b }));
      const plan = planBoot([read]);
      // What config.txt includes is never rewritten, even if it is called cmdline.txt.
      assert.ok(plan.cmdlinePaths.length > 0 || read.files.includes('cmdline.txt'));
      for (const paths of [plan.cmdlinePaths, plan.kernelPaths, plan.initramfsPaths]) assert.ok(paths.length <= 4096);
      for (const model of BOARD_MODELS) await selectBoot(read, model, async (path) => path.length % 2 === 0);
    },
  }),
};

/** The kernel arguments: one line, within the kernel's bound, and made again from itself the same. */
export const cmdlineTxt: FuzzTarget = {
  name: 'cmdline-txt',
  good: async () =>
    words(
      'console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootfstype=ext4 fsck.repair=yes rootwait quiet init=/x\n',
      'a="b c" root=/dev/mmcblk0p2 ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:off nbdroot=1/2 -- x y',
      'root=x systemd.hostname=a systemd.machine-id=b -- systemd.hostname=c',
      'netroot=nbd:a:b root-x=1 "root=/dev/sda" ip=off ip=dhcp -- --\r\nroot=/dev/x\n',
    ),
  words: words(' ', '"', '=', ' -- ', 'root=', 'ip=', ' nbdroot=', '\n', '\r', '\t', 'é', '-_'),
  inputBytesMax: 5000,
  caseCpuMsMax: 1000,
  start: async () => ({
    check(input) {
      const twin = { hostname: 'node1', machineId: '0'.repeat(31).concat('1') };
      const options = { address: '192.0.2.1', port: 10_809, exportName: 'node1', rootPartition: 2, twin };
      const original = Buffer.from(input).toString('latin1');
      for (const cmdline of ['auto', { append: 'quiet console=x "a b"', remove: ['console', 'b'] }] as const) {
        const made = bootArguments(original, { ...options, cmdline });
        if (made.answer === 'tooLong') continue;
        assert.ok(made.text.length <= CMDLINE_BYTES_MAX);
        assert.match(made.text, /^[^\n\r]*\n?$/, 'it is one line');
        assert.deepEqual(bootArguments(made.text, { ...options, cmdline }), made);
      }
      const served = virtualCmdline(input, { ...options, cmdline: 'auto' });
      // The scripts of an initramfs split at white space whatever is quoted: what an image hides in quotes it may find there.
      if (served.answer !== 'file' || original.includes('"')) return;
      const root = parseNbdRoot(Buffer.from(served.bytes).toString('latin1'));
      assert.ok(typeof root !== 'string' && root.exportName === 'node1', 'a board finds its disk in it');
      parseNbdRoot(original);
    },
  }),
};

/** config.yaml. */
export const inventory: FuzzTarget = {
  name: 'inventory',
  good: async () => {
    const example = readFileSync(projectFile('config.example.yaml'), 'utf8').replaceAll(/#(?=[a-z0-9_]+:)/g, '');
    const small = 'images: { a: { file: a.img } }\nboards:\n  node1: { serial: 0123, image: a, disk: direct }\n';
    return [Buffer.from(example), Buffer.from(small), Buffer.from(`${small}server: { interface: [eth0, eth1] }\n`)];
  },
  words: words(
    ...['boards:\n', '  serial: ', ': ', '- ', '? ', '{', '}', '[', ']', ',', '\n', '\n  ', '\n    ', '\t', '"', "'"],
    ...['#', '&a ', '*a', '<<: *a\n', '!t ', '|\n', '>\n', '---\n', '...\n', '%YAML 1.2\n', '~', '\\', '\r', '\0'],
    ...['__proto__: ', 'constructor: ', '0x12', '1e7', '16GiB', 'dc:a6:32:01:02:03'],
  ),
  inputBytesMax: 8000,
  caseCpuMsMax: 3000,
  start: async () => ({
    check: (input) => holds(Buffer.from(input).toString('utf8')),
  }),
};
