import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { IMAGE_DIGEST_RETRY_MS, IMAGE_LOOK_MS, PINS_MAX } from '../../../src/base/limits.js';
import { Disks } from '../../../src/block/disks.js';
import { openFileDevice } from '../../../src/block/file-device.js';
import type { ImageEvent } from '../../../src/boards/images/image-events.js';
import { PinFolder } from '../../../src/boards/images/pin-folder.js';
import { PinnedImages } from '../../../src/boards/images/pinned-images.js';
import type { PinStore } from '../../../src/boards/images/pins.js';
import { whenOver } from '../../support/cleanup.js';
import { until } from '../../support/commands.js';
import { FakeClock } from '../../support/fake-clock.js';
import { digestText, HandDigester } from '../../support/hand-digester.js';
import { anyOf, without, withoutRoot } from '../../support/programs.js';
import { scratchFolder } from '../../support/scratch.js';

const SIZE = 64 * 1024;
const content = (byte: number, size = SIZE) => new Uint8Array(size).fill(byte);

/** A folder with one image in it, and which boards' overlays lie over which versions. */
function place(context: TestContext) {
  const folder = scratchFolder(context);
  const file = join(folder, 'noble.img');
  const pins = join(folder, 'state', 'images');
  writeFileSync(file, content(1));
  const overlays = new Map<string, string>();
  return { folder, file, pins, overlays };
}

/** One process's part. */
async function processOn(
  context: TestContext,
  { pins, overlays }: Pick<ReturnType<typeof place>, 'pins' | 'overlays'>,
  store: PinStore = new PinFolder(pins),
) {
  const clock = new FakeClock();
  const digester = new HandDigester();
  const events: ImageEvent[] = [];
  const images = new PinnedImages({
    folder: store,
    disks: new Disks(),
    digester,
    clock,
    boardsOn: (id) => [...overlays].filter(([, base]) => base === id).map(([board]) => board),
    tell: (event) => events.push(event),
  });
  let isOpen = true;
  const stop = async () => {
    if (isOpen) await images.close();
    isOpen = false;
  };
  whenOver(context, stop);
  const faults = await images.load();
  const open = async (file: string, name = 'noble') => {
    const verdict = await images.open(name, file);
    assert.equal(verdict.answer, 'image', verdict.answer === 'refused' ? verdict.problem : '');
    return verdict.image;
  };
  const kinds = () => events.map(({ kind }) => kind);
  const told = (kind: ImageEvent['kind']) => until(() => kinds().includes(kind), kind);
  return { images, clock, digester, events, kinds, told, faults, open, stop };
}

type Image = Awaited<ReturnType<Awaited<ReturnType<typeof processOn>>['open']>>;

async function versionOf(image: Image): Promise<string> {
  const base = await image.base();
  assert.equal(base.answer, 'version');
  return base.id;
}

/** An image over which the overlay of node1 lies, read whole if `isRead`, and nobody has it open. */
async function pinned(context: TestContext, { isRead = true }: { readonly isRead?: boolean } = {}) {
  const scene = place(context);
  const process = await processOn(context, scene);
  const image = await process.open(scene.file);
  const id = await versionOf(image);
  scene.overlays.set('node1', id);
  if (isRead) {
    process.digester.last.finish();
    await process.told('digested');
  }
  await process.stop();
  return { ...scene, id };
}

const touch = (file: string, seconds = 1_700_000_000) => utimesSync(file, seconds, seconds);

