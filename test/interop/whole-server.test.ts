// Foreign clients against the whole server, with an image file behind it: what they wrote is in the file.
import assert from 'node:assert/strict';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { run } from '../support/commands.js';
import { anyOf, without } from '../support/programs.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer } from '../support/server.js';

const INVENTORY = `images: { demo: { file: demo.img } }
boards: { node1: { serial: bf9fed6f, image: demo, disk: direct } }
`;
const SIZE = 192 * 1024 * 1024;
/** Behind both partitions, where a test may write as it likes. */
const FREE_OFFSET = 96 * 1024 * 1024;
const FREE_SIZE = SIZE - FREE_OFFSET;

async function served(context: TestContext) {
  const folder = scratchFolder(context);
  const image = join(folder, 'demo.img');
  await makeDemoImage(image);
  truncateSync(image, SIZE);
  const { ports } = await startTestServer(context, { inventory: INVENTORY, folder });
  return { folder, image, uri: `nbd://127.0.0.1:${ports.nbd}/node1`, tftpPort: ports.tftp };
}

test('nbdcopy reads the image as it is, and writes it as it should be', {
  skip: without('nbdcopy', 'libnbd-bin'),
}, async (context) => {
  const { folder, image, uri } = await served(context);
  const copy = join(folder, 'copy.img');
  await run('nbdcopy', ['--connections=4', uri, copy]);
  await run('cmp', [copy, image]);
  const changed = readFileSync(copy);
  for (let offset = FREE_OFFSET; offset < SIZE; offset += 4096) changed.writeUInt32LE(offset, offset);
  writeFileSync(copy, changed);
  await run('nbdcopy', ['--flush', '--connections=4', copy, uri]);
  await run('cmp', [copy, image]);
});

test('fio verifies what it wrote at random, with flushes between', { skip: without('fio', 'fio') }, async (context) => {
  const { folder, uri } = await served(context);
  const job = [
    '--name=verify',
    '--ioengine=nbd',
    `--uri=${uri}`,
    '--rw=randwrite',
    '--bsrange=512-65536',
    '--iodepth=16',
    '--fsync=32',
  ];
  const where = [
    `--offset=${FREE_OFFSET}`,
    `--size=${FREE_SIZE}`,
    '--io_size=48M',
    '--verify=crc32c',
    '--verify_fatal=1',
    '--do_verify=1',
  ];
  const report = (await run('fio', [...job, ...where], { cwd: folder })).toString();
  assert.match(report, /err= 0/);
});

test('qemu-io: patterns, zeroes and discards are in the file, and give its space back', {
  skip: anyOf(without('qemu-io', 'qemu-utils')),
}, async (context) => {
  const { image, uri } = await served(context);
  const allocated = () => statSync(image).blocks * 512;
  const before = allocated();
  const commands = [
    'write -P 0x5a 100M 8M',
    'flush',
    'write -z 101M 1M',
    'write -z -u 102M 1M',
    'discard 103M 1M',
    'write -f -P 0x11 104M 4k',
    'read -P 0 101M 1M',
    'read -P 0x5a 105M 1M',
  ];
  const output = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri]);
  assert.doesNotMatch(output.toString(), /fail|error/i);
  const content = readFileSync(image);
  const mib = 1024 * 1024;
  assert.ok(content.subarray(100 * mib, 101 * mib).every((byte) => byte === 0x5a));
  assert.ok(content.subarray(101 * mib, 104 * mib).every((byte) => byte === 0));
  assert.ok(content.subarray(104 * mib, 104 * mib + 4096).every((byte) => byte === 0x11));
  // 8 MiB were written, of which 2 were given back and 1 was only cleared.
  const grown = allocated() - before;
  assert.ok(grown <= 6.5 * mib, `${grown} bytes more are allocated`);
});

test('curl reads a boot file with and without options, of the image', {
  skip: without('curl', 'curl'),
}, async (context) => {
  const { tftpPort, folder, image } = await served(context);
  for (const words of [['--tftp-blksize', '1468'], ['--tftp-no-options'], []]) {
    const file = join(folder, 'fetched');
    await run('curl', ['-s', '-m', '60', ...words, '-o', file, `tftp://127.0.0.1:${tftpPort}/bf9fed6f/start4.elf`]);
    assert.equal(statSync(file).size, 400_000);
    assert.ok(readFileSync(image).includes(readFileSync(file)));
  }
});
