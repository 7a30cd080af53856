import { seeded } from '../support/random.js';
import { type FuzzTarget, hashOf } from './target.js';

type Random = ReturnType<typeof seeded>;

/** The input of case number `index`: the same for the same seed, target and number, whatever was tried before. */
export function inputOf(target: FuzzTarget, good: readonly Uint8Array[], seed: number, index: number): Uint8Array {
  const random = seeded(hashOf(`${seed} ${target.name} ${index}`));
  const bytes = random.below(5) === 0 ? anyBytes(random) : changed(target, good, random);
  return Uint8Array.from(bytes.subarray(0, target.inputBytesMax));
}

function anyBytes(random: Random): Uint8Array {
  const length = random.below(2) === 0 ? random.below(16) : random.below(600);
  return random.bytes(length);
}

function changed(target: FuzzTarget, good: readonly Uint8Array[], random: Random): Uint8Array {
  let bytes = random.pick(good) ?? new Uint8Array();
  for (let left = 1 + random.below(6); left > 0; left -= 1) {
    bytes = CHANGES[random.below(CHANGES.length)]?.(bytes, random, target, good) ?? bytes;
  }
  return bytes;
}

type Change = (bytes: Uint8Array, random: Random, target: FuzzTarget, good: readonly Uint8Array[]) => Uint8Array;

/** What breaks parsers: numbers at their edges, lengths that lie, parts that are missing, come twice or come from elsewhere. */
const CHANGES: readonly Change[] = [
  (bytes, random) => over(bytes, random, [1 << random.below(8)], (before, bit) => before ^ bit),
  (bytes, random) => over(bytes, random, [...random.bytes(1 + random.below(4))]),
  (bytes, random) => over(bytes, random, random.pick(EDGES) ?? []),
  (bytes, random) => over(bytes, random, (random.pick(EDGES) ?? []).toReversed()),
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => {
    const [from, to] = range(bytes, random);
    return joined(bytes.subarray(0, from), bytes.subarray(to));
  },
  (bytes, random) => {
    const [from, to] = range(bytes, random);
    return joined(bytes.subarray(0, to), bytes.subarray(from));
  },
  (bytes, random) => inserted(bytes, random, random.bytes(1 + random.below(8))),
  (bytes, random) => inserted(bytes, random, new Uint8Array(1 + random.below(300)).fill(random.below(256))),
  (bytes, random, { words = [] }) => inserted(bytes, random, random.pick(words) ?? random.bytes(2)),
  (bytes, random, { words = [] }) => over(bytes, random, [...(random.pick(words) ?? random.bytes(2))]),
  (bytes, random, _target, good) => {
    const other = random.pick(good) ?? bytes;
    return joined(bytes.subarray(0, random.below(bytes.length + 1)), other.subarray(random.below(other.length + 1)));
  },
];

const EDGES: readonly (readonly number[])[] = [
  ...[[0], [1], [0x7f], [0x80], [0xff]],
  ...[
    [0, 0],
    [0, 1],
    [0x7f, 0xff],
    [0x80, 0],
    [0xff, 0xff],
  ],
  ...[
    [0, 0, 0, 0],
    [0, 0, 0, 1],
    [0, 1, 0, 0],
    [0x7f, 0xff, 0xff, 0xff],
    [0x80, 0, 0, 0],
    [0xff, 0xff, 0xff, 0xff],
  ],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0, 0, 0, 1, 0, 0, 0, 0],
];

function over(
  bytes: Uint8Array,
  random: Random,
  values: readonly number[],
  mix: (before: number, value: number) => number = (_before, value) => value,
): Uint8Array {
  const result = Uint8Array.from(bytes);
  const at = random.below(bytes.length + 1);
  for (const [index, value] of values.entries()) {
    const before = result[at + index];
    if (before !== undefined) result[at + index] = mix(before, value);
  }
  return result;
}

function inserted(bytes: Uint8Array, random: Random, more: Uint8Array): Uint8Array {
  const at = random.below(bytes.length + 1);
  return joined(bytes.subarray(0, at), more, bytes.subarray(at));
}

function range(bytes: Uint8Array, random: Random): readonly [from: number, to: number] {
  const from = random.below(bytes.length + 1);
  const longest = random.below(2) === 0 ? 8 : bytes.length;
  return [from, Math.min(bytes.length, from + random.below(longest + 1))];
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}
