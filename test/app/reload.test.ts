// A whole server in this process, whose inventory changes under boards that use it.
import assert from 'node:assert/strict';
import { copyFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openFileDevice } from '../../src/block/file-device.js';
import type { ReloadVerdict } from '../../src/boards/journal/status.js';
import { Authority } from '../support/certificates.js';
import { until } from '../support/commands.js';
import { reloadingServer, slowTransfer } from '../support/reloading.js';
import { scratchFolder } from '../support/scratch.js';

const ONE = `images: { a: { file: a.img } }
boards: { node1: { serial: 1, image: a } }
`;
const TWO = `images: { a: { file: a.img }, b: { file: b.img } }
boards: { node1: { serial: 1, image: a }, node2: { serial: 2, image: b } }
`;
const SHARED = `images: { a: { file: a.img } }
boards: { node1: { serial: 1, image: a, disk: overlay } }
`;
const LAST = 80 * 1024 * 1024;
const WRITTEN = new Uint8Array(4096).fill(7);

describe('a reload', () => {
  test('adds a board and removes one, with all that is kept of each', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE, images: ['a', 'b'] });
    assert.deepEqual(changedBy(await server.reload(TWO)), ['image b: added', 'board node2: added']);
    assert.equal((await server.fetch('00000002/config.txt')).outcome, 'complete');
    assert.match((await server.fetch('00000002/cmdline.txt')).text, /nbdroot=127\.0\.0\.1:\d+\/node2/);
    const disk = await server.attach('node2');
    await disk.write(LAST, WRITTEN, { durable: true });
    await disk.disconnect();
    assert.deepEqual(names(server), ['node1', 'node2']);
    assert.match(await server.metrics(), /brambleboot_nbd_connections\{board="node2"\} 0/);
    await until(() => server.app.status().boards[1]?.attachedFrom === undefined, 'its end');

    const boots = served(server.app.board('node2')).boots.length;
    assert.deepEqual(changedBy(await server.reload(ONE)), ['image b: removed', 'board node2: removed']);
    assert.deepEqual(names(server), ['node1']);
    await assert.rejects(server.attach('node2'), /No board "node2"/);
    assert.equal((await server.fetch('00000002/config.txt')).outcome, 'refused');
    await until(async () => !(await server.metrics()).includes('node2'), 'its metrics to be gone');

    await server.reload(TWO);
    assert.equal(served(server.app.board('node2')).boots.length, boots);
    const again = await server.attach('node2');
    assert.deepEqual(await again.read(LAST, WRITTEN.length), WRITTEN);
  });

  test('of a file that is as it was does nothing', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE });
    assert.deepEqual(changedBy(await server.reload(ONE)), []);
    assert.deepEqual(server.log.events().slice(-1), ['reload.unchanged']);
    assert.equal(server.app.status().inventory.changed, undefined);
  });

  test('of a faulty file changes nothing and says why, until it is mended', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE, images: ['a', 'b'] });
    const verdict = await server.reload(TWO.replace('serial: 2', 'serial: 1').replace('node1:', 'Node1:'));
    assert.equal(verdict.answer, 'faults');
    assert.equal(verdict.count, 2);
    assert.match(verdict.text, /config\.yaml:\d+:\d+: .*Node1/);
    const { faults } = server.app.status().inventory;
    assert.deepEqual([faults?.count, faults?.text], [verdict.count, verdict.text]);
    assert.deepEqual(names(server), ['node1']);
    assert.match(await server.metrics(), /brambleboot_inventory_faults 2/);
    await until(async () => /last_reload_successful 0/.test(await server.metrics()), 'the metric');
    assert.equal(changedBy(await server.reload(TWO)).length, 2);
    assert.equal(server.app.status().inventory.faults, undefined);
    await until(async () => /last_reload_successful 1/.test(await server.metrics()), 'the metric');
  });

  test('finds what is wrong in images before it changes anything', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE, images: ['a', 'b'] });
    writeFileSync(join(server.folder, 'zero.img'), new Uint8Array(1024 * 1024));
    const bad = TWO.replace('b.img }', 'b.img }, zero: { file: zero.img }').replace(
      'node1: { serial: 1,',
      'node1: { serial: 9,',
    );
    const verdict = await server.reload(
      bad.replace('}\n', '}\n').replace('image: b }', 'image: b }, node3: { serial: 3, image: zero }'),
    );
    assert.equal(verdict.answer, 'faults');
    assert.match(verdict.text, /zero\.img can't be booted from/);
    // Neither the board that could be opened nor the serial.
    assert.deepEqual(names(server), ['node1']);
    assert.equal(server.app.status().boards[0]?.serial, '00000001');
    // What was opened for it is closed again: nobody holds its lock.
    const device = await openFileDevice(join(server.folder, 'b.img'), { access: 'readWrite', lock: 'exclusive' });
    await device.close();
    // The same of a board that has a disk, and would have another: it has it still.
    const other = await server.reload(ONE.replace('a.img', 'zero.img'));
    assert.equal(other.answer, 'faults');
    assert.equal((await server.fetch('00000001/config.txt')).outcome, 'complete');
  });

  test('refuses an image that another program has, and lets go of nothing', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE, images: ['a', 'b'] });
    const device = await openFileDevice(join(server.folder, 'b.img'), { access: 'readWrite', lock: 'exclusive' });
    const verdict = await server.reload(TWO);
    assert.equal(verdict.answer, 'faults');
    assert.match(verdict.text, /in use by/);
    await device.close();
    assert.equal((await server.reload(TWO)).answer, 'reloaded');
  });

  test('gives a board another serial and other arguments under its connection', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE });
    const disk = await server.attach('node1');
    const text = ONE.replace('serial: 1', 'serial: 9, cmdline: { append: hello=world }, allow: 10.9.9.9');
    assert.deepEqual(changedBy(await server.reload(text)), ['board node1: serial, allow, cmdline']);
    await disk.write(LAST, WRITTEN, { durable: true });
    assert.deepEqual(await disk.read(LAST, WRITTEN.length), WRITTEN);
    assert.match((await server.fetch('00000009/cmdline.txt')).text, /hello=world/);
    assert.equal((await server.fetch('00000001/cmdline.txt')).outcome, 'refused');
    await assert.rejects(server.attach('node1'), /127\.0\.0\.1/);
    assert.equal(server.app.status().boards[0]?.attachedFrom, '127.0.0.1');
  });

  test('exchanges the serials of two boards that run', async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b'] });
    const disks = [await server.attach('node1'), await server.attach('node2')];
    const swapped = TWO.replace('serial: 1', 'serial: x')
      .replace('serial: 2', 'serial: 1')
      .replace('serial: x', 'serial: 2');
    assert.deepEqual(changedBy(await server.reload(swapped)), ['board node1: serial', 'board node2: serial']);
    assert.match((await server.fetch('00000002/cmdline.txt')).text, /node1/);
    for (const disk of disks) await disk.read(0, 512);
  });

  test('takes over what it can of the server, and names the rest', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE });
    const settings = server
      .settings()
      .replace('interface: lo,', 'interface: lo, address: 127.0.0.1, allow: 10.1.1.1, on_full: error,')
      .replace(/tftp: \{ port: (\d+) \}/, 'tftp: { port: $1, block_size_max: 512 }')
      .replace(/nbd: \{ port: \d+/, 'nbd: { port: 10808');
    const verdict = await server.reload(ONE, { settings });
    assert.equal(verdict.answer, 'reloaded');
    assert.deepEqual(verdict.changed, ['server.address', 'server.allow', 'tftp.block_size_max']);
    assert.deepEqual(verdict.needsRestart, ['server.on_full', 'nbd.port']);
    assert.deepEqual(server.app.status().inventory.needsRestart, ['server.on_full', 'nbd.port']);
    assert.equal((await server.fetch('00000001/config.txt', { blksize: '1024' })).agreed?.get('blksize'), '512');
    // Boards are told the port that there is.
    assert.match((await server.fetch('00000001/cmdline.txt')).text, new RegExp(`:${server.ports.nbd}/node1`));
    assert.deepEqual(changedBy(await server.reload(ONE)).length, 3);
    assert.deepEqual(server.app.status().inventory.needsRestart, []);
  });

  test('reads certificates and keys anew, for who comes then', async (context) => {
    const folder = scratchFolder(context);
    const ca = new Authority(folder);
    const place = (name: string, days: number) => {
      const { certificate, key } = ca.issue({ subject: '/CN=brambleboot', days });
      copyFileSync(certificate, join(folder, `${name}.pem`));
      copyFileSync(key, join(folder, `${name}.key`));
    };
    place('server', 100);
    const nbd = `tls: { mode: allowed, certificate: ${folder}/server.pem, key: ${folder}/server.key }`;
    const server = await reloadingServer(context, { inventory: ONE, nbd });
    const disk = await server.attach('node1');
    assert.deepEqual(changedBy(await server.reload(ONE)), []);
    const secondsLeft = async () =>
      Number(/seconds_left\{certificate="server"\} (\S+)/.exec(await server.metrics())?.[1]);
    assert.ok((await secondsLeft()) < 101 * 86_400);
    place('server', 500);
    assert.deepEqual(changedBy(await server.reload(ONE)), ['nbd.tls: certificates or keys were read anew']);
    await until(async () => (await secondsLeft()) > 400 * 86_400, 'the new certificate');
    rmSync(join(folder, 'server.key'));
    assert.equal((await server.reload(ONE)).answer, 'faults');
    await disk.read(0, 512);
  });

  test('asked for by many at once is done once more, and one after the other', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE, images: ['a', 'b'] });
    const first = server.reload(TWO);
    const others = Array.from({ length: 50 }, () => server.app.reload({ by: 'SIGHUP', force: false }));
    assert.equal(changedBy(await first).length, 2);
    for (const verdict of await Promise.all(others)) assert.equal(verdict.answer, 'reloaded');
    assert.ok(server.log.events().filter((event) => event.startsWith('reload.')).length <= 3);
  });
});

