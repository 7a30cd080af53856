// Random work on a disk that is a file, through foreign clients, beside a model of what must be on it; and a filesystem on it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { whenOver } from '../support/cleanup.js';
import { background, run, until } from '../support/commands.js';
import { runForeign } from '../support/foreign.js';
import { type FileBoard, fileBoard, type LaneServer, serveFiles } from '../support/lane-server.js';
import { anyOf, without, withoutAccess, withoutPythonLibnbd } from '../support/programs.js';
import { noise } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';

const MEBI = 1024 * 1024;
const SIZE = 32 * MEBI;
const SEEDS = [1, 2, 3];
/** As a boot partition, so that part of the work is the main thread's. */
const WATCHED = { start: 4 * MEBI, end: 8 * MEBI };

interface Served extends LaneServer {
  readonly disk: FileBoard;
  readonly uri: string;
}

async function serve(context: TestContext, content: Uint8Array): Promise<Served> {
  const disk = await fileBoard(context, 'node1', content, { watched: [WATCHED] });
  const served = await serveFiles(context, [disk]);
  return { ...served, disk, uri: `nbd://127.0.0.1:${served.port}/node1` };
}

async function succeed(program: string, ...values: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runForeign(program, ...values);
  assert.equal(status, 0, `${program} ${values.slice(-4).join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

describe('libnbd at random, many requests at a time on four connections', { skip: withoutPythonLibnbd() }, () => {
  for (const form of ['simple', 'in chunks']) {
    for (const seed of SEEDS) {
      test(`finds what it wrote, with replies that are ${form} (seed ${seed})`, async (context) => {
        const { uri, disk, doneBy } = await serve(context, noise(SIZE));
        const model = join(scratchFolder(context), 'model');
        writeFileSync(model, noise(SIZE));
        await succeed('/usr/bin/python3', '-c', WORK, uri, form, String(seed), model);
        assert.ok(readFileSync(model).equals(disk.content()), 'the file is what the model says');
        const { lanes, main } = doneBy();
        for (const command of ['read', 'write', 'flush', 'trim', 'write_zeroes']) {
          assert.ok((lanes.get(command) ?? 0) > 0, `${command} in lanes`);
        }
        assert.ok((main.get('write') ?? 0) > 0);
      });
    }
  }
});

/**
 * Requests that are under way never touch the same bytes, so that there is one answer. What TRIM leaves is undefined: it is read
 * once all is done, written to the model, and told nothing about.
 */
const WORK = `
import nbd, random, sys
uri, form, seed, path = sys.argv[1:]
rng = random.Random(int(seed))
model = bytearray(open(path, 'rb').read())
size = len(model)
handles = []
for _ in range(4):
    h = nbd.NBD()
    h.set_request_structured_replies(form == 'in chunks')
    h.connect_uri(uri)
    assert h.get_structured_replies_negotiated() == (form == 'in chunks')
    handles.append(h)
unknown = []
busy = {}

def overlaps(a, b):
    return a[0] < b[1] and b[0] < a[1]

def free_range():
    while True:
        kind = rng.random()
        length = rng.randrange(1, 600) if kind < .3 else rng.choice([512, 4096, 65536, 131072]) if kind < .8 else rng.randrange(1, 3 << 20)
        at = rng.randrange(0, size - length + 1)
        if kind > .5: at -= at % 512
        if not any(overlaps((at, at + length), other) for other in busy): return (at, at + length)

def known(span):
    return not any(overlaps(span, other) for other in unknown)

def forget_unknown(span):
    left = []
    for a, b in unknown:
        if not overlaps((a, b), span): left.append((a, b)); continue
        if a < span[0]: left.append((a, span[0]))
        if span[1] < b: left.append((span[1], b))
    unknown[:] = left

def begin(h):
    span = free_range()
    at, end = span
    length = end - at
    what = rng.choice(['read', 'read', 'read', 'write', 'write', 'write', 'zero', 'trim', 'flush', 'cache'])
    flags = nbd.CMD_FLAG_FUA if rng.random() < .1 else 0
    def done(error):
        assert error.value == 0, (what, span, error.value)
        del busy[span]
        return 1
    if what == 'read':
        buffer = nbd.Buffer(length)
        wanted = bytes(model[at:end]) if known(span) else None
        def compare(error):
            if wanted is not None and error.value == 0: assert buffer.to_bytearray() == wanted, span
            return done(error)
        busy[span] = True
        h.aio_pread(buffer, at, compare)
    elif what == 'write':
        payload = rng.randbytes(length)
        model[at:end] = payload
        forget_unknown(span)
        busy[span] = True
        h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(payload)), at, done, flags)
    elif what == 'zero':
        model[at:end] = bytes(length)
        forget_unknown(span)
        busy[span] = True
        h.aio_zero(length, at, done, flags | rng.choice([0, nbd.CMD_FLAG_NO_HOLE]))
    elif what == 'trim':
        forget_unknown(span)
        unknown.append(span)
        busy[span] = True
        h.aio_trim(length, at, done, flags)
    elif what == 'flush':
        busy[span] = True
        h.aio_flush(done)
    else:
        busy[span] = True
        h.aio_cache(length, at, done)

for _ in range(3000):
    h = rng.choice(handles)
    while h.aio_in_flight() >= 24: h.poll(-1)
    begin(h)
    for other in handles: other.poll(0)
for h in handles:
    while h.aio_in_flight() > 0: h.poll(-1)