describe('an image', () => {
  test('is pinned when it is first opened, and read whole behind that', async (context) => {
    const scene = place(context);
    const { open, digester, events, told, images } = await processOn(context, scene);
    const image = await open(scene.file);
    const id = await versionOf(image);
    assert.deepEqual(image.verdict(id), { answer: 'same' });
    digester.last.doneBytes = 4096;
    const [status] = images.status();
    assert.deepEqual(status?.state, { at: 'reading', isCompared: false, doneBytes: 4096 });
    assert.equal(digester.last.task.isUrgent, false);
    digester.last.finish();
    await told('digested');
    assert.deepEqual(events.at(-1), {
      ...{ image: 'noble', file: scene.file, kind: 'digested', id, digest: digestText(content(1)) },
    });
    assert.deepEqual(images.status()[0]?.state, { at: 'known' });
    assert.deepEqual(readdirSync(scene.pins), [`${id}.json`]);
    assert.match(readFileSync(join(scene.pins, `${id}.json`), 'utf8'), new RegExp(digestText(content(1))));
    assert.equal(statSync(join(scene.pins, `${id}.json`)).mode & 0o777, 0o600);
  });

  test('is read through its device, under a lock that others may share and nobody may write by', async (context) => {
    const scene = place(context);
    const { open } = await processOn(context, scene);
    const image = await open(scene.file);
    const target = new Uint8Array(512);
    await image.device.read(0, target);
    assert.deepEqual(target, content(1, 512));
    await assert.rejects(image.device.write(0, target, { durable: false }), { code: 'EROFS' });
    await assert.rejects(openFileDevice(scene.file, { access: 'readWrite', lock: 'exclusive' }), { code: 'EBUSY' });
    const other = await openFileDevice(scene.file, { access: 'readOnly', lock: 'shared' });
    await other.close();
  });

  test('that was not touched is known again by a look, and not read', async (context) => {
    const scene = await pinned(context);
    const { open, digester, events } = await processOn(context, scene);
    const image = await open(scene.file);
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    assert.equal(await versionOf(image), scene.id);
    assert.deepEqual([digester.all, events], [[], []]);
  });

  test('whose first reading did not come to its end is read again', async (context) => {
    const scene = await pinned(context, { isRead: false });
    const { open, digester, told } = await processOn(context, scene);
    const image = await open(scene.file);
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    digester.last.finish();
    await told('digested');
  });

  test('that was touched is compared, and boards wait for that', async (context) => {
    const scene = await pinned(context);
    touch(scene.file);
    const { open, digester, told, images } = await processOn(context, scene);
    const image = await open(scene.file);
    digester.last.doneBytes = SIZE / 4;
    const verdict = image.verdict(scene.id);
    assert.equal(verdict.answer, 'verifying');
    assert.deepEqual([verdict.doneBytes, verdict.ofBytes], [SIZE / 4, SIZE]);
    assert.match(verdict.problem, /noble\.img was touched.*\(25 % of 65\.5 kB\)/);
    assert.equal(digester.last.task.isUrgent, true);
    assert.equal(images.status()[0]?.state.at, 'reading');
    digester.last.finish();
    await told('verified');
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
  });

  test('that was touched and compared is known by a look from then on', async (context) => {
    const scene = await pinned(context);
    touch(scene.file);
    const first = await processOn(context, scene);
    await first.open(scene.file);
    first.digester.last.finish();
    await first.told('verified');
    await first.stop();
    const { open, digester } = await processOn(context, scene);
    const image = await open(scene.file);
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    assert.deepEqual(digester.all, []);
  });

  test('that came back from a backup is compared and the same', async (context) => {
    const scene = await pinned(context);
    copyFileSync(scene.file, `${scene.file}.backup`);
    rmSync(scene.file);
    renameSync(`${scene.file}.backup`, scene.file);
    const { open, digester, told } = await processOn(context, scene);
    const image = await open(scene.file);
    assert.equal(image.verdict(scene.id).answer, 'verifying');
    digester.last.finish();
    await told('verified');
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
  });

  test('of another size is another version at once', async (context) => {
    const scene = await pinned(context);
    scene.overlays.set('node2', scene.id);
    truncateSync(scene.file, SIZE * 2);
    const { open } = await processOn(context, scene);
    const verdict = (await open(scene.file)).verdict(scene.id);
    assert.equal(verdict.answer, 'refused');
    assert.equal(
      verdict.problem,
      `${scene.file} is no longer what it was: the overlays of node1 and node2 lie over the version pinned on 2026-01-01 at 00:00 UTC (65536 bytes, SHA-256 ${digestText(content(1)).slice(0, 12)}…), and there is now 131072 bytes, SHA-256 not known`,
    );
    assert.match(verdict.remedy, /put that version back.*`brambleboot promote BOARD FILE`.*`brambleboot reset BOARD`/);
  });

  test('with other content of the same size is another version when it has been read', async (context) => {
    const scene = await pinned(context);
    writeFileSync(scene.file, content(2));
    const { open, digester, told, events } = await processOn(context, scene);
    const image = await open(scene.file);
    assert.equal(image.verdict(scene.id).answer, 'verifying');
    const fresh = await versionOf(image);
    digester.last.finish();
    await told('changed');
    const verdict = image.verdict(scene.id);
    assert.equal(verdict.answer, 'refused');
    assert.match(verdict.remedy, /`brambleboot reset node1`/);
    assert.ok(verdict.problem.includes(digestText(content(2)).slice(0, 12)));
    const changed = events.find((event) => event.kind === 'changed');
    assert.deepEqual(changed?.boards, ['node1']);
    assert.equal(changed?.problem, verdict.problem);
    assert.notEqual(fresh, scene.id);
    assert.deepEqual(image.verdict(fresh), { answer: 'same' });
  });

  test('that was touched before its first reading ended can not be compared; its time back makes it the same', async (context) => {
    const scene = await pinned(context, { isRead: false });
    const { mtimeMs } = statSync(scene.file);
    touch(scene.file);
    const first = await processOn(context, scene);
    const verdict = (await first.open(scene.file)).verdict(scene.id);
    assert.equal(verdict.answer, 'refused');
    assert.match(verdict.problem, /can't be told.*whose digest was not finished/);
    const [, seconds] = /touch -d @(\S+) '(.*)'\) and restart/.exec(verdict.remedy) ?? [];
    assert.equal(Math.floor(Number(seconds)), Math.floor(mtimeMs / 1000));
    await first.stop();
    execFileSync('touch', ['-d', `@${seconds}`, scene.file]);
    const { open } = await processOn(context, scene);
    assert.deepEqual((await open(scene.file)).verdict(scene.id), { answer: 'same' });
  });

  test('that was moved is the same, and read once more behind that', async (context) => {
    const scene = await pinned(context);
    const moved = join(scene.folder, 'noble-24.04.img');
    renameSync(scene.file, moved);
    const { open, digester } = await processOn(context, scene);
    const image = await open(moved, 'noble-old');
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    // Where a rename changes ctime.
    for (const reading of digester.all) assert.equal(reading.task.isUrgent, false);
  });

  test('that was copied elsewhere is the same when it has been read', async (context) => {
    const scene = await pinned(context);
    const copy = join(scene.folder, 'copy.img');
    copyFileSync(scene.file, copy);
    writeFileSync(scene.file, content(3));
    const { open, digester, told } = await processOn(context, scene);
    const image = await open(copy, 'copy');
    digester.last.finish();
    await told('verified');
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
  });

  test('lies beside its new version under another name, and each board on its own', async (context) => {
    const scene = await pinned(context);
    const next = join(scene.folder, 'next.img');
    writeFileSync(next, content(2));
    const { open } = await processOn(context, scene);
    const [old, fresh] = [await open(scene.file), await open(next, 'next')];
    const id = await versionOf(fresh);
    assert.deepEqual(old.verdict(scene.id), { answer: 'same' });
    assert.deepEqual(fresh.verdict(id), { answer: 'same' });
    assert.notEqual(fresh.verdict(scene.id).answer, 'same');
  });

  test('that only looks the same is found out', async (context) => {
    const scene = await pinned(context);
    const { mtime, atime } = statSync(scene.file);
    writeFileSync(scene.file, content(2));
    // As of an archive that gives all files one date, into the same inode.
    const file = scene.file;
    utimesSync(file, atime, mtime);
    const hasItsTime = statSync(file, { bigint: true }).mtimeNs === timeIn(scene);
    if (!hasItsTime) execFileSync('touch', ['-d', `@${secondsOf(timeIn(scene))}`, file]);
    const { open, digester, told, stop } = await processOn(context, scene);
    const image = await open(file);
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    digester.last.finish();
    await told('changed');
    assert.equal(image.verdict(scene.id).answer, 'refused');
    const fresh = await versionOf(image);
    await stop();
    const second = await processOn(context, scene);
    const again = await second.open(file);
    assert.equal(again.verdict(scene.id).answer, 'refused');
    assert.deepEqual(again.verdict(fresh), { answer: 'same' });
    assert.deepEqual(second.digester.all, []);
  });
});

