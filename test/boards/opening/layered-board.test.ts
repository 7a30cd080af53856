import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import type { Board } from '../../../src/boards/board.js';
import type { BootFile } from '../../../src/boards/boot-files/boot-file.js';
import { Digests } from '../../../src/boards/images/digests.js';
import { PinFolder } from '../../../src/boards/images/pin-folder.js';
import { PinnedImages } from '../../../src/boards/images/pinned-images.js';
import { openCommonImage, openLayeredBoard } from '../../../src/boards/opening/layered-board.js';
import { Opening } from '../../../src/boards/opening/opening.js';
import { parseInventory } from '../../../src/inventory/parse.js';
import { makeDemoImage } from '../../../src/workshop/demo-image.js';
import { whenOver } from '../../support/cleanup.js';
import { scratchFolder } from '../../support/scratch.js';

const FILES = ['start4.elf', 'kernel8.img', 'bcm2711-rpi-4-b.dtb'];
const BOOT_AT = 1024 * 1024;

/** So many boards on one image, opened as the server opens them. */
async function boards(context: TestContext, count: number, disk: 'overlay' | 'volatile' = 'overlay') {
  const folder = scratchFolder(context);
  const image = join(folder, 'demo.img');
  const { files } = await makeDemoImage(image);
  const names = Array.from({ length: count }, (_, index) => `node${index + 1}`);
  const lines = names.map((name, index) => `  ${name}: { serial: '${index + 1}', image: demo, disk: ${disk} }`);
  const text = `images: { demo: { file: demo.img } }\nboards:\n${lines.join('\n')}\n`;
  const parsed = parseInventory(text, join(folder, 'config.yaml'));
  assert.ok(parsed.answer === 'inventory');
  const { inventory } = parsed;
  const opening = new Opening(inventory, { serverAddress: (askedAt) => askedAt, clock: systemClock });
  const images = new PinnedImages({
    ...{ folder: new PinFolder(join(inventory.server.state, 'images')), disks: opening.disks, clock: systemClock },
    ...{ digester: new Digests(), boardsOn: () => [], tell: () => {} },
  });
  const entry = inventory.images.get('demo');
  const pinned = await images.open('demo', image);
  assert.ok(pinned.answer !== 'refused' && entry !== undefined);
  const common = await openCommonImage(opening, entry, pinned.image);
  assert.ok(!('problem' in common));
  const all: Board[] = [];
  whenOver(context, () => images.close());
  for (const board of inventory.boards.values()) {
    const opened = await openLayeredBoard(opening, board, common);
    assert.ok(!('problem' in opened));
    whenOver(context, () => opened.close());
    all.push(opened.board);
  }
  return { all, memory: opening.memory, files };
}

/** Begins to read those files, and has all of each in memory that is kept of it. */
async function held(board: Board): Promise<readonly BootFile[]> {
  const files: BootFile[] = [];
  for (const path of FILES) {
    const verdict = await board.bootFiles.open(path, { askedAt: '10.0.0.1' });
    assert.ok(verdict.answer === 'file', `${board.name}: ${path}`);
    const { file } = verdict;
    assert.equal(await file.hold(), 'held');
    await contentOf(file);
    files.push(file);
  }
  return files;
}

async function contentOf(file: BootFile): Promise<Buffer> {
  const bytes = Buffer.alloc(file.sizeBytes);
  await file.read(0, bytes);
  return bytes;
}

describe('boards whose disks lie over one image', () => {
  test('have its boot files in memory once, 32 as one', async (context) => {
    const { all, memory, files } = await boards(context, 32);
    const [first, ...others] = all;
    assert.ok(first !== undefined);
    const open = [...(await held(first))];
    const ofOne = memory.kept.usedBytes;
    assert.ok(ofOne >= (files.get('kernel8.img')?.length ?? Number.POSITIVE_INFINITY));
    for (const board of others) open.push(...(await held(board)));
    assert.equal(memory.kept.usedBytes, ofOne);
    assert.equal(memory.saved.usedBytes, 0);
    context.diagnostic(`boot files of 32 boards: ${memory.kept.usedBytes} bytes, of one: ${ofOne}`);
    for (const file of open) file.close();
  });

  test('share them only as long as both have written nothing to their boot partitions', async (context) => {
    const { all, memory, files } = await boards(context, 3);
    const [one, other, third] = all;
    assert.ok(one !== undefined && other !== undefined && third !== undefined);
    // Its root partition, and the space in front of the boot partition, are no part of it.
    await one.disk.write(70 * 1024 * 1024, new Uint8Array(4096).fill(1), { durable: false });
    const open = [...(await held(one)), ...(await held(other))];
    const shared = memory.kept.usedBytes;
    const sector = new Uint8Array(512);
    await other.disk.read(BOOT_AT, sector);
    await other.disk.write(BOOT_AT, sector, { durable: false }); // as it was, but it is written
    open.push(...(await held(other)));
    assert.ok(memory.kept.usedBytes > shared);
    for (const [index, path] of FILES.entries()) {
      const file = open.at(index - FILES.length);
      assert.ok(file !== undefined && (await contentOf(file)).equals(files.get(path) ?? Buffer.alloc(0)));
    }
    const unshared = memory.kept.usedBytes;
    open.push(...(await held(third)));
    assert.equal(memory.kept.usedBytes, unshared);
    for (const file of open) file.close();
  });

  test('share them again after a rollback to what was untouched, and after a reset', async (context) => {
    const { all, memory } = await boards(context, 2);
    const [one, other] = all;
    assert.ok(one?.own !== undefined && other !== undefined);
    assert.equal((await one.own.snapshot('untouched')).answer, 'done');
    const open = [...(await held(other))];
    const shared = memory.kept.usedBytes;
    for (const back of [() => one.own?.rollback('untouched'), () => one.own?.reset()]) {
      await one.disk.write(BOOT_AT, new Uint8Array(0), { durable: false });
      await one.disk.zero(BOOT_AT + 40 * 1024 * 1024, 4096, { keepAllocated: false, durable: false });
      const own = await held(one);
      assert.ok(memory.kept.usedBytes > shared);
      for (const file of own) file.close();
      assert.equal((await back())?.answer, 'done');
      open.push(...(await held(one)));
      assert.equal(memory.kept.usedBytes, shared);
    }
    for (const file of open) file.close();
  });

  test('that are volatile share them whatever they have written', async (context) => {
    const { all, memory, files } = await boards(context, 2, 'volatile');
    const [one, other] = all;
    assert.ok(one !== undefined && other !== undefined);
    const open = [...(await held(one))];
    const shared = memory.kept.usedBytes;
    await other.disk.write(BOOT_AT, new Uint8Array(1024 * 1024).fill(0x5a), { durable: true });
    const later = await held(other);
    assert.equal(memory.kept.usedBytes, shared);
    const [start] = later;
    assert.ok(start !== undefined && (await contentOf(start)).equals(files.get('start4.elf') ?? Buffer.alloc(0)));
    for (const file of [...open, ...later]) file.close();
  });
});
