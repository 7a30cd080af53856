import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Allowance } from '../../../src/block/allowance.js';
import { Disks } from '../../../src/block/disks.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { BoardDisk } from '../../../src/boards/disks/board-disk.js';
import { allocatedUnder } from '../../../src/boards/disks/disk-folder.js';
import { whenOver } from '../../support/cleanup.js';
import { FakeClock } from '../../support/fake-clock.js';
import { scratchFolder } from '../../support/scratch.js';

const MEBI = 1024 * 1024;
const SIZE = 96 * MEBI;
const BASE = 'ba5e'.repeat(8);
/** Headers, maps, disk.json and folders. */
const BESIDE_BYTES = 256 * 1024;

function world(context: TestContext, limitBytes: number) {
  const disksPath = join(scratchFolder(context), 'disks');
  const clock = new FakeClock();
  const allowance = new Allowance(limitBytes, () => allocatedUnder(disksPath), clock);
  const image = new MemoryDevice(SIZE);
  const open = async (board: string) => {
    const base = { board, disksPath, base: BASE, baseOf: () => image, sizeBytes: SIZE, allowance, disks: new Disks() };
    const disk = await BoardDisk.open({ ...base, fit: async () => {} }, clock);
    whenOver(context, () => disk.close());
    return disk;
  };
  return { disksPath, clock, allowance, open };
}

/** As much as it may, a MiB after the other. */
async function fill({ device }: BoardDisk): Promise<void> {
  try {
    for (let at = 0; at < SIZE; at += MEBI) await device.write(at, new Uint8Array(MEBI).fill(1), { durable: false });
  } catch (error) {
    assert.match(String(error), /state_limit/);
  }
}

test('what the files take stays under the limit, over snapshots, rollbacks and boards that begin', async (context) => {
  const { disksPath, clock, open } = world(context, 100 * MEBI);
  const [one, other] = [await open('node1'), await open('node2')];
  for (const [step, disk] of [one, other, one, other].entries()) {
    await disk.device.write(step * MEBI, new Uint8Array(MEBI).fill(2), { durable: false });
    clock.advance(1000);
    assert.equal((await disk.snapshot(`s${step}`)).answer, 'done');
  }
  await fill(one);
  clock.advance(1000);
  await fill(other);
  const full = await allocatedUnder(disksPath);
  assert.ok(full <= 100 * MEBI + BESIDE_BYTES && full > 98 * MEBI, `${full}`);
  assert.equal((await one.rollback('s0')).answer, 'done');
  clock.advance(1000);
  await fill(other);
  assert.ok((await other.currentBytes()) > 90 * MEBI);
});

test('what a snapshot or a disk that is closed has left is for others', async (context) => {
  const { allowance, open } = world(context, 100 * MEBI);
  const [one, other] = [await open('node1'), await open('node2')];
  await one.device.write(0, new Uint8Array(MEBI).fill(2), { durable: false });
  assert.ok(allowance.leftBytes < 36 * MEBI);
  await one.snapshot('s0');
  assert.ok(allowance.leftBytes > 98 * MEBI);
  await other.device.write(0, new Uint8Array(MEBI).fill(2), { durable: false });
  await other.close();
  assert.ok(allowance.leftBytes > 97 * MEBI);
});

test('what lies in the folder is counted by its names: a link is none of what it leads to, and a folder that is missing is empty', async (context) => {
  const folder = scratchFolder(context);
  assert.equal(await allocatedUnder(join(folder, 'none')), 0);
  mkdirSync(join(folder, 'disks', 'node1'), { recursive: true });
  mkdirSync(join(folder, 'disks-aside', 'node1-20260101T000000Z'), { recursive: true });
  writeFileSync(join(folder, 'elsewhere'), new Uint8Array(MEBI));
  symlinkSync(join(folder, 'elsewhere'), join(folder, 'disks', 'node1', 'link'));
  for (let file = 0; file < 40; file += 1) {
    writeFileSync(join(folder, 'disks', 'node1', `${file}`), new Uint8Array(4096));
    writeFileSync(join(folder, 'disks-aside', 'node1-20260101T000000Z', `${file}`), new Uint8Array(4096));
  }
  const bytes = await allocatedUnder(join(folder, 'disks'));
  assert.ok(bytes >= 80 * 4096 && bytes <= 90 * 4096, `${bytes}`);
});
