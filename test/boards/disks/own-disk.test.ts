import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Disks } from '../../../src/block/disks.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { DiskRefused } from '../../../src/boards/disks/disk-folder.js';
import { OwnDisk } from '../../../src/boards/disks/own-disk.js';
import { versionsInUse } from '../../../src/boards/disks/versions-in-use.js';
import { FakeClock } from '../../support/fake-clock.js';
import { noise } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';

const OLD = 'ba5e'.repeat(8);
const NEW = 'ba5f'.repeat(8);
const SIZE = 64 * 4096;

function world(context: TestContext, isVolatile = false) {
  const state = scratchFolder(context);
  const disksPath = join(state, 'disks');
  const image: { version: string | undefined } = { version: OLD };
  const open = async () => {
    const own = new OwnDisk({
      ...{ board: 'node1', disksPath, sizeBytes: SIZE, disks: new Disks(), clock: new FakeClock(), isVolatile },
      fit: async () => {},
      image: {
        device: new MemoryDevice(noise(SIZE)),
        version: async () => {
          if (image.version === undefined) throw new DiskRefused('it is being compared', 'wait');
          return image.version;
        },
        mustBe: (version) => {
          if (version !== image.version) throw new DiskRefused('the image was changed', 'put it back');
        },
      },
    });
    context.after(() => own.close());
    await own.open();
    return own;
  };
  return { state, disksPath, folder: join(disksPath, 'node1'), image, open };
}

/** A disk with something written and a snapshot, as a server that was stopped has left it. */
async function left({ open, folder }: ReturnType<typeof world>): Promise<Map<string, Buffer>> {
  const own = await open();
  await own.device.write(4096, noise(4096, 7), { durable: true });
  assert.equal((await own.snapshot('before')).answer, 'done');
  await own.close();
  return contentOf(folder);
}

function contentOf(folder: string): Map<string, Buffer> {
  return new Map(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name))]),
  );
}

describe('a disk that can not be opened', () => {
  test('is put aside as it is by a reset, and can be put back', async (context) => {
    const there = world(context);
    const before = await left(there);
    there.image.version = NEW;
    const own = await there.open();
    assert.match(own.unusable ?? '', /the image was changed; put it back/);
    const verdict = await own.resetOrPutAside();
    const aside = join(there.state, 'disks-aside', 'node1-20260101T000000Z');
    assert.deepEqual(verdict, { answer: 'done', aside });
    assert.equal(own.unusable, undefined);
    assert.equal(own.snapshotCount, 0);
    assert.deepEqual(contentOf(aside), before);
    const inUse = async () => [...(await versionsInUse(there.disksPath)).versions.keys()].sort();
    assert.deepEqual(await inUse(), [OLD, NEW], 'the version of an image that it lies on is not forgotten');

    await own.close();
    renameSync(there.folder, join(there.state, 'fresh'));
    renameSync(aside, there.folder);
    there.image.version = OLD;
    const back = await there.open();
    assert.deepEqual([back.unusable, back.snapshotCount], [undefined, 1]);
  });

  test('is not kept where the next boot would have thrown it away, unless there is a snapshot of it', async (context) => {
    for (const snapshots of [0, 1]) {
      const there = world(context, true);
      await left(there);
      const before = await there.open();
      if (snapshots === 0) await before.drop('before');
      await before.close();
      there.image.version = NEW;
      const { answer, ...rest } = await (await there.open()).resetOrPutAside();
      assert.deepEqual([answer, 'aside' in rest], ['done', snapshots === 1]);
      assert.equal(readdirSync(join(there.state, 'disks-aside')).length, snapshots);
    }
  });

  test('stays where it is as long as no new one could be made', async (context) => {
    const there = world(context);
    const before = await left(there);
    there.image.version = undefined;
    const own = await there.open();
    assert.deepEqual(await own.resetOrPutAside(), { answer: 'refused', because: 'it is being compared; wait' });
    assert.deepEqual(contentOf(there.folder), before);
    assert.deepEqual(readdirSync(there.state), ['disks']);
  });

  test('is put back where the new one fails', async (context) => {
    const there = world(context);
    const before = await left(there);
    there.image.version = NEW;
    const own = await there.open();
    let asked = 0;
    Object.defineProperty(there.image, 'version', { get: () => (++asked > 2 ? undefined : NEW) });
    assert.equal((await own.resetOrPutAside()).answer, 'refused');
    assert.deepEqual(contentOf(there.folder), before);
    assert.deepEqual(readdirSync(join(there.state, 'disks-aside')), []);
  });

  test('is put aside also where nothing of it can be read', async (context) => {
    const there = world(context);
    mkdirSync(there.disksPath, { recursive: true });
    writeFileSync(there.folder, 'no folder at all');
    const own = await there.open();
    assert.match(own.unusable ?? '', /EEXIST|ENOTDIR/);
    assert.equal((await own.resetOrPutAside()).answer, 'done');
    assert.deepEqual(readdirSync(there.folder).length, 2);
  });
});

describe('a disk that can be opened', () => {
  test('is reset in its place, and its snapshots stay', async (context) => {
    const there = world(context);
    await left(there);
    const own = await there.open();
    assert.deepEqual(await own.resetOrPutAside(), { answer: 'done' });
    assert.equal(own.snapshotCount, 1);
    assert.deepEqual(readdirSync(there.state), ['disks']);
  });

  test('is not reset while nobody knows which version its image is', async (context) => {
    const there = world(context);
    const own = await there.open();
    there.image.version = undefined;
    assert.deepEqual(await own.reset(), { answer: 'refused', because: 'it is being compared; wait' });
  });
});
