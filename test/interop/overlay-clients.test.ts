// Foreign clients of a board's own disk: what they wrote is what they read, while snapshots are taken, and after a rollback.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { background, run, until } from '../support/commands.js';
import { makePiImage, PI_NOTE, PI_ROOT, withoutPiImage } from '../support/pi-image.js';
import { anyOf, without, withoutAccess } from '../support/programs.js';
import { noise } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { loopFilesystem, withoutDiskFilesystem } from '../support/small-filesystem.js';

const MEBI = 1024 * 1024;
const IMAGE_BYTES = 112 * MEBI;
const SIZE = 192 * MEBI;

async function served(context: TestContext) {
  const folder = scratchFolder(context);
  const image = join(folder, 'demo.img');
  await makeDemoImage(image);
  truncateSync(image, IMAGE_BYTES);
  return { image, ...(await serving(context, folder, 'demo.img')) };
}

async function serving(context: TestContext, folder: string, image: string) {
  const inventory = `images: { demo: { file: ${image} } }
boards: { node1: { serial: bf9fed6f, image: demo, disk: overlay, size: 192MiB } }
`;
  const server = await startTestServer(context, { inventory, folder });
  return { server, folder, uri: `nbd://127.0.0.1:${server.ports.nbd}/node1` };
}

test('nbdcopy reads the image and zeroes behind it, writes all of the disk, and the image is as it was', {
  skip: without('nbdcopy', 'libnbd-bin'),
}, async (context) => {
  const { folder, image, uri } = await served(context);
  const [first, written, read] = ['first', 'written', 'read'].map((name) => join(folder, name));
  assert.ok(first !== undefined && written !== undefined && read !== undefined);
  const before = readFileSync(image);
  await run('nbdcopy', ['--connections=4', uri, first]);
  assert.equal(statSync(first).size, SIZE);
  assert.ok(readFileSync(first).subarray(0, IMAGE_BYTES).equals(before));
  assert.ok(
    readFileSync(first)
      .subarray(IMAGE_BYTES)
      .every((byte) => byte === 0),
  );
  const content = Buffer.from(noise(SIZE / 4));
  writeFileSync(written, Buffer.concat([content, Buffer.alloc(SIZE / 4), content, Buffer.alloc(SIZE / 4, 7)]));
  await run('nbdcopy', ['--flush', '--connections=4', written, uri]);
  await run('nbdcopy', ['--connections=4', uri, read]);
  await run('cmp', [written, read]);
  assert.ok(readFileSync(image).equals(before));
});

test('qemu-io: patterns, zeroes and discards at odd places, and a discard gives its space back', {
  skip: without('qemu-io', 'qemu-utils'),
}, async (context) => {
  const { folder, uri } = await served(context);
  const allocated = async () =>
    Number((await run('du', ['-s', '-B1', join(folder, 'state/disks')])).toString().split('\t')[0]);
  const qemuIo = async (...commands: readonly string[]) => {
    const words = commands.flatMap((command) => ['-c', command]);
    const said = (await run('qemu-io', ['-f', 'raw', ...words, uri])).toString();
    assert.doesNotMatch(said, /fail|error/i);
  };
  await qemuIo('write -P 0x5a 100M 40M', 'flush');
  const full = await allocated();
  assert.ok(full >= 40 * MEBI);
  await qemuIo(
    'write -P 0x11 100M 512', // in the middle of blocks, which are the disk's already
    'write -P 0x22 160M 512', // and not yet
    'write -P 0x33 170001k 3k',
    'write -z 101M 65k',
    'write -z -u 110M 10M',
    'write -z -u 175M 1537k',
    'discard 125M 10M',
    'write -f -P 0x44 126M 4k',
    'flush',
    'read -P 0x11 100M 512',
    'read -P 0x5a 104858112 3584',
    'read -P 0x22 160M 512',
    'read -P 0 167772672 3584',
    'read -P 0x33 170001k 3k',
    'read -P 0 101M 65k',
    'read -P 0x5a 103489k 64k',
    'read -P 0 110M 10M',
    'read -P 0 125M 1M',
    'read -P 0x44 126M 4k',
    'read -P 0 129028k 1M',
    'read -P 0x5a 135M 5M',
  );
  const left = await allocated();
  assert.ok(left <= full - 19 * MEBI, `${full} bytes, then ${left}`);
});

