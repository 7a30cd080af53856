// Real volumes with bytes changed in them: nothing but DiskFault comes out, no read lies outside, and the work has an end.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { DiskFault } from '../../../src/disk/disk-fault.js';
import { lookForFat } from '../../../src/disk/fat/look.js';
import { type FatEntry, openFat } from '../../../src/disk/fat/volume.js';
import { CountingDevice } from '../../support/counting-device.js';
import { makeVolume, PI_FILES } from '../../support/fat-volumes.js';

type Change = { readonly at: number; readonly bytes: Uint8Array };

/** Enough for any single call on these volumes: a directory's 65,536 entries cannot lie in more clusters than there are. */
const READS_PER_CALL_MAX = 6000;
const ENTRIES_LOOKED_AT = 60;

for (const type of [12, 16, 32] as const) {
  describe(`a FAT${type} with bytes changed`, () => {
    let sound = new Uint8Array();
    let frontBytes = 0;

    before(async () => {
      const device = await makeVolume(type);
      sound = device.bytes.slice();
      frontBytes = (await openFat(device)).geometry.dataOffset + 16 * 1024;
    });

    // Most of what can be broken lies in front: boot sector, FATs, root, and the directories that were written first.
    const at = () => fc.oneof(fc.nat(89), fc.nat(frontBytes), fc.nat(sound.length - 1));
    const byte = () => fc.record({ at: at(), bytes: fc.uint8Array({ minLength: 1, maxLength: 4 }) });
    const sector = () =>
      fc.record({
        at: at().map((offset) => offset - (offset % 512)),
        bytes: fc.oneof(
          fc.uint8Array({ minLength: 512, maxLength: 512 }),
          fc.nat(255).map((value) => new Uint8Array(512).fill(value)),
        ),
      });

    test('gives files, or a DiskFault', async () => {
      const changes = fc.array(fc.oneof({ weight: 4, arbitrary: byte() }, { weight: 1, arbitrary: sector() }), {
        minLength: 1,
        maxLength: 12,
      });
      await fc.assert(
        fc.asyncProperty(changes, async (these) => {
          await readAll(apply(sound, these));
        }),
        { numRuns: 250 },
      );
    });

    test('gives files, or a DiskFault, while they are being changed', async () => {
      const changes = fc.array(byte(), { minLength: 5, maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(changes, async (these) => {
          const device = new CountingDevice(new MemoryDevice(sound.slice()), { cold: true });
          const left = [...these];
          const read = device.read.bind(device);
          device.read = async (offset, target) => {
            const change = left.pop();
            if (change !== undefined) await device.write(change.at, inside(change, sound.length), { durable: false });
            await read(offset, target);
          };
          await readAll(device);
        }),
        { numRuns: 100 },
      );
    });
  });
}

function inside({ at, bytes }: Change, sizeBytes: number): Uint8Array {
  return bytes.subarray(0, sizeBytes - at);
}

function apply(sound: Uint8Array, changes: readonly Change[]): CountingDevice {
  const bytes = sound.slice();
  for (const change of changes) bytes.set(inside(change, bytes.length), change.at);
  return new CountingDevice(new MemoryDevice(bytes));
}

/** Everything that anybody does with a volume. */
async function readAll(device: CountingDevice): Promise<void> {
  await bounded(device, () => lookForFat(device));
  const volume = await bounded(device, () => openFat(device));
  if (volume === undefined) return;
  for (const { path } of PI_FILES) {
    const entry = await bounded(device, () => volume.find(path));
    if (entry === undefined) continue;
    const runs = await bounded(device, () => volume.runs(entry));
    for (const { offset, lengthBytes } of runs ?? []) {
      assert.ok(offset >= volume.geometry.dataOffset && offset + lengthBytes <= device.sizeBytes);
    }
    const total = (runs ?? []).reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    assert.ok(runs === undefined || total === entry.sizeBytes);
  }
  const waiting: FatEntry['path'][] = [''];
  for (let seen = 0; seen < ENTRIES_LOOKED_AT; seen += 1) {
    const path = waiting.shift();
    if (path === undefined) return;
    const entries = await bounded(device, () => volume.list(path));
    for (const entry of entries?.slice(0, ENTRIES_LOOKED_AT) ?? []) waiting.push(entry.path);
  }
}

async function bounded<T>(device: CountingDevice, call: () => Promise<T>): Promise<T | undefined> {
  const before = device.reads;
  try {
    return await call();
  } catch (error) {
    if (error instanceof DiskFault) return undefined;
    throw error;
  } finally {
    assert.ok(device.reads - before <= READS_PER_CALL_MAX, `${device.reads - before} reads in one call`);
  }
}
