// What somebody may have put, damaged or taken away in a board's folder: each ends in a sentence for this board, and nothing is lost.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import { Disks } from '../../../src/block/disks.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { DiskRefused } from '../../../src/boards/disks/disk-folder.js';
import { OwnDisk } from '../../../src/boards/disks/own-disk.js';
import { versionsInUse } from '../../../src/boards/disks/versions-in-use.js';
import { without } from '../../support/programs.js';
import { noise } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';
import { smallFilesystem, withoutMounts } from '../../support/small-filesystem.js';

const BASE = 'ba5e'.repeat(8);
const MEBI = 1024 * 1024;
const SIZE = 2 * MEBI;

function world(disksPath: string) {
  const image = new MemoryDevice(noise(64 * 4096));
  const open: OwnDisk[] = [];
  return {
    disksPath,
    folder: join(disksPath, 'node1'),
    async own(board = 'node1', sizeBytes = SIZE): Promise<OwnDisk> {
      const own = new OwnDisk({
        ...{ board, disksPath, sizeBytes, disks: new Disks(), isVolatile: false, clock: systemClock },
        fit: async () => {},
        image: {
          device: image,
          version: async () => BASE,
          mustBe: (version) => {
            if (version !== BASE) throw new DiskRefused('the image was changed', 'put it back');
          },
        },
      });
      open.push(own);
      await own.open();
      return own;
    },
    closed: async () => {
      for (const own of open.splice(0)) await own.close();
    },
  };
}

async function used(context: TestContext) {
  const there = world(join(scratchFolder(context), 'disks'));
  context.after(() => there.closed());
  const own = await there.own();
  await own.device.write(5000, noise(10_000, 2), { durable: true });
  assert.equal((await own.snapshot('one')).answer, 'done');
  await own.device.write(90_000, noise(10_000, 3), { durable: true });
  const content = await contentOf(own);
  await there.closed();
  const layers = readdirSync(there.folder).filter((name) => name.endsWith('.overlay'));
  return { ...there, content, layers };
}

async function contentOf({ device }: OwnDisk): Promise<Buffer> {
  const content = Buffer.alloc(MEBI);
  await device.read(0, content);
  return content;
}

