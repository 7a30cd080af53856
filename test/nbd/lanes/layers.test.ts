// A board's own disk, as lanes take it: layers of which the uppermost takes what is written, and another one at each snapshot.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import { Disks } from '../../../src/block/disks.js';
import { openFileDevice } from '../../../src/block/file-device.js';
import { watched } from '../../../src/block/watched-device.js';
import { BoardDisk } from '../../../src/boards/disks/board-disk.js';
import { diskBoard } from '../../support/boards.js';
import { whenOver } from '../../support/cleanup.js';
import { serveFiles } from '../../support/lane-server.js';
import { noise, seeded } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';

const MEBI = 1024 * 1024;
/** More than one sector of the map, and an image that ends in the middle of a block. */
const SIZE = 24 * MEBI;
const IMAGE = noise(16 * MEBI + 512, 9);
const BASE = 'ba5e'.repeat(8);
/** What does not end is a failure too. */
const LIMIT = { timeout: 120_000 };

async function overlay(context: TestContext) {
  const folder = scratchFolder(context);
  const path = join(folder, 'image.img');
  writeFileSync(path, IMAGE);
  const disks = new Disks();
  const image = await openFileDevice(path, { access: 'readOnly', lock: 'shared', disks });
  const disk = await BoardDisk.open(
    { board: 'node1', disksPath: folder, base: BASE, baseOf: () => image, sizeBytes: SIZE, disks, fit: async () => {} },
    systemClock,
  );
  const device = watched(disk.device);
  whenOver(context, async () => {
    await disk.close();
    await image.close();
  });
  await device.watch({ changing: () => undefined }).only([]);
  const board = diskBoard('node1', device);
  return { disk, device, served: await serveFiles(context, [{ board, device, path, content: () => Buffer.alloc(0) }]) };
}

function content(): Buffer {
  const bytes = Buffer.alloc(SIZE);
  bytes.set(IMAGE);
  return bytes;
}

describe('a disk of layers', LIMIT, () => {
  test('is read and written by lanes, where whole blocks are written and the map has room', async (context) => {
    const { served } = await overlay(context);
    const client = await served.attach();
    const model = content();
    const put = async (offset: number, bytes: Uint8Array) => {
      await client.write(offset, bytes);
      model.set(bytes, offset);
    };
    await put(0, noise(512, 1)); // the first in its sector of the map, and half a block
    assert.deepEqual(Object.fromEntries(served.doneBy().main), { write: 1 });
    await put(4096, noise(8192, 2)); // whole
    await put(4096 + 7, noise(100, 3)); // in what it has
    await put(0, noise(100, 4));
    await put(MEBI, noise(4 * 4096, 6));
    await put(MEBI + 4096, noise(8 * 4096, 7)); // what it has, and what it has not
    assert.deepEqual(Object.fromEntries(served.doneBy().main), { write: 1 });
    assert.ok(model.subarray(0, 65536).equals(await client.read(0, 65536)));
    assert.ok(model.subarray(16 * MEBI, 16 * MEBI + 65536).equals(await client.read(16 * MEBI, 65536)));
    await client.flush(); // the sector of the map is written for the first time
    await put(0, noise(4096, 8));
    await client.flush();
    await put(64 * 4096, noise(4096, 10));
    await client.flush(); // it has changed
    await put(5 * 4096 + 1, noise(9000, 5)); // half blocks
    await client.writeZeroes(3 * 4096, 2 * 4096);
    model.fill(0, 3 * 4096, 5 * 4096);
    assert.deepEqual(Object.fromEntries(served.doneBy().main), { write: 2, flush: 1, write_zeroes: 1 });
    for (let at = 0; at < SIZE; at += 4 * MEBI) {
      assert.deepEqual(await client.read(at, 4 * MEBI), new Uint8Array(model.subarray(at, at + 4 * MEBI)), `at ${at}`);
    }
  });

  test('is what its clients have written, over snapshots that are taken while they write', async (context) => {
    const { disk, served } = await overlay(context);
    const model = content();
    const hands = 6;
    const share = SIZE / hands;
    const chance = seeded(4);
    let isOver = false;
    const work = Array.from({ length: hands }, async (_, hand) => {
      const client = await served.attach();
      for (let step = 0; !isOver; step += 1) {
        const aligned = chance.below(3) > 0;
        const grain = aligned ? 4096 : 1;
        const offset = hand * share + chance.below((share - 300_000) / grain) * grain;
        const length = (1 + chance.below(aligned ? 40 : 150_000)) * grain;
        const kind = chance.pick(['write', 'write', 'write', 'zero', 'trim', 'flush', 'read'] as const);
        if (kind === 'write') {
          const bytes = noise(length, step * 100 + hand);
          await client.write(offset, bytes, { durable: chance.below(20) === 0 });
          model.set(bytes, offset);
        } else if (kind === 'zero') {
          await client.writeZeroes(offset, length);
          model.fill(0, offset, offset + length);
        } else if (kind === 'flush') await client.flush();
        // Its whole blocks read as zeroes then, the rest as it was.
        else if (kind === 'trim') {
          await client.trim(offset, length);
          const [from, to] = [Math.ceil(offset / 4096) * 4096, Math.floor((offset + length) / 4096) * 4096];
          if (from < to) model.fill(0, from, to);
        }
        const there = await client.read(offset, length);
        assert.ok(
          model.subarray(offset, offset + length).equals(there),
          `hand ${hand}, step ${step}: ${kind} at ${offset}`,
        );
      }
    });
    for (let snapshot = 0; snapshot < 12; snapshot += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const verdict = await disk.snapshot(`s${snapshot}`);
      assert.equal(verdict.answer, 'done');
    }
    isOver = true;
    await Promise.all(work);
    const client = await served.attach();
    for (let at = 0; at < SIZE; at += MEBI) {
      assert.ok(model.subarray(at, at + MEBI).equals(await client.read(at, MEBI)), `at ${at}`);
    }
    const { lanes, main } = served.doneBy();
    context.diagnostic(JSON.stringify({ lanes: Object.fromEntries(lanes), main: Object.fromEntries(main) }));
    assert.ok((lanes.get('read') ?? 0) > (main.get('read') ?? 0));
  });
});
