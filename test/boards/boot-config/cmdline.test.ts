import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CMDLINE_BYTES_MAX } from '../../../src/base/limits.js';
import {
  type BootArgumentsOptions,
  bootArguments,
  firstBootArguments,
  virtualCmdline,
} from '../../../src/boards/boot-config/cmdline.js';
import { without } from '../../support/programs.js';
import { scratchFolder } from '../../support/scratch.js';

const OPTIONS: BootArgumentsOptions = {
  address: '192.168.1.10',
  port: 10809,
  exportName: 'node1',
  rootPartition: 2,
  twin: undefined,
  cmdline: 'auto',
};
const TWIN = { hostname: 'node1', machineId: 'ee9d809829634419948746cbeb729118' };
const TOLD_APART = `systemd.hostname=node1 systemd.machine_id=${TWIN.machineId}`;
const OURS = 'ip=dhcp nbdroot=192.168.1.10/node1 netroot=nbd:192.168.1.10:node1 root=/dev/nbd0p2';

describe('the virtual cmdline.txt', () => {
  test('of Raspberry Pi OS Bookworm has our root in place of the one on the card', () => {
    assert.equal(
      lineOf(
        'console=serial0,115200 console=tty1 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait quiet\n',
      ),
      `console=serial0,115200 console=tty1 ${OURS} rootfstype=ext4 fsck.repair=yes rootwait quiet\n`,
    );
  });

  test('keeps the first boot of Raspberry Pi OS: it makes the keys, grows the root and takes itself out of the real file', () => {
    const bookworm = 'root=PARTUUID=4e639091-02 rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot';
    assert.equal(lineOf(bookworm), `${OURS} rootwait quiet init=/usr/lib/raspberrypi-sys-mods/firstboot`);
    const trixie = 'root=PARTUUID=7351b90c-02 rootfstype=ext4 fsck.repair=yes rootwait resize';
    assert.equal(lineOf(trixie), `${OURS} rootfstype=ext4 fsck.repair=yes rootwait resize`);
    assert.deepEqual(firstBootArguments(bookworm), ['init=/usr/lib/raspberrypi-sys-mods/firstboot']);
    assert.deepEqual(firstBootArguments(`${trixie}\ninit=/usr/lib/raspi-config/init_resize.sh`), ['resize']);
  });

  test('of Ubuntu', () => {
    assert.equal(
      lineOf(
        'console=serial0,115200 multipath=off dwc_otg.lpm_enable=0 console=tty1 root=LABEL=writable rootfstype=ext4 panic=10 rootwait fixrtc\n',
      ),
      `console=serial0,115200 multipath=off dwc_otg.lpm_enable=0 console=tty1 ${OURS} rootfstype=ext4 panic=10 rootwait fixrtc\n`,
    );
  });

  test('of an image that was prepared before has nothing twice', () => {
    const prepared =
      'ip=dhcp nbdroot=server/old root=/dev/nbd0p2 console=tty1 nbddev=/dev/nbd1 netroot=nbd:a:b rootwait';
    assert.equal(lineOf(prepared), `${OURS} console=tty1 rootwait`);
    // nobodd-prep run twice puts its arguments in twice.
    assert.equal(lineOf('ip=dhcp nbdroot=s/e ip=dhcp nbdroot=s/e root=/dev/nbd0p2 quiet'), `${OURS} quiet`);
    assert.equal(lineOf('root=nbd:10.0.0.1:raw:ext4 quiet'), `${OURS} quiet`);
  });

  test('keeps an address that somebody chose, but none that is no address', () => {
    const fixed = 'ip=192.168.1.50::192.168.1.1:255.255.255.0:node1:eth0:off';
    assert.equal(lineOf(`${fixed} root=/dev/mmcblk0p2`), OURS.replace('ip=dhcp', fixed));
    assert.equal(lineOf('ip=off root=/dev/mmcblk0p2 ip='), OURS);
  });

  test('says the port when it is not the usual one, to both kinds of initramfs', () => {
    assert.equal(
      lineOf('root=x', { port: 10810 }),
      'ip=dhcp nbdroot=192.168.1.10:10810/node1 netroot=nbd:192.168.1.10:10810:auto::-name,node1 root=/dev/nbd0p2',
    );
  });

  test('of a board with a number for a name does not have dracut take it for a port', () => {
    assert.match(lineOf('root=x', { exportName: '42' }), / netroot=nbd:192\.168\.1\.10:10809:auto::-name,42 /);
  });

  test('without a root= of its own ends with ours, in front of what is for init', () => {
    assert.equal(lineOf('quiet'), `quiet ${OURS}`);
    assert.equal(lineOf(''), OURS);
    assert.equal(lineOf('quiet -- single'), `quiet ${OURS} -- single`);
  });

  test('has no root behind what is for init either: initramfs-tools would take it, as it takes the last of the whole line', () => {
    assert.equal(lineOf('quiet -- single root=x ip=off 3'), `quiet ${OURS} -- single 3`);
  });

  test('is made of the first line alone', () => {
    assert.equal(lineOf('root=a quiet\nroot=b splash\n'), `${OURS} quiet\n`);
    assert.equal(lineOf('root=a quiet\r\n'), `${OURS} quiet\n`);
    assert.equal(lineOf('root=a quiet\0junk'), `${OURS} quiet`);
  });

  test('takes arguments away by name and puts others at the end', () => {
    const wish = { remove: ['quiet', 'splash', 'console=tty1'], append: 'console=ttyS0 panic=5' };
    assert.equal(
      lineOf('console=tty1 console=tty2 root=x quiet splash=silent rootwait\n', { cmdline: wish }),
      `console=tty2 ${OURS} rootwait console=ttyS0 panic=5\n`,
    );
    assert.equal(lineOf('console=tty1 console=tty2 root=x', { cmdline: { remove: ['console='] } }), OURS);
    assert.equal(lineOf('root=x -- single', { cmdline: { append: 'panic=5' } }), `${OURS} panic=5 -- single`);
  });

  test('lets what is appended win over what we would say', () => {
    const line = lineOf('root=x ip=off', {
      cmdline: { append: 'ip=10.0.0.9::10.0.0.1:255.0.0.0::eth0:off root=/dev/nbd0p3' },
    });
    assert.equal(
      line,
      'nbdroot=192.168.1.10/node1 netroot=nbd:192.168.1.10:node1 ip=10.0.0.9::10.0.0.1:255.0.0.0::eth0:off root=/dev/nbd0p3',
    );
  });

  test('keeps quotes whole, and closes one that was left open so that it swallows nothing', () => {
    assert.equal(lineOf('a="x root=y" "b=1 2" root=z'), `a="x root=y" "b=1 2" ${OURS}`);
    assert.equal(lineOf('"root=LABEL=my card" quiet'), `${OURS} quiet`);
    assert.equal(
      lineOf('root=x dyndbg="file a +p', { cmdline: { append: 'quiet' } }),
      `${OURS} dyndbg="file a +p" quiet`,
    );
  });

  test('of a board that shares its image says which one it is', () => {
    assert.equal(
      lineOf('console=tty1 root=PARTUUID=1-02 rootwait\n', { twin: TWIN }),
      `console=tty1 ${OURS} ${TOLD_APART} rootwait\n`,
    );
    const changes = { append: 'console=ttyS0', remove: ['quiet'] };
    assert.equal(lineOf('root=x quiet', { twin: TWIN, cmdline: changes }), `${OURS} ${TOLD_APART} console=ttyS0`);
    assert.equal(lineOf('root=x', { twin: TWIN, cmdline: 'as-is' }), 'root=x');
  });

  test('leaves to the image what it says of that itself, however it is spelled', () => {
    const [hostname, machineId] = TOLD_APART.split(' ');
    const own = 'systemd.hostname=kiosk';
    assert.equal(lineOf(`root=x quiet ${own}`, { twin: TWIN }), `${OURS} ${machineId} quiet ${own}`);
    assert.equal(lineOf('root=x systemd.machine-id=1', { twin: TWIN }), `${OURS} ${hostname} systemd.machine-id=1`);
    assert.equal(lineOf(`root=x -- ${own}`, { twin: TWIN }), `${OURS} ${machineId} -- ${own}`);
  });

  test('does without it where the inventory takes it away, or appends its own', () => {
    const remove = ['systemd.hostname', 'systemd.machine_id'];
    assert.equal(lineOf('root=x', { twin: TWIN, cmdline: { remove } }), OURS);
    assert.equal(lineOf('root=x systemd.hostname=a', { twin: TWIN, cmdline: { remove } }), OURS);
    assert.equal(
      lineOf('root=x', { twin: TWIN, cmdline: { append: 'systemd.hostname=kiosk', remove: remove.slice(1) } }),
      `${OURS} systemd.hostname=kiosk`,
    );
  });

  test('as it is, is as it is', () => {
    const original = 'root=x\n\nroot=y  "';
    assert.deepEqual(bootArguments(original, { ...OPTIONS, cmdline: 'as-is' }), { answer: 'line', text: original });
  });

  test('that would be too long is not made', () => {
    const room = CMDLINE_BYTES_MAX - OURS.length - ' \n'.length;
    assert.equal(lineOf(`root=x ${'a'.repeat(room)}\n`).length, CMDLINE_BYTES_MAX);
    assert.deepEqual(bootArguments(`root=x ${'a'.repeat(room + 1)}\n`, OPTIONS), {
      answer: 'tooLong',
      lengthBytes: CMDLINE_BYTES_MAX + 1,
    });
  });

  test('keeps bytes that are no text, and appends UTF-8', () => {
    const made = virtualCmdline(Uint8Array.of(0xff, 0xe9, 0x0a), { ...OPTIONS, cmdline: { append: 'name=é' } });
    assert.equal(made.answer, 'file');
    assert.deepEqual(
      made.answer === 'file' && Buffer.from(made.bytes),
      Buffer.concat([Buffer.from([0xff, 0xe9]), Buffer.from(` ${OURS} name=é\n`, 'utf8')]),
    );
  });

  test('whatever the original: one line, within the limit, our root once, and the same again from itself', () => {
    const part = fc.constantFrom(
      ...[
        'root=x',
        'root="a b"',
        'ip=dhcp',
        'ip=off',
        'ip=1.2.3.4',
        'nbdroot=a/b',
        'netroot=nbd:a:b',
        'nbddev=/dev/nbd1',
        OURS,
      ],
      ...[
        'quiet',
        'console=tty1',
        'systemd.hostname=a',
        'systemd.machine-id=b',
        '--',
        '"',
        'a="b',
        'c d"',
        ' ',
        '\t',
        '\n',
        '\r',
        '\0',
        '\xff',
        'x'.repeat(900),
        'rootwait',
      ],
    );
    const text = fc.array(part, { maxLength: 12 }).map((parts) => parts.join(' '));
    const wish = fc.oneof(
      fc.constant('auto' as const),
      fc.record({
        append: text,
        remove: fc.array(fc.constantFrom('quiet', 'root', 'ip', 'systemd.hostname', 'console=tty1', 'a', '--')),
      }),
    );
    const port = fc.constantFrom(10809, 10810);
    const name = fc.constantFrom('node1', '7', 'a-b');
    const anyTwin = fc.constantFrom(undefined, TWIN);
    fc.assert(
      fc.property(
        fc.oneof(text, fc.string({ unit: 'binary' })),
        wish,
        port,
        name,
        anyTwin,
        (original, cmdline, port, exportName, twin) => {
          const options = { ...OPTIONS, cmdline, port, exportName, twin };
          const made = bootArguments(original, options);
          if (made.answer === 'tooLong') return assert.ok(made.lengthBytes > CMDLINE_BYTES_MAX);
          assert.match(made.text, /^[^\r\n\0]*\n?$/);
          assert.ok(made.text.length <= CMDLINE_BYTES_MAX);
          assert.equal((made.text.split('"').length - 1) % 2, 0);
          const forKernel = made.text.replaceAll(/"[^"]*"/g, '').split(/(?:^| )--(?: |\n|$)/)[0] ?? '';
          const roots = forKernel.split(/\s+/).filter((argument) => argument.startsWith('root='));
          if (cmdline === 'auto') assert.deepEqual(roots, ['root=/dev/nbd0p2']);
          assert.deepEqual(bootArguments(made.text, options), made);
          return undefined;
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("the script of Debian's nbd-client package", () => {
  const script = '/usr/share/initramfs-tools/scripts/local-top/nbd';
  for (const [port, name] of [
    [10809, 'node1'],
    [10810, 'node1'],
    [10809, '42'],
  ] as const) {
    test(`makes of our arguments what we mean, with port ${port} and name ${name}`, {
      skip: without('nbd-client', 'nbd-client'),
    }, (context) => {
      const folder = scratchFolder(context);
      const cmdline = join(folder, 'cmdline');
      const functions = join(folder, 'functions');
      writeFileSync(cmdline, lineOf('console=tty1 root=LABEL=writable rootwait\n', { port, exportName: name }));
      writeFileSync(
        functions,
        'modprobe() { :; }; wait_for_udev() { :; }; configure_networking() { :; }; log_begin_msg() { :; }; log_failure_msg() { echo "$@"; }; log_end_msg() { :; }; blockdev() { :; }\n',
      );
      const local = join(folder, 'nbd');
      const original = readFileSync(script, 'utf8');
      writeFileSync(local, original.replaceAll('/proc/cmdline', cmdline).replaceAll('/scripts/functions', functions));
      const output = execFileSync('/bin/sh', [local], {
        env: { ...process.env, NBDCLIENT: 'echo' },
        stdio: ['ignore', 'pipe', 'ignore'],
        encoding: 'utf8',
      });
      const portWord = port === 10809 ? '' : `${port} `;
      assert.match(output, new RegExp(`^192\\.168\\.1\\.10 (.* )?-N ${name} ${portWord}(.* )?/dev/nbd0 `));
    });
  }
});

function lineOf(original: string, changes: Partial<BootArgumentsOptions> = {}): string {
  const made = bootArguments(original, { ...OPTIONS, ...changes });
  assert.equal(made.answer, 'line');
  return made.answer === 'line' ? made.text : '';
}