function instead(make: (path: string) => void): (path: string) => void {
  return (path) => {
    rmSync(path);
    make(path);
  };
}

function timeIn({ pins, id }: { readonly pins: string; readonly id: string }): bigint {
  const [, digits = '0'] = /"mtimeNs":"(\d+)"/.exec(readFileSync(join(pins, `${id}.json`), 'utf8')) ?? [];
  return BigInt(digits);
}

function secondsOf(ns: bigint): string {
  const digits = String(ns);
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

describe('an image that is open', () => {
  test('is looked at from time to time', async (context) => {
    const scene = await pinned(context);
    const { open, clock, told } = await processOn(context, scene);
    await open(scene.file);
    truncateSync(scene.file, SIZE / 2);
    clock.advance(IMAGE_LOOK_MS);
    await told('changed');
  });

  test('and cut is refused from then on', async (context) => {
    const scene = await pinned(context);
    const { open, images, kinds, events } = await processOn(context, scene);
    const image = await open(scene.file);
    truncateSync(scene.file, SIZE / 2);
    await images.look();
    assert.deepEqual(kinds(), ['touched', 'changed']);
    const verdict = image.verdict(scene.id);
    assert.equal(verdict.answer, 'refused');
    assert.match(verdict.problem, /was written to while it is in use/);
    assert.equal((await image.base()).answer, 'refused');
    const [, changed] = events;
    assert.deepEqual(changed?.kind === 'changed' ? changed.boards : undefined, ['node1']);
    assert.deepEqual(images.status()[0]?.state, { at: 'written' });
    await images.look();
    assert.equal(kinds().length, 2);
  });

  test('and only touched goes on when it has been compared', async (context) => {
    const scene = await pinned(context);
    const { open, images, digester, told, kinds, stop } = await processOn(context, scene);
    const image = await open(scene.file);
    touch(scene.file);
    await images.look();
    assert.equal(image.verdict(scene.id).answer, 'verifying');
    assert.equal((await image.base()).answer, 'verifying');
    digester.last.finish();
    await told('verified');
    assert.deepEqual(kinds(), ['touched', 'reading', 'verified']);
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    await stop();
    const again = await processOn(context, scene);
    assert.deepEqual((await again.open(scene.file)).verdict(scene.id), { answer: 'same' });
    assert.deepEqual(again.digester.all, []);
  });

  test('and written is refused, until it is again what it was', async (context) => {
    const scene = await pinned(context);
    const { open, images, digester, told, events } = await processOn(context, scene);
    const image = await open(scene.file);
    writeFileSync(scene.file, content(2));
    touch(scene.file, 1_700_000_000);
    await images.look();
    digester.last.finish();
    await told('changed');
    assert.equal(image.verdict(scene.id).answer, 'refused');
    writeFileSync(scene.file, content(1));
    touch(scene.file, 1_700_000_001);
    await images.look();
    digester.last.finish();
    await told('verified');
    assert.equal(events.filter(({ kind }) => kind === 'changed').length, 1);
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
  });

  test('and written while it is first read is refused, since nobody knows what it was', async (context) => {
    const scene = place(context);
    const { open, digester, told } = await processOn(context, scene);
    const image = await open(scene.file);
    const id = await versionOf(image);
    touch(scene.file);
    digester.last.end({ answer: 'written' });
    await told('changed');
    assert.equal(image.verdict(id).answer, 'refused');
  });

  test('and touched again while it is compared is compared anew', async (context) => {
    const scene = await pinned(context);
    const { open, images, digester, told } = await processOn(context, scene);
    const image = await open(scene.file);
    touch(scene.file, 1_700_000_000);
    await images.look();
    const first = digester.last;
    touch(scene.file, 1_700_000_001);
    await images.look();
    assert.equal(first.isOver, true);
    digester.last.finish();
    await told('verified');
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
  });

  test('and replaced by another file goes on, and that is told once', async (context) => {
    const scene = await pinned(context);
    const { open, images, events } = await processOn(context, scene);
    const image = await open(scene.file);
    writeFileSync(`${scene.file}.next`, content(2));
    renameSync(scene.file, `${scene.file}.old`);
    await images.look();
    renameSync(`${scene.file}.next`, scene.file);
    await images.look();
    await images.look();
    const moved = events.flatMap((event) => (event.kind === 'moved' ? [event.whereabouts] : []));
    assert.deepEqual(moved, ['gone', 'replaced']);
    assert.equal(images.status()[0]?.whereabouts, 'replaced');
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    const target = new Uint8Array(512);
    await image.device.read(0, target);
    assert.deepEqual(target, content(1, 512));
  });

  test('and can not be read is tried again later', async (context) => {
    const scene = await pinned(context);
    touch(scene.file);
    const { open, images, digester, told, clock, kinds } = await processOn(context, scene);
    const image = await open(scene.file);
    digester.last.end({ answer: 'failed', because: 'pread: EIO' });
    await told('unreadable');
    const verdict = image.verdict(scene.id);
    assert.equal(verdict.answer, 'refused');
    assert.match(verdict.problem, /could not be compared with what it was: pread: EIO/);
    await images.look();
    assert.equal(digester.all.length, 1);
    clock.advance(IMAGE_DIGEST_RETRY_MS);
    await images.look();
    digester.last.finish();
    await told('verified');
    assert.equal(kinds().filter((kind) => kind === 'unreadable').length, 1);
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
  });
});

describe('what is no image', () => {
  const refusals: readonly [string, (path: string) => void, RegExp][] = [
    ['nothing', () => {}, /ENOENT/],
    ['a FIFO', (path) => execFileSync('mkfifo', [path]), /neither a regular file nor a block device/],
    ['a folder', (path) => mkdirSync(path), /neither a regular file nor a block device/],
    ['a link to nothing', (path) => symlinkSync('nowhere', path), /ENOENT/],
    ['a link to itself', (path) => symlinkSync('it', path), /ELOOP|too many symbolic links/],
  ];
  for (const [what, make, problem] of refusals) {
    test(`${what} is refused with what to do`, async (context) => {
      const scene = place(context);
      const { images } = await processOn(context, scene);
      const path = join(scene.folder, 'it');
      make(path);
      const verdict = await images.open('noble', path);
      assert.equal(verdict.answer, 'refused');
      assert.match(verdict.problem, problem);
      assert.notEqual(verdict.remedy, '');
    });
  }

  test('somebody who writes to it is named', async (context) => {
    const scene = place(context);
    const writer = await openFileDevice(scene.file, { access: 'readWrite', lock: 'exclusive' });
    whenOver(context, () => writer.close());
    const { images } = await processOn(context, scene);
    const verdict = await images.open('noble', scene.file);
    assert.equal(verdict.answer, 'refused');
    assert.match(verdict.problem, /EBUSY: in use by .*\(pid \d+\)/);
  });

  test('a link is the file it leads to, and another when it leads elsewhere', async (context) => {
    const scene = place(context);
    const link = join(scene.folder, 'current.img');
    symlinkSync('noble.img', link);
    const first = await processOn(context, scene);
    const image = await first.open(link);
    const id = await versionOf(image);
    first.digester.last.finish();
    await first.told('digested');
    await first.stop();
    scene.overlays.set('node1', id);
    writeFileSync(join(scene.folder, 'next.img'), content(2, SIZE * 2));
    rmSync(link);
    symlinkSync('next.img', link);
    const second = await processOn(context, scene);
    assert.equal((await second.open(link)).verdict(id).answer, 'refused');
    assert.deepEqual((await second.open(scene.file, 'old')).verdict(id), { answer: 'same' });
  });
});

describe('a block device', () => {
  const loop = anyOf(withoutRoot(), without('losetup', 'util-linux'));

  test('is served as what it was, read at each start, and found out', { skip: loop }, async (context) => {
    const scene = place(context);
    const node = execFileSync('losetup', ['-f', '--show', scene.file]).toString().trim();
    whenOver(context, () => void execFileSync('losetup', ['-d', node]));
    const first = await processOn(context, scene);
    const id = await versionOf(await first.open(node));
    scene.overlays.set('node1', id);
    first.digester.last.finish();
    await first.told('digested');
    await first.stop();

    const second = await processOn(context, scene);
    assert.deepEqual((await second.open(node)).verdict(id), { answer: 'same' });
    second.digester.last.finish();
    await second.told('verified');
    await second.stop();

    const writer = await openFileDevice(node, { access: 'readWrite', lock: 'none' });
    await writer.write(0, content(2), { durable: true });
    await writer.close();
    const third = await processOn(context, scene);
    const image = await third.open(node);
    assert.deepEqual(image.verdict(id), { answer: 'same' });
    third.digester.last.finish();
    await third.told('changed');
    assert.equal(image.verdict(id).answer, 'refused');
    const fresh = await versionOf(image);
    await third.stop();

    const fourth = await processOn(context, scene);
    const again = await fourth.open(node);
    assert.equal(again.verdict(id).answer, 'refused');
    assert.deepEqual(again.verdict(fresh), { answer: 'same' });
  });

  test('of another number is read before it is served', { skip: loop }, async (context) => {
    const scene = place(context);
    const other = join(scene.folder, 'other.img');
    writeFileSync(other, content(1));
    const nodes = [scene.file, other].map((file) => execFileSync('losetup', ['-f', '--show', file]).toString().trim());
    for (const node of nodes) whenOver(context, () => void execFileSync('losetup', ['-d', node]));
    const [one = '', two = ''] = nodes;
    const first = await processOn(context, scene);
    const id = await versionOf(await first.open(one));
    first.digester.last.finish();
    await first.told('digested');
    await first.stop();
    scene.overlays.set('node1', id);
    const { open, digester, told } = await processOn(context, scene);
    const image = await open(two);
    assert.equal(image.verdict(id).answer, 'verifying');
    digester.last.finish();
    await told('verified');
    assert.deepEqual(image.verdict(id), { answer: 'same' });
  });
});

describe('the folder of versions', () => {
  test('that lacks one an overlay names: the board is refused, and told what to do', async (context) => {
    const scene = await pinned(context);
    rmSync(join(scene.pins, `${scene.id}.json`));
    const { open } = await processOn(context, scene);
    const verdict = (await open(scene.file)).verdict(scene.id);
    assert.equal(verdict.answer, 'refused');
    assert.match(verdict.problem, /the overlay of node1 lies over version [0-9a-f]{32}.*nothing is known/);
    assert.match(verdict.remedy, /backup of the state folder.*`brambleboot reset node1`/);
  });

  test('that can not be read is not taken for an empty one', async (context) => {
    const scene = await pinned(context);
    const store: PinStore = Object.assign(new PinFolder(scene.pins), {
      list: () => Promise.reject(new Error("EACCES: permission denied, scandir '/state/images'")),
    });
    const { open, faults } = await processOn(context, scene, store);
    assert.deepEqual(faults, [{ path: scene.pins, because: 'EACCES: permission denied' }]);
    const verdict = (await open(scene.file)).verdict(scene.id);
    assert.equal(verdict.answer, 'refused');
    assert.match(verdict.problem, /EACCES: permission denied$/);
    assert.match(verdict.remedy, /^make it readable/);
  });

  const damages: readonly [string, (path: string) => void, RegExp][] = [
    ['cut', (path) => truncateSync(path, 40), /damaged, or nothing that Brambleboot has written/],
    ['empty', (path) => truncateSync(path, 0), /damaged, or nothing/],
    ['changed', (path) => writeFileSync(path, readFileSync(path, 'utf8').replace('65536', '65537')), /checksum/],
    [
      'of a newer version',
      (path) => writeFileSync(path, readFileSync(path, 'utf8').replace('"version":1', '"version":2')),
      /a newer version of Brambleboot/,
    ],
    ['a folder', instead((path) => mkdirSync(path)), /it is no file/],
    ['a FIFO', instead((path) => execFileSync('mkfifo', [path])), /it is no file/],
    ['a link', instead((path) => symlinkSync('/dev/zero', path)), /it is a symbolic link/],
  ];
  for (const [what, damage, because] of damages) {
    test(`with a file that is ${what}: it is told, kept, and its boards are refused`, async (context) => {
      const scene = await pinned(context);
      const path = join(scene.pins, `${scene.id}.json`);
      damage(path);
      const { open, faults, images } = await processOn(context, scene);
      assert.equal(faults.length, 1);
      assert.equal(faults[0]?.path, path);
      assert.match(faults[0]?.because ?? '', because);
      const verdict = (await open(scene.file)).verdict(scene.id);
      assert.equal(verdict.answer, 'refused');
      assert.ok(verdict.problem.includes(path));
      await images.forget([]);
      assert.ok(readdirSync(scene.pins).includes(`${scene.id}.json`));
    });
  }

  test('with a file under the name of another version is not believed', async (context) => {
    const scene = await pinned(context);
    const other = 'f'.repeat(32);
    renameSync(join(scene.pins, `${scene.id}.json`), join(scene.pins, `${other}.json`));
    const { faults } = await processOn(context, scene);
    assert.match(faults[0]?.because ?? '', /under a wrong name/);
  });

  test('is swept of what was half written, and of nothing else', async (context) => {
    const scene = await pinned(context);
    writeFileSync(join(scene.pins, `${'a'.repeat(32)}.json.new`), 'half');
    writeFileSync(join(scene.pins, 'notes.txt'), 'mine');
    const { faults } = await processOn(context, scene);
    assert.deepEqual(faults, []);
    assert.deepEqual(readdirSync(scene.pins).sort(), [`${scene.id}.json`, 'notes.txt']);
  });

  test('that can not be written: no fresh overlay, but those there are go on, and it is tried again', async (context) => {
    const scene = await pinned(context);
    touch(scene.file);
    const real = new PinFolder(scene.pins);
    let isFull = true;
    const store: PinStore = {
      path: scene.pins,
      pathOf: (id) => real.pathOf(id),
      list: () => real.list(),
      read: (id) => real.read(id),
      remove: (ids) => real.remove(ids),
      async write(pin) {
        if (isFull) throw new Error('ENOSPC: no space left on device, write');
        await real.write(pin);
      },
    };
    const { open, images, digester, told, kinds } = await processOn(context, scene, store);
    const image = await open(scene.file);
    const base = await image.base();
    assert.equal(base.answer, 'refused');
    assert.match(base.problem, /no overlay can be made over .*ENOSPC: no space left on device$/);
    digester.last.finish();
    await told('verified');
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    assert.ok(kinds().includes('unwritten'));
    assert.equal(readdirSync(scene.pins).length, 1);
    isFull = false;
    await images.look();
    assert.equal(readdirSync(scene.pins).length, 2);
    assert.equal((await image.base()).answer, 'version');
  });

  test('that is read-only serves what is known', async (context) => {
    const scene = await pinned(context);
    chmodSync(scene.pins, 0o500);
    whenOver(context, () => chmodSync(scene.pins, 0o700));
    const { open } = await processOn(context, scene);
    const image = await open(scene.file);
    assert.deepEqual(image.verdict(scene.id), { answer: 'same' });
    assert.equal(await versionOf(image), scene.id);
  });

  test('forgets what no overlay names, but not what is open or was given to a fresh overlay', async (context) => {
    const scene = await pinned(context);
    const first = await processOn(context, scene);
    writeFileSync(scene.file, content(2, SIZE * 2));
    const image = await first.open(scene.file);
    const fresh = await versionOf(image);
    assert.equal(await first.images.forget([scene.id]), 0);
    assert.equal(await first.images.forget([]), 1);
    assert.deepEqual(readdirSync(scene.pins), [`${fresh}.json`]);
    await first.stop();
    const second = await processOn(context, scene);
    assert.equal(await second.images.forget([]), 1);
    assert.deepEqual(readdirSync(scene.pins), []);
  });

  test('holds so many versions and no more', async (context) => {
    const scene = await pinned(context);
    const text = readFileSync(join(scene.pins, `${scene.id}.json`), 'utf8');
    for (let index = 1; index < PINS_MAX + 1; index += 1) {
      writeFileSync(join(scene.pins, `${String(index).padStart(32, '0')}.json`), text);
    }
    const { open, faults } = await processOn(context, scene);
    assert.match(faults.at(-1)?.because ?? '', /1 more of these than the 1024/);
    const next = join(scene.folder, 'next.img');
    writeFileSync(next, content(2));
    const base = await (await open(next, 'next')).base();
    assert.equal(base.answer, 'refused');
    assert.match(base.problem, /1024 versions of images already/);
  });
});