test('fio verifies what it wrote in blocks of every size, with flushes between, while snapshots are taken', {
  skip: without('fio', 'fio'),
}, async (context) => {
  const { folder, server, uri } = await served(context);
  const { disks } = server.app;
  const job = [
    '--name=verify',
    '--ioengine=nbd',
    `--uri=${uri}`,
    '--rw=randwrite',
    '--bsrange=512-131072',
    '--iodepth=16',
  ];
  const how = ['--fsync=64', '--verify=crc32c', '--verify_fatal=1', '--do_verify=1', '--verify_backlog=200'];
  const where = [`--offset=${96 * MEBI}`, `--size=${90 * MEBI}`, '--io_size=120M', '--randseed=5'];
  let isOver = false;
  const fio = run('fio', [...job, ...how, ...where], { cwd: folder }).finally(() => {
    isOver = true;
  });
  const held: number[] = [];
  while (!isOver && held.length < 60) {
    const verdict = await disks.snapshot('node1', `s${held.length}`);
    assert.ok(verdict.answer === 'done', JSON.stringify(verdict));
    held.push(verdict.heldMs);
    // As often as somebody who is in a hurry could.
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.match((await fio).toString(), /err= 0/);
  assert.ok(held.length >= 2);
  context.diagnostic(`${held.length} snapshots, held for ${Math.max(...held)} ms at most`);
  const list = await disks.snapshots('node1');
  assert.ok(list.answer === 'done' && list.snapshots.length === held.length);
});

test('a snapshot of a mounted ext4 that is written to has every file that was synced before, and fsck finds it clean', {
  skip: anyOf(
    withoutDiskFilesystem('ext4'),
    withoutPiImage(),
    without('nbdfuse', 'nbdfuse'),
    without('fusermount3', 'fuse3'),
    without('nbdkit', 'nbdkit'),
    withoutAccess('/dev/fuse'),
  ),
  timeout: 200_000,
}, async (context) => {
  const folder = scratchFolder(context);
  await makePiImage(folder, 'dos');
  const there = await serving(context, folder, 'pi.img');
  const { disks } = there.server.app;
  const mount = mounts(context, there);
  const disk = await mount();
  const filesystem = await loopFilesystem(context, disk.file, PI_ROOT);
  const script = `i=0; while :; do i=$((i+1)); yes "file $i" | head -c 9000 > "$1/f$i" && sync "$1/f$i" && echo "$i"; mv "$1/f$i" "$1/g$i"; done`;
  const writer = filesystem.spawn('sh', ['-c', script, 'sh', filesystem.folder]);
  let synced = 0;
  writer.stdout?.on('data', (chunk: Buffer) => {
    synced = Number(chunk.toString().trim().split('\n').at(-1));
  });
  const taken: { readonly name: string; readonly files: number; readonly heldMs: number }[] = [];
  for (const upTo of [30, 90, 150]) {
    await until(() => synced >= upTo, `${upTo} files`);
    const files = synced;
    const verdict = await disks.snapshot('node1', `after${upTo}`);
    assert.ok(verdict.answer === 'done', JSON.stringify(verdict));
    taken.push({ name: `after${upTo}`, files, heldMs: verdict.heldMs });
  }
  await until(() => synced >= 180, 'the last files');
  writer.kill('SIGKILL');
  await until(() => writer.exitCode !== null || writer.signalCode !== null, 'the writer');
  // Both: what lies in the disk, and what its namespace has of the disk.
  const umount = filesystem.spawn('umount', [filesystem.folder, disk.mountPoint]);
  await until(() => umount.exitCode !== null, 'umount');
  assert.equal(umount.exitCode, 0);
  await disk.unmount();

  for (const { name, files } of taken.reverse()) {
    assert.equal((await disks.rollback('node1', name, { force: false })).answer, 'done');
    const root = await mount(2);
    const repaired = await run('sh', ['-c', 'e2fsck -p "$1" || [ $? -eq 1 ]', 'sh', root.file]);
    assert.match(repaired.toString(), /recovering journal|clean/);
    const checked = await run('e2fsck', ['-f', '-n', root.file]);
    assert.doesNotMatch(checked.toString(), /Fix|error/i);
    const copy = join(folder, name);
    mkdirSync(copy);
    await run('debugfs', ['-R', `rdump / ${copy}`, root.file]);
    assert.equal(readFileSync(join(copy, 'note'), 'utf8'), PI_NOTE);
    for (let file = 1; file <= files; file += 1) {
      const path = [`f${file}`, `g${file}`].map((each) => join(copy, each)).find((each) => existsSync(each));
      assert.ok(path !== undefined, `${name}: file ${file} of ${files}`);
      assert.equal(readFileSync(path, 'utf8'), `file ${file}\n`.repeat(9000).slice(0, 9000), `${name}: ${path}`);
    }
    await root.unmount();
  }
  context.diagnostic(JSON.stringify(taken));
});

function mounts(
  context: TestContext,
  { folder, uri }: { readonly server: TestServer; readonly folder: string; readonly uri: string },
) {
  const mountPoint = join(folder, 'mnt');
  mkdirSync(mountPoint);
  const file = join(mountPoint, 'nbd');
  return async (partition?: number) => {
    const filter = ['[', 'nbdkit', 'nbd', uri, '--filter=partition', `partition=${partition}`, ']'];
    const child = background(context, 'nbdfuse', [mountPoint, ...(partition === undefined ? [uri] : filter)]);
    await until(() => existsSync(file), 'nbdfuse');
    const unmount = async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await run('fusermount3', ['-u', mountPoint]);
      await ended;
    };
    return { file, mountPoint, unmount };
  };
}
