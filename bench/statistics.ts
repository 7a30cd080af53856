// What is said of the rounds of a bench. Two servers are compared round by round, because what else the machine has to do
// changes from one minute to the next and hits both halves of a round alike.

/** The middle value; of an even count the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle];
  if (upper === undefined) throw new Error('no values to take the median of');
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

export function lowest(values: readonly number[]): number {
  return Math.min(...values);
}

export function highest(values: readonly number[]): number {
  return Math.max(...values);
}

/** The value that `share` (0 to 1) of all values do not exceed: the nearest rank. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = ascending(values);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new Error('no values to take a percentile of');
  return value;
}

export interface Ratios {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** `ours` over `theirs`, each round by itself: entry n of both was measured in round n. */
export function medianOfRatios(ours: readonly number[], theirs: readonly number[]): Ratios {
  if (ours.length !== theirs.length) throw new Error(`${ours.length} rounds of ours, ${theirs.length} of theirs`);
  const ratios = ours.map((value, round) => value / (theirs[round] ?? Number.NaN));
  return { median: median(ratios), lowest: lowest(ratios), highest: highest(ratios) };
}

function ascending(values: readonly number[]): readonly number[] {
  return [...values].sort((a, b) => a - b);
}
