import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.js';
import { BlockError } from '../../src/block/block-error.js';
import { openFileDevice } from '../../src/block/file-device.js';
import { whenOver } from '../support/cleanup.js';
import { anyOf, without, withoutRoot } from '../support/programs.js';
import { scratchFolder } from '../support/scratch.js';

const MIB = 1024 * 1024;

async function opened(context: TestContext, file: string): Promise<BlockDevice> {
  const device = await openFileDevice(file, { access: 'readWrite', lock: 'exclusive' });
  whenOver(context, () => device.close());
  return device;
}

async function scratchDevice(
  context: TestContext,
  content: Uint8Array,
): Promise<{ file: string; device: BlockDevice }> {
  const file = join(scratchFolder(context), 'disk.img');
  writeFileSync(file, content);
  return { file, device: await opened(context, file) };
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof BlockError && error.code === code;
}

describe('a file as a disk', () => {
  test('is as large as the file and gives back what was written, at any offset', async (context) => {
    const { device, file } = await scratchDevice(context, new Uint8Array(3 * MIB + 7));
    assert.equal(device.sizeBytes, 3 * MIB + 7);
    await device.write(4093, Buffer.from('across a page boundary'), { durable: true });
    const target = Buffer.alloc(22);
    await device.read(4093, target);
    assert.equal(target.toString(), 'across a page boundary');
    assert.equal(readFileSync(file).subarray(4093, 4115).toString(), 'across a page boundary');
  });

  test('reads at once what is in the page cache', async (context) => {
    const { device } = await scratchDevice(context, Buffer.from('warm, because it was just written'));
    const target = Buffer.alloc(4);
    assert.equal(device.readNow(0, target), true);
    assert.equal(target.toString(), 'warm');
  });

  test('says that a range outside is a bug of the caller', async (context) => {
    const { device } = await scratchDevice(context, new Uint8Array(100));
    await assert.rejects(device.read(90, new Uint8Array(11)), RangeError);
    await assert.rejects(device.write(-1, new Uint8Array(1), { durable: false }), RangeError);
    assert.throws(() => device.readNow(101, new Uint8Array(0)), RangeError);
  });

  test('answers EIO where the file was cut short under it', async (context) => {
    const { device, file } = await scratchDevice(context, new Uint8Array(8192));
    writeFileSync(file, new Uint8Array(10));
    await assert.rejects(device.read(4096, new Uint8Array(10)), hasCode('EIO'));
  });

  test('discard gives space back, zero gives it back or keeps it', async (context) => {
    const { device, file } = await scratchDevice(context, new Uint8Array(4 * MIB).fill(0x5a));
    const blocks = () => statSync(file).blocks * 512;
    await device.discard(0, MIB);
    assert.ok(blocks() <= 3 * MIB + 65536, `${blocks()} after discard`);
    await device.zero(MIB, MIB, { keepAllocated: false, durable: true });
    assert.ok(blocks() <= 2 * MIB + 65536, `${blocks()} after zero`);
    const before = blocks();
    await device.zero(2 * MIB, MIB, { keepAllocated: true, durable: false });
    assert.equal(blocks(), before);
    const content = readFileSync(file);
    assert.ok(content.subarray(0, 3 * MIB).every((byte) => byte === 0));
    assert.ok(content.subarray(3 * MIB).every((byte) => byte === 0x5a));
  });

  test('zero and discard keep their edges to the byte', async (context) => {
    const { device, file } = await scratchDevice(context, new Uint8Array(3 * 4096).fill(1));
    await device.zero(4000, 5000, { keepAllocated: false, durable: false });
    const content = readFileSync(file);
    assert.deepEqual([content[3999], content[4000], content[8999], content[9000]], [1, 0, 0, 1]);
    await device.zero(0, 0, { keepAllocated: false, durable: false });
    await device.discard(12288, 0);
  });

  test('zeroes fast where the filesystem can', async (context) => {
    const { device, file } = await scratchDevice(context, new Uint8Array(2 * MIB).fill(1));
    await device.zero(0, MIB, { keepAllocated: false, durable: false, fast: true });
    await device.zero(MIB, MIB, { keepAllocated: true, durable: false, fast: true });
    assert.ok(readFileSync(file).every((byte) => byte === 0));
  });

  test('prefetch changes nothing, and the bytes can be had at once', async (context) => {
    const { device } = await scratchDevice(context, new Uint8Array(MIB).fill(3));
    await device.prefetch(4096, 8192);
    const target = new Uint8Array(8192);
    assert.equal(device.readNow(4096, target), true);
    assert.ok(target.every((byte) => byte === 3));
    await assert.rejects(device.prefetch(MIB, 1), RangeError);
  });

  test('extents tell data from holes, without gaps', async (context) => {
    const { device } = await scratchDevice(context, new Uint8Array(4 * MIB).fill(7));
    await device.discard(MIB, 2 * MIB);
    assert.deepEqual(await device.extents(0, 4 * MIB), [
      { offset: 0, lengthBytes: MIB, kind: 'data' },
      { offset: MIB, lengthBytes: 2 * MIB, kind: 'hole' },
      { offset: 3 * MIB, lengthBytes: MIB, kind: 'data' },
    ]);
    assert.deepEqual(await device.extents(MIB + 5, 10), [{ offset: MIB + 5, lengthBytes: 10, kind: 'hole' }]);
    assert.deepEqual(await device.extents(100, 0), []);
  });

  test('flushes that arrive while one runs all resolve', async (context) => {
    const { device } = await scratchDevice(context, new Uint8Array(MIB));
    await device.write(0, new Uint8Array(MIB).fill(3), { durable: false });
    await Promise.all([device.flush(), device.flush(), device.flush(), device.flush()]);
    await device.flush();
  });
});

