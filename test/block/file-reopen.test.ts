import assert from 'node:assert/strict';
import { closeSync, openSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { BlockError } from '../../src/block/block-error.js';
import { openFileDevice } from '../../src/block/file-device.js';
import { whenOver } from '../support/cleanup.js';
import { background, outputOf, until } from '../support/commands.js';
import { failingDisk, withoutFailingDisk } from '../support/failing-disk.js';
import { without } from '../support/programs.js';
import { scratchFolder } from '../support/scratch.js';

const MIB = 1024 * 1024;
const LOCKED = { access: 'readWrite', lock: 'exclusive' } as const;

function says(code: string, text = ''): (error: unknown) => boolean {
  return (error) => error instanceof BlockError && error.code === code && error.message.includes(text);
}

async function opened(context: TestContext, file: string) {
  const device = await openFileDevice(file, LOCKED);
  whenOver(context, () => device.close());
  return device;
}

describe('a disk that fails', () => {
  test('fails every flush until it is mended and reopened', { skip: withoutFailingDisk() }, async (context) => {
    const disk = await failingDisk(context, 4 * MIB);
    const device = await opened(context, disk.node);
    await device.write(MIB, new Uint8Array(MIB).fill(7), { durable: false });
    const waiting = await Promise.allSettled([
      device.flush(),
      device.flush(),
      device.write(0, new Uint8Array(512), { durable: true }),
    ]);
    assert.deepEqual(
      waiting.map(({ status }) => status),
      ['rejected', 'rejected', 'rejected'],
    );
    // The kernel has told it, and would say now that all is well.
    await assert.rejects(device.flush(), says('EIO', 'fdatasync failed'));
    assert.ok(says('EIO')(device.failure));
    await device.write(2 * MIB, new Uint8Array(512), { durable: false });
    await assert.rejects(device.reopen(), says('EIO'), 'it is not mended yet');
    await assert.rejects(device.flush(), says('EIO'));

    disk.mend();
    await device.reopen();
    assert.equal(device.failure, undefined);
    const target = new Uint8Array(512);
    await device.read(MIB, target);
    assert.ok(
      target.every((byte) => byte === 0),
      'what was lost is not read any more as if it were there',
    );
    await device.write(MIB, target.fill(9), { durable: true });
    await device.read(MIB, target);
    assert.ok(target.every((byte) => byte === 9));
  });
});

describe('reopening', () => {
  test('goes on with the same file, under reads and writes', async (context) => {
    const file = join(scratchFolder(context), 'disk.img');
    writeFileSync(file, new Uint8Array(MIB).fill(1));
    const device = await opened(context, file);
    const work = Array.from({ length: 50 }, async (_, index) => {
      const target = new Uint8Array(4096);
      await device.write(index * 4096, target.fill(index), { durable: false });
      await device.read(index * 4096, target);
      assert.ok(target.every((byte) => byte === index));
    });
    for (let round = 0; round < 10; round += 1) await device.reopen();
    await Promise.all(work);
    await assert.rejects(openFileDevice(file, LOCKED), says('EBUSY'));
  });

  test('refuses another file that lies there now, and one that is gone', async (context) => {
    const folder = scratchFolder(context);
    const file = join(folder, 'disk.img');
    writeFileSync(file, 'the old one');
    const device = await opened(context, file);
    writeFileSync(join(folder, 'new.img'), 'the new one');
    renameSync(join(folder, 'new.img'), file);
    await assert.rejects(device.reopen(), says('EINVAL', 'another file lies there now'));
    const target = Buffer.alloc(11);
    await device.read(0, target);
    assert.equal(target.toString(), 'the old one');
    rmSync(file);
    await assert.rejects(device.reopen(), says('ENOENT'));
  });

  test('refuses a file that was cut short', async (context) => {
    const file = join(scratchFolder(context), 'disk.img');
    writeFileSync(file, new Uint8Array(8192));
    const device = await opened(context, file);
    truncateSync(file, 4096);
    await assert.rejects(device.reopen(), says('EINVAL', 'a smaller one'));
  });

  test('leaves no descriptor behind', async (context) => {
    const file = join(scratchFolder(context), 'disk.img');
    writeFileSync(file, new Uint8Array(4096));
    const device = await opened(context, file);
    const next = () => {
      const descriptor = openSync('/dev/null', 'r');
      closeSync(descriptor);
      return descriptor;
    };
    const before = next();
    for (let round = 0; round < 20; round += 1) await device.reopen();
    assert.equal(next(), before);
  });

  test('lets nobody else write to the file meanwhile', { skip: without('python3', 'python3') }, async (context) => {
    const file = join(scratchFolder(context), 'disk.img');
    writeFileSync(file, new Uint8Array(4096));
    const device = await opened(context, file);
    const thief = background(context, 'python3', ['-u', '-c', THIEF, file]);
    const hasTried = outputOf(thief, 'tried');
    await until(hasTried, 'the other program');
    for (let round = 0; round < 500; round += 1) await device.reopen();
    writeFileSync(`${file}.stop`, '');
    const hasGivenUp = outputOf(thief, 'never got it');
    await until(hasGivenUp, 'the other program to be refused to the end');
  });
});

/** Tries for an exclusive lock of its own, as fast as it can. */
const THIEF = `
import fcntl, os, struct, sys
file = os.open(sys.argv[1], os.O_RDWR)
tries = 0
while not os.path.exists(sys.argv[1] + '.stop'):
    for _ in range(100):
        try:
            fcntl.fcntl(file, 37, struct.pack('hhxxxxqqixxxx', fcntl.F_WRLCK, 0, 0, 0, 0))
            print('got it')
            sys.exit(1)
        except OSError:
            tries += 1
    if tries == 100: print('tried')
print('never got it')
`;
