/** Bytes of which no two blocks are the same, and that no packer makes small; the same at every call. */
export function noise(length: number, seed = 1): Uint8Array {
  return new Uint8Array(seeded(seed).bytes(length));
}

/** Chance that is the same each time (mulberry32): a failure can be had again. */
export function seeded(seed: number) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    /** From 0 up to but without 1. */
    fraction: () => next() / 2 ** 32,
    /** From 0 up to but without `limit`. */
    below: (limit: number) => next() % limit,
    pick: <T>(among: readonly T[]): T | undefined => among[next() % Math.max(1, among.length)],
    bytes(length: number): Buffer {
      const bytes = Buffer.alloc(length);
      for (let index = 0; index < length; index += 1) bytes[index] = next() & 0xff;
      return bytes;
    },
  };
}