describe('opening', () => {
  test('a second writer is refused with the name of the first', async (context) => {
    const { file } = await scratchDevice(context, new Uint8Array(4096));
    const second = openFileDevice(file, { access: 'readWrite', lock: 'exclusive' });
    await assert.rejects(
      second,
      (error) => hasCode('EBUSY')(error) && new RegExp(`pid ${process.pid}`).test(String(error)),
    );
    await assert.rejects(openFileDevice(file, { access: 'readOnly', lock: 'shared' }), hasCode('EBUSY'));
  });

  test('bases are shared among readers, and closed to writers', async (context) => {
    const file = join(scratchFolder(context), 'base.img');
    writeFileSync(file, 'base');
    const first = await openFileDevice(file, { access: 'readOnly', lock: 'shared' });
    whenOver(context, () => first.close());
    const second = await openFileDevice(file, { access: 'readOnly', lock: 'shared' });
    await assert.rejects(openFileDevice(file, { access: 'readWrite', lock: 'exclusive' }), hasCode('EBUSY'));
    await assert.rejects(first.write(0, new Uint8Array(1), { durable: false }), hasCode('EROFS'));
    await second.close();
  });

  test('the lock is free again after close', async (context) => {
    const file = join(scratchFolder(context), 'disk.img');
    writeFileSync(file, 'x');
    await (await openFileDevice(file, { access: 'readWrite', lock: 'exclusive' })).close();
    await opened(context, file);
  });

  test('what is no disk is refused by name', async (context) => {
    const folder = scratchFolder(context);
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const options = { access: 'readWrite', lock: 'exclusive' } as const;
    await assert.rejects(openFileDevice(join(folder, 'absent.img'), options), hasCode('ENOENT'));
    await assert.rejects(openFileDevice(folder, options), BlockError);
    await assert.rejects(openFileDevice(fifo, options), BlockError);
  });

  test('qemu is kept out while we have the file', { skip: without('qemu-img', 'qemu-utils') }, async (context) => {
    const { file } = await scratchDevice(context, new Uint8Array(MIB));
    const attempt = spawnSync('qemu-io', ['-f', 'raw', '-c', 'write 0 4k', file], { encoding: 'utf8' });
    assert.match(attempt.stderr, /Failed to (get "write" lock|lock byte)/);
  });
});

describe('where the filesystem or the disk is different', () => {
  test('tmpfs has no page cache question and no zero range: all works all the same', {
    skip: withoutRoot(),
  }, async (context) => {
    const file = join(tmpfs(context, '8m'), 'disk.img');
    writeFileSync(file, new Uint8Array(2 * MIB).fill(9));
    const device = await opened(context, file);
    assert.equal(device.readNow(0, new Uint8Array(16)), false);
    await assert.rejects(
      device.zero(10, MIB, { keepAllocated: true, durable: true, fast: true }),
      hasCode('ENOTSUP'),
      'it would have to write them',
    );
    assert.equal(readFileSync(file)[10], 9, 'and nothing changed');
    await device.zero(10, MIB, { keepAllocated: true, durable: true });
    const target = Buffer.alloc(MIB + 20);
    await device.read(0, target);
    assert.ok(target.subarray(0, 10).every((byte) => byte === 9));
    assert.ok(target.subarray(10, MIB + 10).every((byte) => byte === 0));
    assert.ok(target.subarray(MIB + 10).every((byte) => byte === 9));
  });

  test('a full filesystem is ENOSPC, and what was there stays', { skip: withoutRoot() }, async (context) => {
    const folder = tmpfs(context, '1m');
    const file = join(folder, 'disk.img');
    execFileSync('truncate', ['-s', '4M', file]);
    const device = await opened(context, file);
    await device.write(0, Buffer.from('first'), { durable: true });
    await assert.rejects(device.write(MIB, new Uint8Array(3 * MIB), { durable: false }), hasCode('ENOSPC'));
    const target = Buffer.alloc(5);
    await device.read(0, target);
    assert.equal(target.toString(), 'first');
  });

  const loop = anyOf(withoutRoot(), without('losetup', 'mount'));
  test('a block device is a disk too', { skip: loop }, async (context) => {
    const file = join(scratchFolder(context), 'backing.img');
    writeFileSync(file, new Uint8Array(2 * MIB).fill(4));
    const node = execFileSync('losetup', ['-f', '--show', file]).toString().trim();
    whenOver(context, () => void execFileSync('losetup', ['-d', node]));
    const behind = openFileDevice(file, { access: 'readWrite', lock: 'exclusive' });
    await assert.rejects(
      behind,
      (error) => hasCode('EBUSY')(error) && String(error).includes(node),
      'its file is in use by it',
    );
    const device = await openFileDevice(node, { access: 'readWrite', lock: 'exclusive' });
    assert.equal(device.sizeBytes, 2 * MIB);
    await device.write(MIB, Buffer.from('loop'), { durable: true });
    await device.zero(0, 4096, { keepAllocated: false, durable: true });
    const target = Buffer.alloc(4);
    await device.read(MIB, target);
    assert.equal(target.toString(), 'loop');
    await device.read(0, target);
    assert.deepEqual([...target], [0, 0, 0, 0]);
    await device.close();
  });
});

function tmpfs(context: TestContext, size: string): string {
  const folder = scratchFolder(context);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  whenOver(context, () => void execFileSync('umount', [folder]));
  return folder;
}
