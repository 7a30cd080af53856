// A process that takes snapshots, goes back to them and drops them is killed, over and over: each of those has been done or has not
// happened, nothing that was acknowledged is lost, and nothing is left behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { BoardDisk } from '../../../src/boards/disks/board-disk.js';
import { CRASH_DISK_BYTES, crashImage, type DiskStep, FITTED, openCrashDisk } from '../../support/disk-crash-child.js';
import { seeded } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';
import { filled, STAMPED_BYTES } from '../../support/stamps.js';

/** In this test; more by DISK_KILLS=2000 node --test build/test/boards/disks/crash.test.js. */
const KILLS = Number(process.env['DISK_KILLS'] ?? 60);
/** With one folder. */
const KILLS_TOGETHER = 9;

const CHILD = fileURLToPath(new URL('../../support/disk-crash-child.js', import.meta.url));

/** What a disk and its snapshots hold. */
interface Content {
  readonly disk: Buffer;
  readonly snapshots: ReadonlyMap<string, Buffer>;
}

test(`whatever is done to a board's disk is done or has not happened after kill -9 (${KILLS} times)`, {
  timeout: 120_000 + KILLS * 3000,
}, async (context) => {
  const cutOff = new Map<string, number>();
  for (let kill = 0; kill < KILLS; ) {
    const disksPath = join(scratchFolder(context), 'disks');
    let content: Content | undefined;
    for (let life = 0; life < KILLS_TOGETHER && kill < KILLS; life += 1, kill += 1) {
      const steps = await killed(disksPath, kill);
      const last = steps.cutOff;
      if (last !== undefined) cutOff.set(last.kind, (cutOff.get(last.kind) ?? 0) + 1);
      const before = steps.over.reduce(after, content ?? fresh());
      const mayBe = last === undefined ? [before] : [before, after(before, last)];
      content = await found(disksPath, mayBe, last, `kill ${kill}, in ${JSON.stringify(last)}`);
    }
    if (content !== undefined) await checkSnapshots(disksPath, content);
  }
  context.diagnostic(`cut off: ${JSON.stringify(Object.fromEntries(cutOff))}`);
  assert.ok(cutOff.size >= 3);
});

/** Runs it until a number of its steps are over and some more time has passed; answers what it has done. */
async function killed(disksPath: string, seed: number) {
  const chance = seeded(seed + 7);
  const child = spawn(process.execPath, [CHILD, disksPath, String(seed)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  let rest = '';
  let left = chance.below(12);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = `${rest}${text}`.split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
    left -= parts.length;
    if (left > 0) return;
    // Anywhere in the step that has begun, or the next.
    const endMs = performance.now() + chance.fraction() * 3;
    while (performance.now() < endMs);
    child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.once('close', resolve));
  assert.equal(child.signalCode, 'SIGKILL');
  const over: DiskStep[] = [];
  let begun: DiskStep | undefined;
  for (const line of lines) {
    const { what, step } = JSON.parse(line);
    if (what === 'over') over.push(step);
    begun = what === 'begin' ? step : undefined;
  }
  return { over, cutOff: begun };
}

/** The one of those that the disk is now; of a write that was cut off some may be there. */
async function found(
  disksPath: string,
  mayBe: readonly Content[],
  last: DiskStep | undefined,
  where: string,
): Promise<Content> {
  const disk = await openCrashDisk(disksPath);
  try {
    const there = await contentOf(disk);
    const names = (await disk.snapshots()).map(({ name }) => name);
    const [before, later] = mayBe;
    assert.ok(before !== undefined, where);
    if (last?.kind === 'write' && later !== undefined) {
      assertSectors(there, [before.disk, later.disk], where);
      assert.deepEqual(names, [...before.snapshots.keys()], where);
      return { ...before, disk: there };
    }
    const is = mayBe.find(
      (each) => each.disk.equals(there) && JSON.stringify([...each.snapshots.keys()]) === JSON.stringify(names),
    );
    assert.ok(is !== undefined, `${where}: it is neither as before nor as after, with ${names.join(', ')}`);
    const files = readdirSync(join(disksPath, 'node1')).filter((name) => name.endsWith('.overlay'));
    assert.deepEqual(await disk.strangers(), [], where);
    assert.ok(files.length <= 2 * (names.length + 1), `${where}: ${files.join(' ')}`);
    return is;
  } finally {
    await disk.close();
  }
}

async function checkSnapshots(disksPath: string, { snapshots }: Content): Promise<void> {
  const disk = await openCrashDisk(disksPath);
  for (const [name, content] of snapshots) {
    assert.equal((await disk.rollback(name)).answer, 'done');
    assert.ok((await contentOf(disk)).equals(fitted(content)), name);
  }
  await disk.close();
}

function after(content: Content, step: DiskStep): Content {
  const snapshots = new Map(content.snapshots);
  if (step.kind === 'open') return content;
  if (step.kind === 'reset') return { ...content, disk: fresh().disk };
  if (step.kind === 'write') {
    const disk = Buffer.from(content.disk);
    disk.set(
      filled(step.lengthBytes, () => step.stamp),
      step.offset,
    );
    return { disk, snapshots };
  }
  if (step.kind === 'rollback') return { disk: fitted(snapshots.get(step.name) ?? Buffer.alloc(0)), snapshots };
  if (step.kind === 'snapshot') snapshots.set(step.name, content.disk);
  else snapshots.delete(step.name);
  return { disk: content.disk, snapshots };
}

function fresh(): Content {
  return { disk: fitted(Buffer.from(crashImage().bytes)), snapshots: new Map() };
}

/** A disk that is begun anew is made fit for its size. */
function fitted(content: Buffer): Buffer {
  const disk = Buffer.from(content);
  disk.set(filled(STAMPED_BYTES, () => FITTED));
  return disk;
}

function assertSectors(there: Buffer, mayBe: readonly Buffer[], where: string): void {
  for (let at = 0; at < CRASH_DISK_BYTES; at += STAMPED_BYTES) {
    const sector = there.subarray(at, at + STAMPED_BYTES);
    const isOne = mayBe.some((each) => each.subarray(at, at + STAMPED_BYTES).equals(sector));
    assert.ok(isOne, `${where}: the sector at ${at}`);
  }
}

async function contentOf({ device }: BoardDisk): Promise<Buffer> {
  const content = Buffer.alloc(device.sizeBytes);
  await device.read(0, content);
  return content;
}
