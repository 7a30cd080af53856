import assert from 'node:assert/strict';

/** Of a disk, for who marks what was written: each sector holds a number that says which change it comes from. */
export const STAMPED_BYTES = 512;

/** What each sector of the disk may be found as. Of two changes that were under way together, either may have come last. */
export class Expectation {
  /** What a sector holds to which nothing has been written yet. */
  readonly #first: (sector: number) => number;
  /** What was read there last. */
  readonly #found = new Map<number, number>();
  /** Those that a sector may be found as, beside what it was before: none is over before another began that is durable. */
  readonly #changes = new Map<number, Change[]>();
  /** Not known to be durable. */
  #volatile: Change[] = [];
  #now = 0;
  /** How often it was narrowed down what a sector may be found as. */
  settled = 0;

  constructor(first: (sector: number) => number) {
    this.#first = first;
  }

  /** A change was asked for: from now on it may be there. To be called when it is answered, with `durable` if it was asked for so. */
  begin(offset: number, lengthBytes: number, stamp: number): (how?: { readonly durable: boolean }) => void {
    const first = offset / STAMPED_BYTES;
    const sectors = Array.from({ length: lengthBytes / STAMPED_BYTES }, (_, index) => first + index);
    this.#now += 1;
    const change = { sectors, stamp, began: this.#now, over: Number.POSITIVE_INFINITY, isDurable: false };
    for (const sector of sectors) this.#changes.set(sector, [...(this.#changes.get(sector) ?? []), change]);
    this.#volatile.push(change);
    return ({ durable } = { durable: false }) => {
      this.#now += 1;
      change.over = this.#now;
      if (durable) this.#settle([change]);
    };
  }

  /** A flush begins. To be called when it is acknowledged. */
  flush(): () => void {
    const began = this.#now;
    return () => this.#settle(this.#volatile.filter(({ over }) => over <= began));
  }

  assertAllows(sector: number, stamp: number, where: string): void {
    const changes = this.#changes.get(sector) ?? [];
    const may = changes.map((change) => change.stamp);
    if (!changes.some(({ isDurable }) => isDurable)) may.push(this.#found.get(sector) ?? this.#first(sector));
    assert.ok(may.includes(stamp), `${where}: sector ${sector} is ${stamp}, not one of ${may.join(', ')}`);
  }

  /** Whoever has read it can rely on it, as long as nothing is asked for. */
  found(sector: number, stamp: number): void {
    this.#found.set(sector, stamp);
    this.#changes.delete(sector);
    this.#volatile = [];
  }

  /** These are durable. What was over before one of them began can't be there any more. */
  #settle(changes: readonly Change[]): void {
    for (const change of changes) change.isDurable = true;
    this.#volatile = this.#volatile.filter(({ isDurable }) => !isDurable);
    for (const sector of new Set(changes.flatMap(({ sectors }) => sectors))) {
      const here = this.#changes.get(sector) ?? [];
      const lastBegan = Math.max(...here.filter(({ isDurable }) => isDurable).map(({ began }) => began));
      this.settled += 1;
      this.#changes.set(
        sector,
        here.filter(({ over }) => over >= lastBegan),
      );
    }
  }
}

/** Something that was asked for, and when, by a count of all that happens. */
interface Change {
  readonly sectors: readonly number[];
  readonly stamp: number;
  readonly began: number;
  over: number;
  isDurable: boolean;
}

/** Bytes that hold, sector by sector, that stamp over and over. */
export function filled(lengthBytes: number, stampOf: (sector: number) => number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < lengthBytes; at += 8) view.setFloat64(at, stampOf(Math.floor(at / STAMPED_BYTES)));
  return bytes;
}

/** What a sector holds, all of it; of two halves that differ none. */
export function stampOf(sector: Uint8Array): number {
  const view = new DataView(sector.buffer, sector.byteOffset, sector.length);
  const stamp = view.getFloat64(0);
  for (let at = 8; at < sector.length; at += 8) {
    if (view.getFloat64(at) !== stamp) return Number.NaN;
  }
  return stamp;
}
