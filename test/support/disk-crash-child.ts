// A process that does this and that with a board's disk, and is killed: see test/boards/disks/crash.test.ts.
import { writeSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.js';
import { Disks } from '../../src/block/disks.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { BoardDisk } from '../../src/boards/disks/board-disk.js';
import { seeded } from './random.js';
import { filled, STAMPED_BYTES } from './stamps.js';

export const CRASH_DISK_BYTES = 40 * 4096 + STAMPED_BYTES;
export const CRASH_BASE = 'ba5e'.repeat(8);

/** What is done, told before it begins, and once more when it is over. */
export type DiskStep =
  | { readonly kind: 'open' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'write'; readonly offset: number; readonly lengthBytes: number; readonly stamp: number }
  | { readonly kind: 'snapshot' | 'rollback' | 'drop'; readonly name: string };

export function crashImage(): MemoryDevice {
  return new MemoryDevice(filled(CRASH_DISK_BYTES, (sector) => -1 - sector));
}

export function openCrashDisk(disksPath: string): Promise<BoardDisk> {
  const image = crashImage();
  // As a GPT that is made fit for a larger disk: something is the disk's own from the beginning.
  const fit = (device: Parameters<Parameters<typeof BoardDisk.open>[0]['fit']>[0]) =>
    device.write(
      0,
      filled(STAMPED_BYTES, () => FITTED),
      { durable: false },
    );
  const rest = { board: 'node1', base: CRASH_BASE, baseOf: () => image, sizeBytes: CRASH_DISK_BYTES };
  return BoardDisk.open({ ...rest, disksPath, disks: new Disks(), fit }, systemClock);
}

/** What the first sector holds in a disk that was begun anew. */
export const FITTED = 0.5;

const [, , disksPath, seed] = process.argv;
if (disksPath !== undefined && seed !== undefined && process.argv[1]?.endsWith('disk-crash-child.js')) {
  await goOn(disksPath, Number(seed));
}

async function goOn(path: string, seed: number): Promise<void> {
  const chance = seeded(seed);
  tell('begin', { kind: 'open' });
  const disk = await openCrashDisk(path);
  tell('over', { kind: 'open' });
  for (let count = 1; ; count += 1) {
    const names = (await disk.snapshots()).map(({ name }) => name);
    const step = stepOf(chance, names, seed * 10_000 + count);
    tell('begin', step);
    await done(disk, step);
    tell('over', step);
  }
}

function stepOf(chance: ReturnType<typeof seeded>, names: readonly string[], stamp: number): DiskStep {
  const kind = chance.pick(['write', 'write', 'snapshot', 'rollback', 'drop', 'reset'] as const) ?? 'write';
  const name = chance.pick(names);
  if (kind === 'reset') return { kind };
  if (kind === 'snapshot' && names.length < 6) return { kind, name: `s${stamp}` };
  if ((kind === 'rollback' || kind === 'drop') && name !== undefined) return { kind, name };
  const first = chance.below(CRASH_DISK_BYTES / STAMPED_BYTES);
  const count = 1 + chance.below(Math.min(100, CRASH_DISK_BYTES / STAMPED_BYTES - first));
  return { kind: 'write', offset: first * STAMPED_BYTES, lengthBytes: count * STAMPED_BYTES, stamp };
}

async function done(disk: BoardDisk, step: DiskStep): Promise<void> {
  if (step.kind === 'write') {
    const bytes = filled(step.lengthBytes, () => step.stamp);
    await disk.device.write(step.offset, bytes, { durable: true });
    return;
  }
  if (step.kind === 'open') return;
  const verdict = step.kind === 'reset' ? await disk.reset(CRASH_BASE) : await disk[step.kind](step.name);
  if (verdict.answer !== 'done') throw new Error(verdict.because);
}

/** At once, whatever becomes of us. */
function tell(what: 'begin' | 'over', step: DiskStep): void {
  writeSync(1, `${JSON.stringify({ what, step })}\n`);
}
