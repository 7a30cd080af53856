// Clients that others wrote, against our server.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { diskBoard } from '../support/boards.js';
import { type Outcome, runForeign } from '../support/foreign.js';
import { fileBoard } from '../support/lane-server.js';
import { serveBoards } from '../support/nbd-server.js';
import { without, withoutPythonLibnbd } from '../support/programs.js';
import { noise } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';

const MEBI = 1024 * 1024;

/** Where requests are done: one device has to be asked on the main thread, the other is a file, and its clients are the lanes'. */
const PLACES = ['main thread', 'lanes'] as const;

async function serveDisk(context: TestContext, place: (typeof PLACES)[number], sizeBytes = 32 * MEBI) {
  const device = new MemoryDevice(sizeBytes);
  const memory = { board: diskBoard('node1', device), content: () => Buffer.from(device.bytes) };
  const disk = place === 'lanes' ? await fileBoard(context, 'node1', new Uint8Array(sizeBytes)) : memory;
  const { port, events } = await serveBoards(context, [disk.board, diskBoard('node2', 512)]);
  return { content: disk.content, events, root: `nbd://127.0.0.1:${port}`, uri: `nbd://127.0.0.1:${port}/node1`, port };
}

async function succeed(program: string, ...values: readonly string[]): Promise<Outcome> {
  const outcome = await runForeign(program, ...values);
  assert.equal(outcome.status, 0, `${program} ${values.join(' ')}\n${outcome.stdout}${outcome.stderr}`);
  return outcome;
}

