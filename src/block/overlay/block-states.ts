// Sixteen blocks in a word of 32 bits, two for each, the lowest first: the arithmetic of which block-map.ts makes a map.

/** What a block of an overlay is. */
export const BlockState = {
  /** As in the image beneath. */
  Base: 0,
  /** In the overlay's own file. */
  Own: 1,
  /** All zeroes, and takes no space. */
  Zero: 2,
  /** Being made the overlay's own by somebody. It still reads as the image beneath. Never written down. */
  Claimed: 3,
} as const;
export type BlockState = (typeof BlockState)[keyof typeof BlockState];

/** The bits of those blocks from `at` on that lie in its word. */
export function maskOf(at: number, end: number): number {
  const from = at & 15;
  const to = Math.min(16, end - at + from);
  const upTo = to === 16 ? -1 : (1 << (to * 2)) - 1;
  return upTo & ~((1 << (from * 2)) - 1);
}

/** How many of 16 blocks have a bit set. */
export function blocksIn(word: number): number {
  let left = (word | (word >>> 1)) & LOW_BITS;
  let count = 0;
  for (; left !== 0; left &= left - 1) count += 1;
  return count;
}

/** Both bits of every claimed block. */
export function claimedIn(word: number): number {
  const low = word & (word >>> 1) & LOW_BITS;
  return low | (low << 1);
}

export function unclaimed(word: number): number {
  return word & ~claimedIn(word);
}

export function trailingZeroes(word: number): number {
  return 31 - Math.clz32(word & -word);
}

export function asState(bits: number): BlockState {
  if (bits === BlockState.Own) return BlockState.Own;
  return bits === BlockState.Zero ? BlockState.Zero : BlockState.Base;
}

/** The lower bit of each block. */
export const LOW_BITS = 0x5555_5555;
/** The higher one: none but zeroes and what is claimed has it. */
export const HIGH_BITS = 0xaaaa_aaaa | 0;
