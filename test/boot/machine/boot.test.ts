// A real Linux boots from us and lives on our disk: the firmware is played, the rest is Debian's kernel, initramfs and nbd-client in a virtual
// machine. One boot takes a minute, so that the tests of this file are one life of one board, and each goes on where the one before it ended.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '../../support/commands.js';
import { makeLan, SERVER_ADDRESS } from '../../support/lan.js';
import { outputIn, serveIn } from '../../support/program-in-namespace.js';
import { anyOf, without } from '../../support/programs.js';
import { scratchFolder } from '../../support/scratch.js';
import { bootMachine, withoutMachine } from './machine.js';
import { BOOT_PARTITION, copyMachineImage, ROOT_PARTITION } from './machine-image.js';

const NODE1 = { serial: 'bf9fed6f', mac: 'dc:a6:32:01:02:03' };
const BOOTS = 'brambleboot_boots_total{board="node1"}';
const MIB = 1024 * 1024;
const missing = anyOf(withoutMachine(), without('curl', 'curl'), without('e2fsck', 'e2fsprogs'));

test('a real Linux with a disk of ours', { skip: missing }, async (context) => {
  const folder = scratchFolder(context);
  const image = join(folder, 'node1.img');
  await copyMachineImage(image);
  const lan = await makeLan(context);
  const server = await serveIn(
    lan.server,
    folder,
    `server: { interface: br0, state: ./state }
images: { debian: { file: node1.img } }
boards: { node1: { serial: ${NODE1.serial}, image: debian, disk: direct } }
`,
  );
  await server.ready();
  const machine = await bootMachine(context, { lan, identity: NODE1 });
  const served = (name: string) =>
    outputIn(lan.router, 'curl', '-s', `tftp://${SERVER_ADDRESS}/${NODE1.serial}/${name}`);

  await context.test('boots from an image as it was made, by the kernel arguments that it is served', async () => {
    const root = `ip=dhcp nbdroot=${SERVER_ADDRESS}/node1 netroot=nbd:${SERVER_ADDRESS}:node1 root=/dev/nbd0p2`;
    assert.equal(machine.loaded().cmdline, `console=ttyS0 ${root} rootfstype=ext4 rootwait fixrtc`);
    assert.equal(await machine.run('cat /proc/cmdline'), machine.loaded().cmdline);
    assert.match(await machine.run('cat /boot/firmware/cmdline.txt'), /root=LABEL=writable/);
    assert.equal(
      await machine.run('findmnt -no SOURCE /; findmnt -no SOURCE /boot/firmware'),
      '/dev/nbd0p2\n/dev/nbd0p1',
    );
    assert.match(await machine.run('ip -4 address'), /inet 10\.77\.0\.[5-9]\d\/24/);
    assert.match(machine.console(), /\nboard login: $/);
    assert.equal(await server.metric(BOOTS), 1);
  });

  await context.test('what it writes to /boot/firmware and syncs is what TFTP serves next', async () => {
    await machine.run('echo "new in the machine" > /boot/firmware/note.txt; sync');
    assert.equal(await served('note.txt'), 'new in the machine\n');
    const before = await machine.run('uname -r');
    await machine.run('rm /boot/firmware/vmlinuz /boot/firmware/initrd.img');
    await machine.run('cp /boot/vmlinuz-*[0-9]-amd64 /boot/firmware/vmlinuz', 240_000);
    await machine.run('cp /boot/initrd.img-*[0-9]-amd64 /boot/firmware/initrd.img; sync', 240_000);
    const wanted = await machine.run("sha256sum /boot/firmware/vmlinuz | cut -d ' ' -f 1");

    await machine.reboot();
    assert.equal(createHash('sha256').update(readFileSync(machine.loaded().kernel)).digest('hex'), wanted);
    const after = await machine.run('uname -r');
    assert.notEqual(after, before);
    assert.ok((await machine.run('ls /boot/vmlinuz-*[0-9]-amd64')).endsWith(after));
    assert.equal(await server.metric(BOOTS), 2);
  });

  await context.test('swaps to it', async () => {
    await machine.run('dd if=/dev/zero of=/swap bs=1M count=128 && chmod 600 /swap && mkswap /swap && swapon /swap');
    await machine.run('mkdir /tmp/full && mount -t tmpfs none /tmp/full');
    // What is more than half of it has to be swapped out, and comes back to be read.
    const small = '/sys/fs/cgroup/small';
    await machine.run(`mkdir ${small} && echo 48M > ${small}/memory.max`);
    const inside = (command: string) => machine.run(`echo $$ > ${small}/cgroup.procs && ${command}`, 300_000);
    await inside('dd if=/dev/urandom bs=1M count=96 | tee /tmp/full/data | sha256sum > /tmp/sum');
    const [, usedKib] = /^\/swap\s+\S+\s+\d+\s+(\d+)/m.exec(await machine.run('cat /proc/swaps')) ?? [];
    assert.ok(Number(usedKib) > 40 * 1024, `only ${usedKib} KiB are in the swap file`);
    await inside('sha256sum < /tmp/full/data | cmp - /tmp/sum');
    await machine.run('umount /tmp/full && swapoff /swap && rm /swap');
  });

  await context.test('reads back what it wrote', async () => {
    const job =
      '--name=verify --filename=/root/fio.data --size=200M --rw=randwrite --bs=64k --ioengine=libaio --iodepth=16 --direct=1';
    await machine.run(`fio ${job} --verify=crc32c --verify_fatal=1 --end_fsync=1`, 600_000);
  });

  await context.test('gives back what it deletes', async () => {
    await machine.run('sync');
    const before = allocatedBytes(image);
    await machine.run('rm /root/fio.data && sync && fstrim -v /', 300_000);
    assert.ok(allocatedBytes(image) < before - 190 * MIB, `${allocatedBytes(image)} of ${before} bytes are left`);
  });

  await context.test('leaves sound filesystems behind', async () => {
    assert.equal(await machine.complaints(), '');
    await machine.powerOff();
    await server.stop();
    await run('e2fsck', ['-f', '-n', `${image}?offset=${ROOT_PARTITION.offsetBytes}`]);
    const fat = join(folder, 'fat');
    const { offsetBytes, sizeBytes } = BOOT_PARTITION;
    await run('dd', [`if=${image}`, `of=${fat}`, 'bs=1M', `skip=${offsetBytes / MIB}`, `count=${sizeBytes / MIB}`]);
    await run('fsck.vfat', ['-n', fat]);
  });
});

function allocatedBytes(file: string): number {
  return statSync(file).blocks * 512;
}