describe("a board's folder", () => {
  test('in which files of others lie is none of theirs', async (context) => {
    const { own, folder, content } = await used(context);
    writeFileSync(join(folder, 'README'), 'mine');
    mkdirSync(join(folder, 'a folder'));
    writeFileSync(join(folder, 'disk.json.new'), 'half a record');
    symlinkSync('/nowhere', join(folder, 'link'));
    const disk = await own();
    assert.equal(disk.unusable, undefined);
    assert.ok((await contentOf(disk)).equals(content));
    assert.equal((await disk.rollback('one')).answer, 'done');
    assert.equal((await disk.drop('one')).answer, 'done');
    assert.equal(readFileSync(join(folder, 'README'), 'utf8'), 'mine');
  });

  test('with a layer that nobody knows of leaves it alone, and says so', async (context) => {
    const { own, folder, layers } = await used(context);
    const stranger = `${'5'.repeat(32)}.overlay`;
    copyFileSync(join(folder, layers[0] ?? ''), join(folder, stranger));
    const disk = await own();
    assert.deepEqual([disk.unusable, await disk.strangers()], [undefined, [stranger]]);
  });

  for (const [what, put] of [
    ['a folder', (path: string) => mkdirSync(path)],
    ['a link to somewhere else', (path: string) => symlinkSync('/etc/hostname', path)],
    ['a link to nowhere', (path: string) => symlinkSync('nowhere', path)],
    ['a pipe', (path: string) => execFileSync('mkfifo', [path])],
    ['an empty file', (path: string) => writeFileSync(path, '')],
    ['text', (path: string) => writeFileSync(path, 'nonsense\n'.repeat(1000))],
    ['nothing', () => {}],
  ] as const) {
    for (const which of ['disk.json', 'a layer'] as const) {
      test(`with ${what} in the place of ${which} is refused in a sentence, and is as before when that is put back`, {
        skip: without('mkfifo', 'coreutils'),
      }, async (context) => {
        const there = await used(context);
        const path = join(there.folder, which === 'disk.json' ? which : (there.layers[0] ?? ''));
        renameSync(path, `${path}.kept`);
        put(path);
        const refused = await there.own();
        const { unusable } = refused;
        assert.ok(unusable?.includes(there.folder), unusable);
        if (what === 'nothing') assert.match(unusable ?? '', /is missing/);
        assert.match(unusable ?? '', /put it back from a backup/);
        await assert.rejects(refused.device.read(0, new Uint8Array(1)), { code: 'EIO' });
        for (const verdict of [refused.snapshot('two'), refused.rollback('one'), refused.drop('one')]) {
          assert.deepEqual(await verdict, { answer: 'refused', because: unusable });
        }
        await there.own('node2').then((other) => assert.equal(other.unusable, undefined));
        await there.closed();
        rmSync(path, { recursive: true, force: true });
        renameSync(`${path}.kept`, path);
        const again = await there.own();
        assert.equal(again.unusable, undefined);
        assert.ok((await contentOf(again)).equals(there.content));
      });
    }
  }

  test('whose disk.json is that of another board is refused, and so is a layer of one under a right name', async (context) => {
    const there = await used(context);
    const other = await there.own('node2');
    await other.device.write(0, noise(4096, 9), { durable: true });
    await there.closed();
    const [mine, its] = [there.folder, join(there.disksPath, 'node2')];
    const keep = readFileSync(join(mine, 'disk.json'));
    copyFileSync(join(its, 'disk.json'), join(mine, 'disk.json'));
    assert.match((await there.own()).unusable ?? '', /it is that of "node2"/);
    writeFileSync(join(mine, 'disk.json'), keep);
    const [layer = ''] = there.layers;
    const [foreign = ''] = readdirSync(its).filter((name) => name.endsWith('.overlay'));
    const kept = readFileSync(join(mine, layer));
    copyFileSync(join(its, foreign), join(mine, layer));
    assert.match((await there.own()).unusable ?? '', /it is of the board node2/);
    const [, second = ''] = there.layers;
    copyFileSync(join(mine, second), join(mine, layer));
    assert.match((await there.own()).unusable ?? '', /it is another layer, under a wrong name/);
    writeFileSync(join(mine, layer), kept);
    assert.equal((await there.own()).unusable, undefined);
  });

  test('that is no folder is refused in a sentence', async (context) => {
    const there = await used(context);
    renameSync(there.folder, `${there.folder}.kept`);
    writeFileSync(there.folder, 'a file');
    assert.match((await there.own()).unusable ?? '', /node1/);
  });

  test('with a layer cut off after any number of its sectors is refused, or whole', async (context) => {
    const there = await used(context);
    const path = join(there.folder, there.layers[0] ?? '');
    const kept = `${path}.kept`;
    renameSync(path, kept);
    const { size: length } = statSync(kept);
    for (const cut of [0, 1, 511, 512, 1024, 4095, 4096, 4608, MEBI, length - 4096, length - 1]) {
      execFileSync('cp', ['--sparse=always', kept, path]);
      truncateSync(path, cut);
      assert.match((await there.own()).unusable ?? '', /can't be used: .*(bytes|missing|wiped)/, `cut at ${cut}`);
    }
  });
});

describe('what was done', () => {
  test('stays done where what can wait fails: a layer that is not removed, two that do not become one', async (context) => {
    const there = await used(context);
    const disk = await there.own();
    assert.equal((await disk.snapshot('two')).answer, 'done');
    await disk.device.write(0, noise(4096, 7), { durable: true });
    const before = new Set(readdirSync(there.folder));
    assert.equal((await disk.snapshot('three')).answer, 'done');
    const [current = ''] = readdirSync(there.folder).filter((name) => !before.has(name) && name.endsWith('.overlay'));
    // It can't be removed now.
    renameSync(join(there.folder, current), join(there.folder, `${current}.kept`));
    mkdirSync(join(there.folder, current));
    assert.deepEqual(await disk.rollback('two'), { answer: 'done' });
    assert.equal((await disk.snapshot('four')).answer, 'done');
    await there.closed();
    const again = await there.own();
    assert.equal(again.unusable, undefined);
    rmSync(join(there.folder, current), { recursive: true });
  });

  test('on a disk that fills up is done, or refused with how much it takes, and never a board that can not be opened', {
    skip: withoutMounts(),
  }, async (context) => {
    const small = await smallFilesystem(context, 8 * MEBI);
    const there = world(small.reach('disks'));
    let disk = await there.own();
    await disk.device.write(0, noise(MEBI, 1), { durable: true });
    assert.equal((await disk.snapshot('one')).answer, 'done');
    await disk.device.write(MEBI / 2, noise(MEBI, 2), { durable: true });
    let refusals = 0;
    for (let round = 0; round < 40; round += 1) {
      const content = await contentOf(disk);
      // All but some pages of what is free; from round to round one more.
      rmSync(small.reach('filler'), { force: true });
      fill(small.reach('filler'), round * 4096);
      const names = async () => (await disk.space())?.snapshots.map(({ name }) => name).join(' ') ?? '';
      const was = await names();
      const verdict = await disk.snapshot(`s${round}`);
      if (verdict.answer === 'refused') {
        refusals += 1;
        assert.match(verdict.because, /there is no space under .*: it takes 262 kB/);
        assert.equal(await names(), was);
      } else {
        const dropped = await disk.drop(`s${round}`);
        if (dropped.answer === 'refused') assert.match(dropped.because, /there is no space/);
      }
      assert.ok((await contentOf(disk)).equals(content));
      await there.closed();
      disk = await there.own();
      assert.equal(disk.unusable, undefined, `round ${round}: ${disk.unusable}`);
      assert.ok((await contentOf(disk)).equals(content), `round ${round}`);
      assert.deepEqual(await disk.strangers(), []);
    }
    context.diagnostic(`${refusals} of 40 snapshots were refused`);
    assert.ok(refusals > 0 && refusals < 40);
    rmSync(small.reach('filler'));
    assert.equal((await disk.rollback('one')).answer, 'done');
    await there.closed();
  });
});

/** Until there are only so many bytes left. */
function fill(path: string, leftBytes: number): void {
  try {
    writeFileSync(path, Buffer.alloc(8 * MEBI, 1));
  } catch {
    // it is full
  }
  const { length } = readFileSync(path);
  truncateSync(path, Math.max(0, length - leftBytes));
}

test('which versions of images are needed is known of all disks that can be read, and whether that is all of them', async (context) => {
  const there = await used(context);
  await there.own('node2');
  await there.closed();
  assert.deepEqual(await versionsInUse(there.disksPath), {
    versions: new Map([[BASE, ['node1', 'node2']]]),
    isComplete: true,
  });
  writeFileSync(join(there.folder, 'disk.json'), 'nonsense');
  writeFileSync(join(there.disksPath, 'README'), 'somebody was here');
  assert.deepEqual(await versionsInUse(there.disksPath), { versions: new Map([[BASE, ['node2']]]), isComplete: false });
  assert.deepEqual(await versionsInUse(join(there.disksPath, 'nowhere')), { versions: new Map(), isComplete: true });
});
