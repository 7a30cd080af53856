import assert from 'node:assert/strict';
import { DiskFault } from '../../src/disk/disk-fault.js';
import { lookForFat } from '../../src/disk/fat/look.js';
import { type FatEntry, openFat } from '../../src/disk/fat/volume.js';
import type { CountingDevice } from './counting-device.js';
import { PI_FILES } from './fat-volumes.js';

/** Enough for any single call on these volumes: a directory's 65,536 entries cannot lie in more clusters than there are. */
const READS_PER_CALL_MAX = 6000;
const ENTRIES_LOOKED_AT = 60;

/** Everything that anybody does with a volume (of `makeVolume`): gives files or a DiskFault, and has an end. */
export async function readAll(device: CountingDevice): Promise<void> {
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
