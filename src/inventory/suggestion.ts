import { SUGGESTION_CANDIDATES_MAX, SUGGESTION_CHARACTERS_MAX } from '../base/limits.js';

/**
 * The one that was probably meant, or undefined. Case and the kind of separator don't count (`blockSizeMax`), nor does a
 * missing end (`window_size`); otherwise one slip is forgiven in a short word, two in a long one.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = bare(word);
  if (wanted.length === 0 || wanted.length > SUGGESTION_CHARACTERS_MAX) return undefined;
  let best: { readonly candidate: string; readonly slips: number } | undefined;
  let left = SUGGESTION_CANDIDATES_MAX;
  for (const candidate of candidates) {
    if (left-- === 0) break;
    const slips = slipsBetween(wanted, bare(candidate));
    if (slips < (best?.slips ?? Number.POSITIVE_INFINITY)) best = { candidate, slips };
  }
  return best?.candidate;
}

/** `a name of letters` → `a-name-of-letters`; undefined if nothing is left. */
export function repairedName(text: string): string | undefined {
  const repaired = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-/, '')
    .slice(0, 63)
    .replace(/-$/, '');
  return repaired === '' ? undefined : repaired;
}

function bare(word: string): string {
  return word.toLowerCase().replace(/[-_ ]/g, '');
}

/** Infinity where they are too different to be the same word. */
function slipsBetween(word: string, candidate: string): number {
  if (word.length >= 4 && candidate.startsWith(word)) return 1;
  const longer = Math.max(word.length, candidate.length);
  const forgiven = longer >= 6 ? 2 : longer >= 3 ? 1 : 0;
  if (Math.abs(word.length - candidate.length) > forgiven) return Number.POSITIVE_INFINITY;
  const slips = editDistance(word, candidate);
  return slips <= forgiven ? slips : Number.POSITIVE_INFINITY;
}

/** Optimal string alignment: a letter put in, left out, changed, or two neighbours swapped each count one. */
function editDistance(one: string, other: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row++) {
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const same = one[row - 1] === other[column - 1];
      const swapped = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      const ways = [(last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (last[column - 1] ?? 0) + (same ? 0 : 1)];
      if (swapped) ways.push((beforeLast[column - 2] ?? 0) + 1);
      current.push(Math.min(...ways));
    }
    beforeLast = last;
    last = current;
  }
  return last[other.length] ?? 0;
}
