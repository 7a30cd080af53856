// Two machines at once from one image, each with a disk of its own over it; and what becomes of them when the server is killed.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseSerial } from '../../../src/base/serial.js';
import { machineIdOf } from '../../../src/boards/identity/twin.js';
import { makeLan } from '../../support/lan.js';
import { serveIn } from '../../support/program-in-namespace.js';
import { scratchFolder } from '../../support/scratch.js';
import { bootMachine, type Machine, withoutMachine } from './machine.js';
import { machineImage } from './machine-image.js';

const BOARDS = [
  { name: 'node1', serial: 'bf9fed6f', mac: 'dc:a6:32:01:02:03' },
  { name: 'node2', serial: '1c22f00d', mac: 'dc:a6:32:04:05:06' },
] as const;

test('two Linux on one image', { skip: withoutMachine() }, async (context) => {
  const folder = scratchFolder(context);
  const image = await machineImage();
  const made = statSync(image).mtimeMs;
  const lan = await makeLan(context);
  const inventory = `server: { interface: br0, state: ./state }
images: { debian: { file: ${image} } }
boards:
  node1: { serial: ${BOARDS[0].serial}, image: debian, disk: overlay }
  node2: { serial: ${BOARDS[1].serial}, image: debian, disk: overlay, cmdline: { append: rootflags=errors=panic panic=10 } }
`;
  const server = await serveIn(lan.server, folder, inventory);
  await server.ready();
  const booting = BOARDS.map((identity) => bootMachine(context, { lan, identity, memoryMiB: 384 }));
  const [node1, node2] = await Promise.all(booting);
  assert.ok(node1 !== undefined && node2 !== undefined);

  await context.test('are told apart by their kernel arguments, and by the router', async () => {
    for (const [index, machine] of [node1, node2].entries()) {
      const { name = '', serial = '' } = BOARDS[index] ?? {};
      assert.ok(machine.console().endsWith(`\n${name} login: `), machine.console().slice(-200));
      assert.equal(await machine.run('cat /proc/sys/kernel/hostname'), name);
      assert.equal(await machine.run('cat /etc/machine-id'), machineIdOf(parseSerial(serial)));
    }
    assert.notEqual(await addressOf(node1), await addressOf(node2));
  });

  await context.test('write to disks of their own, and not to the image', async () => {
    await node1.run('echo one > /root/only-here; echo one > /boot/firmware/here-too.txt; sync');
    await node2.run('echo two > /root/only-there; sync');
    assert.equal(await node1.run('ls /root'), 'only-here');
    assert.equal(await node2.run('ls /root'), 'only-there');
    assert.equal((await node2.attempt('cat /boot/firmware/here-too.txt')).status, 1);
    for (const machine of [node1, node2]) assert.equal(await machine.complaints(), '');
    assert.equal(statSync(image).mtimeMs, made);
    assert.ok(statSync(join(folder, 'state', 'disks', 'node1')).isDirectory());
  });

  // docs/howto/a-lost-server.md says what is shown here.
  await context.test(
    'lose their disks with a server that is killed; one with panic= comes back by itself',
    async () => {
      await server.kill();
      await node2.ended();
      assert.match(node2.console(), /Kernel panic - not syncing: EXT4-fs \(device nbd0p2\): panic forced after error/);
      assert.match(node2.console(), /Rebooting in 10 seconds/);

      const again = await serveIn(lan.server, folder, inventory);
      await again.ready();
      await node2.boot();
      assert.equal(await node2.run('cat /root/only-there'), 'two');
      assert.equal(await again.metric('brambleboot_boots_total{board="node2"}'), 1);

      // The other one is there, and has nothing: it does not try again, and can't be asked to reboot.
      assert.match(await node1.complaints(), /I\/O error, dev nbd0/);
      assert.notEqual((await node1.attempt('echo more > /root/only-here')).status, 0);
      assert.equal((await node1.attempt('/usr/bin/fio --version')).status, 126);
      assert.equal(await again.metric('brambleboot_nbd_connections{board="node1"}'), 0);
      // A second later, so that the shell can still answer.
      await node1.run('(/dev/shm/busybox sleep 1; echo b > /proc/sysrq-trigger) >/dev/null 2>&1 &');
      await node1.ended();
      await node1.boot();
      assert.equal(await node1.run('cat /root/only-here'), 'one');
    },
  );
});

async function addressOf(machine: Machine): Promise<string> {
  const [, address = ''] = /inet (10\.77\.0\.\d+)/.exec(await machine.run('ip -4 address')) ?? [];
  return address;
}
