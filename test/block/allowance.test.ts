import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance } from '../../src/block/allowance.js';
import { BlockError } from '../../src/block/block-error.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { OverlayDevice } from '../../src/block/overlay/overlay-device.js';
import { OverlayFile } from '../../src/block/overlay/overlay-file.js';
import { fileBytes } from '../../src/block/overlay/overlay-format.js';
import { FakeClock } from '../support/fake-clock.js';
import { FaultDevice } from '../support/fault-device.js';

const MEBI = 1024 * 1024;
const SIZE = 96 * MEBI;
const HEADER = { id: '00'.repeat(16), base: '11'.repeat(16), board: 'node1', sizeBytes: SIZE, capacityBytes: SIZE };

async function overlay(allowance: Allowance): Promise<OverlayDevice> {
  const file = await OverlayFile.make(new FaultDevice(fileBytes(HEADER)), HEADER, allowance);
  return new OverlayDevice(new MemoryDevice(SIZE), file);
}

test('a disk takes what all may take together, and not a block more', async () => {
  const clock = new FakeClock();
  let measured = 10 * MEBI;
  const disk = await overlay(new Allowance(80 * MEBI, async () => measured, clock));
  const piece = new Uint8Array(MEBI);
  let written = 0;
  const refused = async () => {
    for (; written < SIZE; written += MEBI) await disk.write(written, piece, { durable: false });
  };
  await assert.rejects(
    refused(),
    (error) => error instanceof BlockError && /state_limit.*83\.9 MB/.test(error.message),
  );
  assert.ok(written >= 64 * MEBI && written <= 70 * MEBI, `${written}`);
  // What it has may be written again, and zeroed, but zeroes that become data count anew.
  await disk.write(0, piece, { durable: true });
  await disk.discard(0, 16 * MEBI);
  await assert.rejects(refused(), /state_limit/);
  measured = 0;
  await assert.rejects(refused(), /state_limit/); // it was looked at a moment ago
  clock.advance(1000);
  await refused().catch(() => {});
  assert.ok(written > 70 * MEBI);
});