describe('a board in use', () => {
  test('keeps its disk when it is removed, until it lets go', async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b'] });
    const disk = await server.attach('node2');
    const verdict = await server.reload(ONE);
    assert.deepEqual(waitingOf(verdict), ['node2 removed: it is connected from 127.0.0.1']);
    assert.deepEqual(names(server), ['node1', 'node2']);
    await disk.write(LAST, WRITTEN, { durable: true });
    assert.deepEqual(server.app.status().inventory.waiting.length, 1);
    // Asked again it is not said again.
    await server.reload(ONE);
    assert.equal(server.log.events().filter((event) => event === 'reload.waiting').length, 1);
    await disk.disconnect();
    await until(() => caughtUp(server), 'the removal');
    assert.deepEqual(server.app.status().inventory.waiting, []);
    assert.ok(server.log.events().includes('reload.caught_up'));
    assert.deepEqual(server.app.status().inventory.changed?.what, ['board node2: removed']);
    const device = await openFileDevice(join(server.folder, 'b.img'), { access: 'readWrite', lock: 'exclusive' });
    const read = new Uint8Array(4096);
    await device.read(LAST, read);
    await device.close();
    assert.deepEqual(read, WRITTEN);
  });

  test('is served on if it is put back before', async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b'] });
    const disk = await server.attach('node2');
    await server.reload(ONE);
    const verdict = await server.reload(TWO);
    assert.deepEqual(waitingOf(verdict), []);
    await disk.disconnect();
    await server.attach('node2');
  });

  test('is disconnected by force', async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b'] });
    const disk = await server.attach('node2');
    await server.reload(ONE);
    const verdict = await server.reload(ONE, { force: true });
    assert.deepEqual(changedBy(verdict), ['board node2: removed']);
    assert.deepEqual(waitingOf(verdict), []);
    await assert.rejects(disk.read(0, 512));
    assert.deepEqual(names(server), ['node1']);
  });

  test('that is removed by force while it reads a file leaves its history as it was', async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b'] });
    await server.fetch('00000002/config.txt');
    const transfer = await slowTransfer(context, server.ports, '00000002/kernel8.img');
    const boots = served(server.app.board('node2')).boots.length;
    assert.ok(boots > 0);
    assert.deepEqual(changedBy(await server.reload(ONE, { force: true })), [
      'image b: removed',
      'board node2: removed',
    ]);
    await transfer.rest().catch(() => {});
    await server.reload(TWO);
    assert.equal(served(server.app.board('node2')).boots.length, boots);
  });

  test('has its successor wait: the same serial, and the same image', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE });
    const disk = await server.attach('node1');
    const verdict = await server.reload(ONE.replace('node1', 'renamed'));
    assert.deepEqual(waitingOf(verdict), [
      'node1 removed: it is connected from 127.0.0.1',
      'renamed added: its serial or MAC is still that of node1',
    ]);
    const others = await server.reload(ONE.replace('node1: { serial: 1', 'other: { serial: 5'));
    assert.match(waitingOf(others)[1] ?? '', /^other added: node1 still has its disk on .*a\.img$/);
    await disk.disconnect();
    await until(() => caughtUp(server), 'the other one');
    await server.attach('other');
  });

  test('has who takes over its serial keep the old one', async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b'] });
    const disk = await server.attach('node1');
    const text = 'images: { a: { file: a.img }, b: { file: b.img } }\nboards: { node2: { serial: 1, image: b } }\n';
    const verdict = await server.reload(text);
    assert.deepEqual(waitingOf(verdict), [
      'node1 removed: it is connected from 127.0.0.1',
      'node2 serial: its serial or MAC is still that of node1',
    ]);
    assert.match((await server.fetch('00000001/cmdline.txt')).text, /node1/);
    assert.match((await server.fetch('00000002/cmdline.txt')).text, /node2/);
    await disk.disconnect();
    await until(() => caughtUp(server), 'the removal');
    assert.match((await server.fetch('00000001/cmdline.txt')).text, /node2/);
  });

  test('that reads its boot files reads them to their end', async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b'] });
    const { bytes } = await server.fetch('00000002/kernel8.img');
    const transfer = await slowTransfer(context, server.ports, '00000002/kernel8.img');
    assert.deepEqual(waitingOf(await server.reload(ONE)), ['node2 removed: it is reading its boot files']);
    assert.ok(Buffer.from(bytes).equals(await transfer.rest()));
    await until(() => caughtUp(server), 'the removal');
  });

  test('whose disk is copied keeps it that long', async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b'] });
    const ended = new AbortController();
    let ofBytes = 0;
    const progress = (_: number, all: number) => {
      ofBytes = all;
    };
    const copy = server.app.disks.promote('node2', join(server.folder, 'copy.img'), { progress, signal: ended.signal });
    const verdict = await server.reload(ONE);
    if (ofBytes >= 0) assert.match(waitingOf(verdict).join() || 'it is being copied', /being copied/);
    ended.abort();
    await copy;
    await until(() => caughtUp(server), 'the removal');
    const late = await server.app.disks.snapshot('node2', 'x');
    assert.equal(late.answer, 'unknown');
  });
});