for (const place of PLACES) {
  describe(`libnbd, served by the ${place}`, { skip: without('nbdinfo', 'libnbd-bin') }, () => {
    test('nbdinfo sees every flag and size', async (context) => {
      const { uri } = await serveDisk(context, place);
      const { stdout } = await succeed('nbdinfo', '--json', uri);
      const { protocol, exports } = JSON.parse(stdout);
      assert.equal(protocol, 'newstyle-fixed');
      assert.equal(exports[0]['export-size'], 32 * MEBI);
      assert.deepEqual(
        ['block_size_minimum', 'block_size_preferred', 'block_size_maximum'].map((key) => exports[0][key]),
        [1, 4096, 64 * MEBI],
      );
      for (const able of [
        'flush',
        'fua',
        'multi-conn',
        'trim',
        'zero',
        'df',
        'structured-reply',
        'cache',
        'fast-zero',
      ]) {
        await succeed('nbdinfo', '--can', able, uri);
      }
      assert.equal(exports[0]['description'], 'Disk of node1');
      assert.deepEqual(exports[0]['contexts'], ['base:allocation']);
      const { status } = await runForeign('nbdinfo', '--is', 'rotational', uri);
      if (place === 'main thread') assert.equal(status, 2); // a file's disk may turn
      assert.equal((await runForeign('nbdinfo', '--is', 'read-only', uri)).status, 2);
    });

    test('nbdinfo lists the boards', async (context) => {
      const { root } = await serveDisk(context, place);
      const { stdout } = await succeed('nbdinfo', '--list', '--json', `${root}/`);
      const names = JSON.parse(stdout).exports.map((entry: { 'export-name': string }) => entry['export-name']);
      assert.deepEqual(names, ['node1', 'node2']);
    });

    test('nbdcopy brings an image there and back on several connections', async (context) => {
      const { content, uri } = await serveDisk(context, place);
      const folder = scratchFolder(context);
      const image = noise(32 * MEBI);
      writeFileSync(join(folder, 'there'), image);
      const several = ['--connections=4', '--threads=4'];
      await succeed('nbdcopy', ...several, '--flush', join(folder, 'there'), uri);
      assert.ok(content().equals(image));
      await succeed('nbdcopy', ...several, uri, join(folder, 'back'));
      assert.ok(readFileSync(join(folder, 'back')).equals(image));
    });
  });

  describe(`python-libnbd, served by the ${place}`, { skip: withoutPythonLibnbd() }, () => {
    const illegal = `
import nbd, sys, errno
h = nbd.NBD()
h.set_strict_mode(0)
h.set_request_structured_replies(sys.argv[2] == 'in chunks')
h.connect_uri(sys.argv[1])
size = h.get_size()
def refused(what, wanted):
    try:
        what()
    except nbd.Error as e:
        assert e.errnum == wanted, (e.errnum, wanted)
    else:
        raise AssertionError('was accepted')
refused(lambda: h.pread(512, size), errno.EINVAL)
refused(lambda: h.pread(1024, size - 512), errno.EINVAL)
refused(lambda: h.pwrite(bytearray(512), size), errno.ENOSPC)
refused(lambda: h.pwrite(bytearray(512), 2**63 - 512), errno.ENOSPC)
refused(lambda: h.zero(512, size), errno.ENOSPC)
refused(lambda: h.trim(512, size), errno.EINVAL)
refused(lambda: h.cache(512, size), errno.EINVAL)
refused(lambda: h.cache(512, 0, nbd.CMD_FLAG_NO_HOLE), errno.EINVAL)
refused(lambda: h.zero(512, 0, nbd.CMD_FLAG_DF), errno.EINVAL)
refused(lambda: h.pwrite(bytearray(512), 0, 1 << 4), errno.EINVAL)
h.pwrite(bytearray(b'x' * 7), 3, nbd.CMD_FLAG_FUA)
h.trim(512, 4096, nbd.CMD_FLAG_FUA)
h.zero(512, 4096, nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE)
h.flush(0)
assert h.pread(9, 2) == b'\\0xxxxxxx\\0'
assert len(h.pread(16 * 1024 * 1024, 1)) == 16 * 1024 * 1024
h.shutdown()
`;
    const options = `
import nbd, sys
h = nbd.NBD()
h.set_opt_mode(True)
h.set_strict_mode(0)
h.connect_uri(sys.argv[1])
names = []
h.opt_list(lambda name, description: names.append(name))
assert names == ['node1', 'node2'], names
h.set_full_info(True)
for round in range(3):
    h.set_export_name('nobody')
    try:
        h.opt_info()
        raise AssertionError('nobody is known')
    except nbd.Error:
        pass
    h.set_export_name('/node1')
    h.opt_info()
    assert h.get_canonical_export_name() == 'node1'
try:
    h.opt_list_meta_context(lambda name: None)
except nbd.Error:
    pass
h.opt_go()
assert h.get_structured_replies_negotiated()
assert h.pread_structured(512, 0, lambda data, offset, status, error: 0) == bytes(512)
h.pread(512, 0)
h.shutdown()
h = nbd.NBD()
h.set_opt_mode(True)
h.connect_uri(sys.argv[1])
h.opt_abort()
`;
    const noZeroes = `
import nbd, sys
for flags in (0, nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE, nbd.HANDSHAKE_FLAG_MASK):
    h = nbd.NBD()
    h.set_handshake_flags(flags)
    h.connect_uri(sys.argv[1])
    assert h.get_size() == 32 * 1024 * 1024
    h.pread(512, 0)
    h.shutdown()
`;

    for (const form of ['simple', 'in chunks']) {
      test(`gets the right errno for every illegal request, and goes on, with replies that are ${form}`, async (context) => {
        const { uri } = await serveDisk(context, place);
        await succeed('/usr/bin/python3', '-c', illegal, uri, form);
      });
    }
    test('may ask for options in any order', async (context) => {
      const { uri } = await serveDisk(context, place);
      await succeed('/usr/bin/python3', '-c', options, uri);
    });
    test('attaches by EXPORT_NAME, with zeroes and without', async (context) => {
      const { uri } = await serveDisk(context, place);
      await succeed('/usr/bin/python3', '-c', noZeroes, uri);
    });
  });

  describe(`QEMU, served by the ${place}`, { skip: without('qemu-img', 'qemu-utils') }, () => {
    test('qemu-img describes, converts and compares', async (context) => {
      const { content, uri } = await serveDisk(context, place);
      const folder = scratchFolder(context);
      const image = join(folder, 'image');
      writeFileSync(image, noise(32 * MEBI));
      const { stdout } = await succeed('qemu-img', 'info', '--output=json', uri);
      assert.equal(JSON.parse(stdout)['virtual-size'], 32 * MEBI);
      await succeed('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri);
      assert.ok(readFileSync(image).equals(content()));
      await succeed('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri);
      await succeed('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, join(folder, 'copy'));
      await succeed('qemu-img', 'compare', '-f', 'qcow2', '-F', 'raw', join(folder, 'copy'), uri);
    });

    test('qemu-io reads its patterns back', async (context) => {
      const { uri } = await serveDisk(context, place);
      const commands = [
        'write -P 0x5a 1M 8M',
        'write -z 2M 64k',
        'write -z -u 3M 64k',
        'discard 4M 64k',
        'write -f -P 0x33 5 7',
        'flush',
        'read -P 0x5a 1M 1M',
        'read -P 0 2M 64k',
        'read -P 0 3M 64k',
        'read -P 0x33 5 7',
        'read -P 0x5a 5M 4M',
      ];
      const { stdout } = await succeed('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri);
      assert.doesNotMatch(stdout, /Pattern verification failed|error/i);
    });
  });

  describe(`fio, served by the ${place}`, { skip: without('fio', 'fio') }, () => {
    test('verifies what it wrote at random, 32 requests deep, on four connections', async (context) => {
      const { uri } = await serveDisk(context, place);
      const folder = scratchFolder(context);
      const job = [
        '--ioengine=nbd',
        `--uri=${uri}`,
        '--rw=randrw',
        '--bsrange=512-65536',
        '--iodepth=32',
        '--verify=crc32c',
      ];
      const four = ['--numjobs=4', '--size=8M', '--offset_increment=8M', '--fsync=16', '--randseed=7'];
      const { stdout } = await succeed('fio', '--name=verify', ...job, ...four, `--aux-path=${folder}`, '--minimal');
      assert.doesNotMatch(stdout, /verify.*bad/i);
    });
  });
}

describe('a board that is refused', { skip: without('nbdinfo', 'libnbd-bin') }, () => {
  test('reads why: the server said it in words', async (context) => {
    const { root, events } = await serveDisk(context, 'main thread');
    const { status, stderr } = await runForeign('nbdinfo', '--size', `${root}/node9`);
    assert.equal(status, 1);
    assert.match(stderr, /node9/);
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['refused'],
    );
    // As docs/config.md and the how-to say it: without it the sentence is not shown.
    assert.doesNotMatch(stderr, /server error message/);
    const told = await runForeign('env', 'LIBNBD_DEBUG=1', 'nbdinfo', `${root}/node9`);
    assert.match(told.stderr, /server error message: .*node9/);
  });
});
