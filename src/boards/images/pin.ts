import type { ImageFacts, Sight } from './image-facts.js';
import { fastCheck } from './image-facts.js';

/**
 * One version of an image, as overlays name it that lie over it. It is known by what it was when it was seen last (a stat(2) is
 * enough to know it again) and by its digest, wherever it lies then.
 */
export interface Pin {
  /** 16 random bytes in hex. */
  readonly id: string;
  /** Where it was seen last; absolute. */
  readonly file: string;
  readonly sizeBytes: number;
  /** Undefined where what looks so has turned out to be another version: only its digest tells this one then. */
  readonly seen: Sight | undefined;
  /** SHA-256 of all of it in hex; undefined as long as it is not known. */
  readonly digest: string | undefined;
  readonly pinnedAt: Date;
}

/** What a version is to what lies there now. `open` until the digest of that is known. */
export type Likeness = 'same' | 'different' | 'open' | 'undecidable';

/** Names of files don't matter: an image that was moved or copied is the same image. */
export function likeness(pin: Pin, now: Pin): Likeness {
  if (pin.id === now.id) return 'same';
  if (pin.sizeBytes !== now.sizeBytes) return 'different';
  if (pin.digest !== undefined && now.digest !== undefined) return pin.digest === now.digest ? 'same' : 'different';
  if (now.seen !== undefined && looksSame(fastCheck(pin, { sizeBytes: now.sizeBytes, sight: now.seen }))) return 'same';
  return pin.digest === undefined ? 'undecidable' : 'open';
}

export interface Recognised {
  readonly pin: Pin;
  /** Then it is served, and the digest taken behind that. */
  readonly isCertain: boolean;
}

/** The version that a file is, by what stat(2) says of it. Undefined if that is none that is known. */
export function recognise(pins: Iterable<Pin>, facts: ImageFacts): Recognised | undefined {
  const alike = [...pins]
    .map((pin) => ({ pin, check: fastCheck(pin, facts) }))
    .filter(({ check }) => looksSame(check))
    .map(({ pin, check }) => ({ pin, isCertain: check === 'same' }));
  return alike.sort(byWorth)[0];
}

/** What is certain before what is likely, with a digest before without; then the first that was pinned, in any order of files. */
function byWorth(one: Recognised, other: Recognised): number {
  const [a, b] = [one.pin, other.pin];
  return (
    Number(other.isCertain) - Number(one.isCertain) ||
    Number(b.digest !== undefined) - Number(a.digest !== undefined) ||
    a.pinnedAt.getTime() - b.pinnedAt.getTime() ||
    (a.id < b.id ? -1 : 1)
  );
}

function looksSame(check: ReturnType<typeof fastCheck>): boolean {
  return check === 'same' || check === 'likely';
}
