import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { openFileDevice } from '../../../src/block/file-device.js';
import { BlockMap, OVERLAY_BLOCK_BYTES } from '../../../src/block/overlay/block-map.js';
import { BlockState } from '../../../src/block/overlay/block-states.js';
import type { SharedFile } from '../../../src/block/shared-file.js';
import { CachedDiskReader } from '../../../src/nbd/lanes/cached-disk-reader.js';
import { dropCached } from '../../../src/os/file-space.js';
import { addressOf } from '../../../src/os/stream-calls.js';
import { whenOver } from '../../support/cleanup.js';
import { noise, seeded } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';

const BLOCK = OVERLAY_BLOCK_BYTES;
const BLOCKS = 200;
const ID = '1d'.repeat(16);
const SIZE = BLOCKS * BLOCK;
const STATES = [BlockState.Base, BlockState.Base, BlockState.Own, BlockState.Zero];

/** Blocks in one of two layers, in both, zeroes, or of the image: what is where has no rule. What a layer has not is a hole in its file. */
async function mixed(context: TestContext) {
  const folder = scratchFolder(context);
  const chance = seeded(5);
  const image = noise(SIZE, 1);
  writeFileSync(join(folder, 'image'), image);
  const content = Buffer.from(image);
  const open = async (name: string) => {
    const path = join(folder, name);
    if (name !== 'image') writeFileSync(path, Buffer.alloc(0));
    truncateSync(path, SIZE);
    const device = await openFileDevice(path, { access: 'readWrite', lock: 'none' });
    whenOver(context, () => device.close());
    return device;
  };
  const [base, lower, upper] = [await open('image'), await open('lower'), await open('upper')];
  const parts = [];
  for (const layer of [lower, upper]) {
    const map = BlockMap.create(BLOCKS);
    for (let block = 0; block < BLOCKS; ) {
      const state = chance.pick(STATES) ?? BlockState.Base;
      const end = Math.min(BLOCKS, block + 1 + chance.below(3));
      if (state !== BlockState.Base) map.set(state, block, end);
      const bytes =
        state === BlockState.Own ? noise((end - block) * BLOCK, block) : Buffer.alloc((end - block) * BLOCK);
      if (state === BlockState.Own) await layer.write(block * BLOCK, bytes, { durable: false });
      if (state !== BlockState.Base) content.set(bytes, block * BLOCK);
      block = end;
    }
    const [part] = layer.parts ?? [];
    assert.ok(part);
    parts.unshift({ ...part, blocks: { memory: map.memory, count: BLOCKS, id: ID } });
  }
  const [basePart] = base.parts ?? [];
  assert.ok(basePart);
  const shared = upper.shared?.withLayers([...parts, basePart], SIZE);
  assert.ok(shared);
  return { shared, content, layers: [upper, lower], base };
}

function target(lengthBytes: number) {
  const bytes = new Uint8Array(new SharedArrayBuffer(lengthBytes));
  return { bytes, address: addressOf(bytes) };
}

function readAnywhere(shared: SharedFile, content: Buffer): void {
  const reader = new CachedDiskReader();
  const to = target(256 * 1024 + 100);
  const chance = seeded(7);
  for (let round = 0; round < 300; round += 1) {
    const offset = chance.below(SIZE);
    const length = 1 + chance.below(Math.min(256 * 1024, SIZE - offset));
    to.bytes.fill(0xa5);
    assert.ok(reader.read(shared, offset, length, to, 100));
    assert.ok(
      content.subarray(offset, offset + length).equals(to.bytes.subarray(100, 100 + length)),
      `${offset}, ${length}`,
    );
    assert.ok(to.bytes.subarray(0, 100).every((byte) => byte === 0xa5));
    assert.ok(to.bytes.subarray(100 + length).every((byte) => byte === 0xa5));
  }
}

describe('what a lane reads of layers that alternate', () => {
  test('is what each of them has, whether what is between is in memory or not', async (context) => {
    const { shared, content, layers } = await mixed(context);
    readAnywhere(shared, content); // nobody has read the holes
    for (const layer of layers) await layer.read(0, new Uint8Array(SIZE));
    readAnywhere(shared, content);
  });

  test('is left to who may wait where a piece is not in memory', async (context) => {
    const { shared, base } = await mixed(context);
    await base.flush();
    const [part] = base.parts ?? [];
    await dropCached(part?.descriptor ?? -1);
    assert.equal(new CachedDiskReader().read(shared, 0, 256 * 1024, target(256 * 1024), 0), false);
  });
});
