import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { recordHere } from '../../../src/block/overlay/map-record.js';
import { OverlayDevice } from '../../../src/block/overlay/overlay-device.js';
import { OverlayFile } from '../../../src/block/overlay/overlay-file.js';
import { fileBytes, type OverlayHeader } from '../../../src/block/overlay/overlay-format.js';
import { PowerCutDevice, type Sectors } from '../../support/power-cut-device.js';
import { seeded } from '../../support/random.js';
import { Expectation, filled, STAMPED_BYTES, stampOf } from '../../support/stamps.js';

/**
 * Random histories of a disk whose power goes in the middle, more than once. What is found afterwards is, sector by sector, what was
 * acknowledged as durable, or something that was asked for later. HISTORIES of them in this test; more by
 * OVERLAY_HISTORIES=100000 node --test …
 */
const HISTORIES = Number(process.env['OVERLAY_HISTORIES'] ?? 3000);

const SECTOR_BYTES = STAMPED_BYTES;
/** Two sectors of the map, and a last block that is a short one. */
const DISK_BYTES = 2060 * 4096 + 3 * 512;
/** All that happens happens in these places: at both ends, and where one sector of the map ends and the next begins. */
const PLACES = [0, 2028 * 4096, DISK_BYTES - 6 * 4096 - 3 * 512];
const PLACE_BYTES = 6 * 4096;
const HEADER: OverlayHeader = {
  id: '00112233445566778899aabbccddeeff',
  base: 'ffeeddccbbaa99887766554433221100',
  board: 'node1',
  sizeBytes: DISK_BYTES,
  capacityBytes: DISK_BYTES,
};

type Chance = ReturnType<typeof seeded>;

/** What became of flushes by another thread. */
const recordings = { done: 0, owners: 0, notSynced: 0 };

/** What the image has in a sector: no change has such a stamp. */
function imageStamp(sector: number): number {
  return -1 - sector;
}

const image = new MemoryDevice(filled(DISK_BYTES, imageStamp));

interface World {
  readonly device: PowerCutDevice;
  readonly file: OverlayFile;
  readonly disk: OverlayDevice;
  readonly expectation: Expectation;
  readonly chance: Chance;
  stamp: number;
}

/** One after the other in each of a few hands, which know nothing of each other's places. */
async function work(world: World, place: number): Promise<void> {
  const { disk, chance, expectation } = world;
  for (;;) {
    const offset = place + chance.below(PLACE_BYTES / SECTOR_BYTES) * SECTOR_BYTES;
    const most = (place + PLACE_BYTES - offset) / SECTOR_BYTES;
    const lengthBytes = (1 + chance.below(Math.min(most, chance.pick([1, 8, 40]) ?? 1))) * SECTOR_BYTES;
    const kind = chance.pick(['write', 'write', 'write', 'durable', 'zero', 'keep', 'discard', 'flush'] as const);
    if (kind === 'flush') {
      const acknowledged = expectation.flush();
      await flush(world);
      acknowledged();
      continue;
    }
    const isZero = kind === 'zero' || kind === 'keep' || kind === 'discard';
    world.stamp += 1;
    const stamp = isZero ? 0 : world.stamp;
    const over = expectation.begin(offset, lengthBytes, stamp);
    if (kind === 'discard') {
      // A hint, of which only whole blocks are taken: the rest is zeroed, so that it can be known what is there.
      await disk.discard(offset, lengthBytes);
      await disk.zero(offset, lengthBytes, { keepAllocated: false, durable: false });
    } else if (isZero) {
      await disk.zero(offset, lengthBytes, { keepAllocated: kind === 'keep', durable: false });
    } else {
      await disk.write(
        offset,
        filled(lengthBytes, () => stamp),
        { durable: false },
      );
    }
    over();
    if (kind !== 'durable') continue;
    const acknowledged = expectation.flush();
    await flush(world);
    acknowledged();
  }
}

/** As another thread does it, or as its owner does, who also does what the other may not. */
async function flush({ device, file, disk, chance }: World): Promise<void> {
  if (chance.below(2) === 0) {
    const recorded = recordHere(file.map, HEADER.id, {
      write: (offset, bytes) => device.writeNow(offset, bytes),
      sync: () => device.flushNow(),
    });
    if (device.isOff) await new Promise(() => {});
    assert.notEqual(recorded, 'notSynced');
    recordings[recorded] += 1;
    if (recorded === 'done') return;
  }
  await disk.flush();
}

async function check(disk: OverlayDevice, expectation: Expectation, where: string): Promise<void> {
  const content = new Uint8Array(PLACE_BYTES);
  for (const place of PLACES) {
    await disk.read(place, content);
    for (let at = 0; at < PLACE_BYTES; at += SECTOR_BYTES) {
      const sector = (place + at) / SECTOR_BYTES;
      const stamp = stampOf(content.subarray(at, at + SECTOR_BYTES));
      expectation.assertAllows(sector, stamp, where);
      expectation.found(sector, stamp);
    }
  }
}

async function life(history: number): Promise<void> {
  const chance = seeded(history);
  const expectation = new Expectation(imageStamp);
  let content: Sectors = new Map();
  let stamp = 0;
  for (let cut = 0; cut < 3; cut += 1) {
    const device = await new Promise<PowerCutDevice>((resolve) => {
      const fresh = new PowerCutDevice(fileBytes(HEADER), content, {
        afterOperations: 10 + chance.below(cut === 0 ? 200 : 60),
        off: () => setImmediate(() => resolve(fresh)),
      });
      void (async () => {
        const file = cut === 0 ? await OverlayFile.make(fresh, HEADER) : await OverlayFile.open(fresh);
        const world = { device: fresh, file, disk: new OverlayDevice(image, file), expectation, chance, stamp };
        if (cut > 0) await check(world.disk, expectation, `history ${history}, cut ${cut}`);
        await Promise.all([...PLACES, PLACES[0] ?? 0].map((place) => work(world, place)));
      })();
    });
    stamp += 10_000;
    content = device.survivors(chance);
  }
  const last = new PowerCutDevice(fileBytes(HEADER), content, { afterOperations: 1_000_000, off: () => {} });
  await check(new OverlayDevice(image, await OverlayFile.open(last)), expectation, `history ${history}, at its end`);
}

test(`after a loss of power an overlay is what was acknowledged, plus some of what was not (${HISTORIES} histories)`, async () => {
  for (let history = 0; history < HISTORIES; history += 1) await life(history);
  assert.ok(recordings.done > HISTORIES && recordings.owners > HISTORIES / 10, JSON.stringify(recordings));
});