h = handles[0]
for a, b in unknown: model[a:b] = h.pread(b - a, a)
for at in range(0, size, 1 << 20): assert h.pread(1 << 20, at) == model[at:at + (1 << 20)], at
open(path, 'wb').write(model)
for h in handles: h.shutdown()
`;

describe('fio', { skip: without('fio', 'fio') }, () => {
  for (const sizes of ['512-4096', '4096-131072', '512-1048576']) {
    test(`verifies what it wrote in blocks of ${sizes}`, async (context) => {
      const { uri } = await serve(context, new Uint8Array(SIZE));
      const job = ['--ioengine=nbd', `--uri=${uri}`, '--rw=randrw', `--bsrange=${sizes}`, '--iodepth=32'];
      const verify = ['--verify=sha1', '--verify_fatal=1', '--size=8M', '--numjobs=4', '--offset_increment=8M'];
      const folder = scratchFolder(context);
      const said = await succeed('fio', '--name=mixed', ...job, ...verify, `--aux-path=${folder}`, '--minimal');
      assert.doesNotMatch(said, /verify.*bad/i);
    });
  }
});

describe('nbdcopy', { skip: without('nbdcopy', 'libnbd-bin') }, () => {
  for (const connections of [1, 4]) {
    for (const [sizeBytes, requestBytes] of [
      [SIZE, 4096],
      [SIZE, 256 * 1024],
      [SIZE, 32 * MEBI],
      [512, 4096],
      [3 * MEBI + 513, MEBI],
    ] as const) {
      test(`on ${connections} connections brings ${sizeBytes} bytes there and back, ${requestBytes} at a time`, async (context) => {
        const content = noise(sizeBytes, 5);
        const { uri, disk } = await serve(context, new Uint8Array(sizeBytes));
        const folder = scratchFolder(context);
        const [there, back] = [join(folder, 'there'), join(folder, 'back')];
        writeFileSync(there, content);
        const how = [`--connections=${connections}`, `--request-size=${requestBytes}`];
        await succeed('nbdcopy', ...how, '--flush', there, uri);
        await succeed('nbdcopy', ...how, uri, back);
        const hashes = [content, disk.content(), readFileSync(back)].map((bytes) =>
          createHash('sha256').update(bytes).digest('hex'),
        );
        assert.deepEqual(hashes, [hashes[0], hashes[0], hashes[0]]);
      });
    }
  }
});

describe('nbdfuse', {
  skip: anyOf(
    without('nbdfuse', 'nbdfuse'),
    without('fusermount3', 'fuse3'),
    without('mkfs.ext4', 'e2fsprogs'),
    withoutAccess('/dev/fuse'),
  ),
}, () => {
  async function mounted(context: TestContext, uri: string): Promise<string> {
    const file = join(scratchFolder(context), 'disk');
    writeFileSync(file, '');
    const nbdfuse = background(context, 'nbdfuse', [file, uri]);
    const size = async () => Number((await run('stat', ['-c', '%s', file])).toString());
    await until(async () => (await size()) === SIZE, 'nbdfuse');
    whenOver(context, async () => {
      await run('fusermount3', ['-u', file]);
      if (nbdfuse.exitCode === null) await new Promise((resolve) => nbdfuse.once('exit', resolve));
    });
    return file;
  }

  test('makes a filesystem, fills it, and finds it sound', async (context) => {
    const { uri, disk } = await serve(context, new Uint8Array(SIZE));
    const file = await mounted(context, uri);
    const folder = scratchFolder(context);
    const contents = Array.from({ length: 12 }, (_, index) => noise(1 + index * 100_003, index));
    for (const [index, bytes] of contents.entries()) writeFileSync(join(folder, `in${index}`), bytes);
    await succeed('mkfs.ext4', '-q', '-F', file);
    const commands = contents.map((_, index) => `write ${join(folder, `in${index}`)} file${index}`);
    writeFileSync(join(folder, 'commands'), [...commands, 'rm file3', 'rm file7'].join('\n'));
    await succeed('debugfs', '-w', '-f', join(folder, 'commands'), file);
    await succeed('e2fsck', '-f', '-n', file);
    for (const [index, bytes] of contents.entries()) {
      if (index === 3 || index === 7) continue;
      await succeed('debugfs', '-R', `dump file${index} ${join(folder, `out${index}`)}`, file);
      assert.ok(readFileSync(join(folder, `out${index}`)).equals(bytes), `file${index}`);
    }
    await run('sync', ['-f', file]);
    const image = join(folder, 'image');
    writeFileSync(image, disk.content());
    await succeed('e2fsck', '-f', '-n', image);
  });

  for (const seed of SEEDS) {
    test(`reads what was written at random, like fsx (seed ${seed})`, async (context) => {
      const { uri, disk } = await serve(context, noise(SIZE));
      const file = await mounted(context, uri);
      const model = join(scratchFolder(context), 'model');
      writeFileSync(model, noise(SIZE));
      await succeed('/usr/bin/python3', '-c', FILE_WORK, file, model, String(seed));
      assert.ok(readFileSync(model).equals(disk.content()));
    });
  }
});

const FILE_WORK = `
import os, random, sys
path, model_path, seed = sys.argv[1:]
rng = random.Random(int(seed))
model = bytearray(open(model_path, 'rb').read())
size = len(model)
fd = os.open(path, os.O_RDWR)
for step in range(1500):
    length = rng.choice([1, 511, 512, 4096, 5000, 65536, 200000, 1 << 20])
    length = rng.randrange(1, length + 1)
    at = rng.randrange(0, size - length + 1)
    what = rng.random()
    if what < .45:
        assert os.pread(fd, length, at) == model[at:at + length], (step, at, length)
    elif what < .9:
        payload = rng.randbytes(length)
        done = 0
        while done < length: done += os.pwrite(fd, payload[done:], at + done)
        model[at:at + length] = payload
    elif what < .95:
        os.fsync(fd)
    else:
        os.close(fd)
        fd = os.open(path, os.O_RDWR)
os.fsync(fd)
os.close(fd)
open(model_path, 'wb').write(model)
`;