describe('another disk', () => {
  test('of another size is there when the board comes back', async (context) => {
    const server = await reloadingServer(context, { inventory: SHARED });
    const disk = await server.attach('node1');
    await disk.write(LAST, WRITTEN, { durable: true });
    const larger = SHARED.replace('disk: overlay', 'disk: overlay, size: 1GiB');
    assert.deepEqual(waitingOf(await server.reload(larger)), ['node1 size: it is connected from 127.0.0.1']);
    assert.ok(disk.sizeBytes < 1024 ** 3);
    await disk.disconnect();
    await until(() => server.app.status().inventory.waiting.length === 0, 'the change');
    const again = await server.attach('node1');
    assert.equal(again.sizeBytes, 1024 ** 3);
    assert.deepEqual(await again.read(LAST, WRITTEN.length), WRITTEN);
  });

  test('of another kind, and back', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE });
    assert.deepEqual(changedBy(await server.reload(SHARED)), ['board node1: disk']);
    const first = await server.attach('node1');
    await first.write(LAST, WRITTEN, { durable: true });
    await first.disconnect();
    await until(() => server.app.status().boards[0]?.attachedFrom === undefined, 'its end');
    assert.deepEqual(changedBy(await server.reload(ONE)), ['board node1: disk']);
    assert.notDeepEqual(await (await server.attach('node1')).read(LAST, WRITTEN.length), WRITTEN);
  });

  test('an image that was replaced is opened anew, and not while its board has the one before', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE, images: ['a', 'b'] });
    const disk = await server.attach('node1');
    await disk.write(LAST, WRITTEN, { durable: true });
    renameSync(join(server.folder, 'b.img'), join(server.folder, 'a.img'));
    assert.deepEqual(waitingOf(await server.reload(ONE)), [
      'node1 the file of its image was replaced: it is connected from 127.0.0.1',
    ]);
    assert.deepEqual(await disk.read(LAST, WRITTEN.length), WRITTEN);
    await disk.disconnect();
    await until(() => server.app.status().inventory.waiting.length === 0, 'the change');
    assert.deepEqual(server.app.status().inventory.changed?.what, ['board node1: the file of its image was replaced']);
    assert.notDeepEqual(await (await server.attach('node1')).read(LAST, WRITTEN.length), WRITTEN);
    assert.deepEqual(changedBy(await server.reload(ONE)), []);
  });

  test('one more board over an image that runs, and a new image for new boards', async (context) => {
    const server = await reloadingServer(context, { inventory: SHARED, images: ['a', 'b'] });
    const disk = await server.attach('node1');
    await disk.write(LAST, WRITTEN, { durable: true });
    const both = SHARED.replace('disk: overlay }', 'disk: overlay }, node2: { serial: 2, image: a, disk: volatile }');
    assert.deepEqual(changedBy(await server.reload(both)), ['board node2: added']);
    assert.equal((await server.attach('node2')).sizeBytes, disk.sizeBytes);
    assert.equal(server.app.status().images.length, 1);
    // The same name for another file: node1 has to wait, node3 does not.
    const moved = SHARED.replace('a.img', 'b.img').replace(
      'disk: overlay }',
      'disk: overlay }, node3: { serial: 3, image: a, disk: overlay }',
    );
    const verdict = await server.reload(moved, { force: false });
    assert.deepEqual(changedBy(verdict), ['image a: file', 'board node3: added']);
    assert.deepEqual(waitingOf(verdict), [
      'node2 removed: it is connected from 127.0.0.1',
      'node1 file of its image: it is connected from 127.0.0.1',
    ]);
    await (await server.attach('node3')).read(0, 512);
    assert.deepEqual(await disk.read(LAST, WRITTEN.length), WRITTEN);
    assert.equal(server.app.status().images.length, 2);
    await disk.disconnect();
    await until(() => server.app.status().inventory.waiting.length === 1, 'the change');
    assert.match(server.app.status().boards.find(({ name }) => name === 'node1')?.own?.unusable ?? '', /b\.img/);
  });

  test("that can't be opened in the end is tried again, and the others are served", async (context) => {
    const server = await reloadingServer(context, { inventory: TWO, images: ['a', 'b', 'c'] });
    const held = await openFileDevice(join(server.folder, 'c.img'), { access: 'readWrite', lock: 'exclusive' });
    const verdict = await server.reload(TWO.replace('b.img', 'c.img'));
    assert.match(waitingOf(verdict).join(), /node2 file of its image: .*in use by/);
    assert.deepEqual(names(server), ['node1']);
    await held.close();
    await until(() => names(server).length === 2, 'the other disk');
    await server.attach('node2');
  });

  test('is none where the image is gone: the board goes on, and the file has a fault', async (context) => {
    const server = await reloadingServer(context, { inventory: ONE });
    const disk = await server.attach('node1');
    rmSync(join(server.folder, 'a.img'));
    assert.equal((await server.reload(ONE.replace('serial: 1', 'serial: 2'))).answer, 'faults');
    await disk.read(0, 512);
    assert.equal(server.app.status().boards[0]?.serial, '00000001');
  });

  test('smaller than the one before is told, and the board is there', async (context) => {
    const larger = SHARED.replace('disk: overlay', 'disk: overlay, size: 1GiB');
    const server = await reloadingServer(context, { inventory: larger });
    assert.deepEqual(changedBy(await server.reload(SHARED)), ['board node1: size']);
    assert.match(server.app.status().boards[0]?.own?.unusable ?? '', /its end would be cut off/);
    await server.reload(larger);
    assert.equal(server.app.status().boards[0]?.own?.unusable, undefined);
    truncateSync(join(server.folder, 'a.img'), 0);
    assert.equal((await server.reload(SHARED)).answer, 'faults');
  });
});

function names({ app }: Awaited<ReturnType<typeof reloadingServer>>): readonly string[] {
  return app.status().boards.map(({ name }) => name);
}

/** Nothing waits any more. */
function caughtUp({ app }: Awaited<ReturnType<typeof reloadingServer>>): boolean {
  return app.status().inventory.waiting.length === 0;
}

function served(verdict: ReturnType<Awaited<ReturnType<typeof reloadingServer>>['app']['board']>) {
  if (verdict.answer === 'unknown') throw new Error(verdict.because);
  return verdict.board;
}

function changedBy(verdict: ReloadVerdict): readonly string[] {
  if (verdict.answer === 'reloaded') return verdict.changed;
  throw new Error(verdict.answer === 'faults' ? verdict.text : verdict.because);
}

function waitingOf(verdict: ReloadVerdict): readonly string[] {
  if (verdict.answer !== 'reloaded') throw new Error(verdict.answer === 'faults' ? verdict.text : verdict.because);
  return verdict.waiting.map(({ board, what, because }) => `${board} ${what}: ${because}`);
}
