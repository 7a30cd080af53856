// Real volumes with bytes changed in them: nothing but DiskFault comes out, no read lies outside, and the work has an end.
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { openFat } from '../../../src/disk/fat/volume.js';
import { CountingDevice } from '../../support/counting-device.js';
import { makeVolume } from '../../support/fat-volumes.js';
import { readAll } from '../../support/hostile-volume.js';

type Change = { readonly at: number; readonly bytes: Uint8Array };

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
