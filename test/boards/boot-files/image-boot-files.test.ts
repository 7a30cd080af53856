import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Budget } from '../../../src/base/budget.js';
import { parseSerial } from '../../../src/base/serial.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { slice } from '../../../src/block/slice.js';
import { watched } from '../../../src/block/watched-device.js';
import type { CmdlineWish } from '../../../src/boards/boot-config/cmdline.js';
import type { BootFile } from '../../../src/boards/boot-files/boot-file.js';
import { BootPartition } from '../../../src/boards/boot-files/boot-partition.js';
import { ImageBootFiles } from '../../../src/boards/boot-files/image-boot-files.js';
import { PieceStore } from '../../../src/boards/boot-files/piece-store.js';
import { machineIdOf, type TwinIdentity } from '../../../src/boards/identity/twin.js';
import { formatFat } from '../../../src/disk/fat/format.js';

const SIZE = 8 * 1024 * 1024;
const ORIGINAL = 'console=tty1 root=LABEL=writable rootwait quiet\n';
const FILES = {
  'config.txt': 'kernel=vmlinuz\n[pi5]\nos_prefix=current/\n',
  'cmdline.txt': ORIGINAL,
  'current/cmdline.txt': ORIGINAL,
  vmlinuz: 'kernel',
  'other.txt': 'plain',
};

async function fixture(
  options: {
    cmdline?: CmdlineWish;
    twin?: TwinIdentity;
    rootPartition?: number | undefined;
    files?: Record<string, string>;
  } = {},
) {
  const disk = watched(new MemoryDevice(SIZE));
  const rewrite = (files: Record<string, string>) => {
    const list = Object.entries(files).map(([path, text]) => ({ path, bytes: Buffer.from(text) }));
    return formatFat(slice(disk, 0, SIZE), { type: 16, files: list });
  };
  await rewrite(options.files ?? FILES);
  const rootPartition = 'rootPartition' in options ? options.rootPartition : 2;
  const partition = new BootPartition(disk, async () => ({ boot: { offset: 0, sizeBytes: SIZE }, rootPartition }), {
    kept: new PieceStore(64 * 1024 * 1024),
    saved: new PieceStore(64 * 1024 * 1024),
    remembered: new Budget(1e9),
  });
  const bootFiles = new ImageBootFiles(partition, {
    cmdline: options.cmdline ?? 'auto',
    exportName: 'node1',
    twin: options.twin,
    nbdPort: 10809,
    serverAddress: (askedAt) => askedAt,
  });
  const open = (path: string) => bootFiles.open(path, { askedAt: '10.0.0.1' });
  const opened = async (path: string): Promise<BootFile> => {
    const verdict = await open(path);
    assert.equal(verdict.answer, 'file', `${path}: ${JSON.stringify(verdict)}`);
    if (verdict.answer !== 'file') throw new Error('not a file');
    return verdict.file;
  };
  const text = async (path: string) => textOf(await opened(path));
  return { open, opened, text, rewrite, disk };
}

async function textOf(file: BootFile): Promise<string> {
  assert.equal(await file.hold(), 'held');
  const bytes = new Uint8Array(file.sizeBytes);
  await file.read(0, bytes);
  file.close();
  return Buffer.from(bytes).toString();
}

const SERVED =
  'console=tty1 ip=dhcp nbdroot=10.0.0.1/node1 netroot=nbd:10.0.0.1:node1 root=/dev/nbd0p2 rootwait quiet\n';

describe('boot files of an image', () => {
  test('are those of the image, but for cmdline.txt wherever config.txt may name one', async () => {
    const { text } = await fixture();
    assert.equal(await text('other.txt'), 'plain');
    assert.equal(await text('cmdline.txt'), SERVED);
    assert.equal(await text('CURRENT/CmdLine.TXT'), SERVED);
  });

  test('tell a board from others on the image', async () => {
    const { text } = await fixture({ twin: { hostname: 'node1', machineId: machineIdOf(parseSerial('bf9fed6f')) } });
    assert.equal(
      await text('cmdline.txt'),
      SERVED.replace(
        ' rootwait',
        ' systemd.hostname=node1 systemd.machine_id=ee9d809829634419948746cbeb729118 rootwait',
      ),
    );
  });

  test('cmdline: as-is, or a disk without a root partition, leaves it as it is', async () => {
    assert.equal(await (await fixture({ cmdline: 'as-is' })).text('cmdline.txt'), ORIGINAL);
    assert.equal(await (await fixture({ rootPartition: undefined })).text('cmdline.txt'), ORIGINAL);
  });

  test('cmdline: changes are made', async () => {
    const { text } = await fixture({ cmdline: { append: 'console=ttyS0', remove: ['quiet'] } });
    assert.match(await text('cmdline.txt'), /rootwait console=ttyS0\n$/);
  });

  test('say what they are: kernel, cmdline or other', async () => {
    const { opened } = await fixture();
    const roles = await Promise.all(
      ['vmlinuz', 'cmdline.txt', 'other.txt'].map(async (path) => (await opened(path)).role),
    );
    assert.deepEqual(roles, ['kernel', 'cmdline', 'other']);
  });

  test('nothing is found where nothing is, and a folder is no file', async () => {
    const { open } = await fixture();
    for (const path of ['absent', '', 'current', 'current/', 'other.txt/x', '../other.txt', 'a\u0000b']) {
      assert.equal((await open(path)).answer, 'notFound', JSON.stringify(path));
    }
  });

  test('the virtual file is made anew of what is beneath it, at the open and again at the hold', async () => {
    const { opened, text, rewrite } = await fixture();
    const before = await opened('cmdline.txt');
    await rewrite({ ...FILES, 'cmdline.txt': ORIGINAL.replace('tty1', 'tty2') });
    assert.equal(await textOf(before), SERVED.replace('tty1', 'tty2'));
    assert.equal(await text('cmdline.txt'), SERVED.replace('tty1', 'tty2'));
    const later = await opened('cmdline.txt');
    await rewrite({ ...FILES, 'cmdline.txt': `${ORIGINAL.trim()} debug\n` });
    assert.equal(await later.hold(), 'changed');
  });

  test('a new config.txt names another cmdline file from then on', async () => {
    const { text, rewrite } = await fixture();
    const files = { ...FILES, 'mine.txt': ORIGINAL };
    await rewrite(files);
    assert.equal(await text('mine.txt'), ORIGINAL);
    await rewrite({ ...files, 'config.txt': 'cmdline=mine.txt\n' });
    assert.equal(await text('mine.txt'), SERVED);
  });

  test('arguments that would be too long are not cut: the file fails and says so', async () => {
    const { open } = await fixture({ files: { ...FILES, 'cmdline.txt': `root=x ${'a'.repeat(2040)}\n` } });
    const verdict = await open('cmdline.txt');
    assert.ok(verdict.answer === 'failed' && /more than the kernel takes/.test(verdict.because));
  });

  test('a damaged image fails with what is wrong, and serves again when it is mended', async () => {
    const { open, text, rewrite, disk } = await fixture();
    await disk.zero(0, 512, { keepAllocated: false, durable: false });
    const verdict = await open('other.txt');
    assert.ok(verdict.answer === 'failed' && verdict.because.length > 10, JSON.stringify(verdict));
    await rewrite(FILES);
    assert.equal(await text('other.txt'), 'plain');
  });

  test('a file that is closed before it was held leaves nothing behind', async () => {
    const { opened } = await fixture();
    const file = await opened('other.txt');
    const holding = file.hold();
    file.close();
    assert.equal(await holding, 'held');
    assert.throws(() => file.readNow(0, new Uint8Array(1)));
  });
});
