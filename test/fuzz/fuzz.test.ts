// What `npm run fuzz` tries for minutes, tried a little: kept seeds, good inputs, and the first changed ones of one seed.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inputOf } from './inputs.js';
import { decodeHexFile, encodeHexFile, keptSeeds } from './seeds.js';
import { FUZZ_TARGETS } from './targets.js';

const SEED = 1;
const CHANGED_INPUTS = 150;

describe('whatever comes in', () => {
  for (const target of FUZZ_TARGETS) {
    test(target.name, async (context) => {
      const subject = await target.start();
      context.after(() => subject.stop?.());
      const good = await target.good();
      const kept = keptSeeds().filter((seed) => seed.target === target.name);
      // A thread for each input takes longer.
      const count = target.name === 'initramfs-zstd' ? 5 : CHANGED_INPUTS;
      const changed = Array.from({ length: count }, (_, index) => inputOf(target, good, SEED, index));
      for (const input of [...kept.map((seed) => seed.input), ...good, ...changed]) {
        try {
          await subject.check(input);
        } catch (error) {
          throw new Error(`${target.name}: ${Buffer.from(input).toString('hex')}`, { cause: error });
        }
      }
    });
  }
});

describe('the fuzzer', () => {
  test('gives the same input for the same seed, target and number, and different ones otherwise', async () => {
    const [target] = FUZZ_TARGETS;
    assert.ok(target !== undefined);
    const good = await target.good();
    const inputs = (seed: number) => Array.from({ length: 50 }, (_, index) => inputOf(target, good, seed, index));
    assert.deepEqual(inputs(3), inputs(3));
    assert.notDeepEqual(inputs(3), inputs(4));
    assert.ok(new Set(inputs(3).map((input) => Buffer.from(input).toString('hex'))).size > 40);
  });

  test('keeps seeds as text, of targets that there are', () => {
    const input = Uint8Array.from({ length: 100 }, (_, index) => index * 3);
    assert.deepEqual(decodeHexFile(encodeHexFile(input, 'made here\nin two lines')), input);
    const names = FUZZ_TARGETS.map(({ name }) => name);
    for (const { target, name } of keptSeeds()) assert.ok(names.includes(target), `${target}/${name}`);
  });
});
