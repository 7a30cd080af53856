import type { Clock } from '../base/clock.js';
import { ALLOWANCE_BYTES_AT_ONCE, ALLOWANCE_LOOK_MS } from '../base/limits.js';

/** Who is granted space, and takes it of the filesystem when it has something to write. */
export interface Grantee {
  /** What it was granted and has not taken yet, or is taking now. */
  readonly unusedBytes: number;
  granted(bytes: number): void;
  /** Answers how much it has given back: it asks again when it needs more. */
  giveBack(): number;
}

/**
 * How much files of ours may take together (`server.state_limit`): what they have taken and what was granted and is not used yet are
 * never more. Who needs space asks for some in advance, a piece at a time. Before anybody is told no it is measured what is taken,
 * since space that was given back shows there, and who was granted more than he has used gives it back.
 */
export class Allowance {
  #limitBytes: number;
  readonly #measure: () => Promise<number>;
  readonly #clock: Clock;
  readonly #grantees = new Set<Grantee>();
  /** Measured, and granted since or unused then. */
  #usedBytes = Number.POSITIVE_INFINITY;
  /** All that was ever granted, without what was given back. */
  #grantedBytes = 0;
  #measuredMs = Number.NEGATIVE_INFINITY;
  #measuring: Promise<void> | undefined;

  /** `measure` says what is taken now; where it rejects, what was known before goes on to count. */
  constructor(limitBytes: number, measure: () => Promise<number>, clock: Clock) {
    this.#limitBytes = limitBytes;
    this.#measure = measure;
    this.#clock = clock;
  }

  get limitBytes(): number {
    return this.#limitBytes;
  }

  /** Another one from now on; what is taken already stays. */
  limitTo(limitBytes: number): void {
    this.#limitBytes = limitBytes;
  }

  /** What may still be granted, as far as is known. */
  get leftBytes(): number {
    return Math.max(0, this.#limitBytes - this.#usedBytes);
  }

  /** As much as it needs, mostly more; false: there is not so much left. */
  async grant(grantee: Grantee, neededBytes: number): Promise<boolean> {
    const wantedBytes = Math.max(neededBytes, ALLOWANCE_BYTES_AT_ONCE);
    if (this.#grantNow(grantee, wantedBytes)) return true;
    await this.#look();
    if (this.#grantNow(grantee, wantedBytes) || this.#grantNow(grantee, neededBytes)) return true;
    for (const other of this.#grantees) if (other !== grantee) this.takeBack(other);
    return this.#grantNow(grantee, neededBytes);
  }

  /** It has no use for more now. */
  takeBack(grantee: Grantee): void {
    this.#count(-grantee.giveBack());
    this.#grantees.delete(grantee);
  }

  /** In one step: nothing is ever on its way to somebody, and counted nowhere. */
  #grantNow(grantee: Grantee, bytes: number): boolean {
    if (this.#usedBytes + bytes > this.#limitBytes) return false;
    this.#grantees.add(grantee);
    grantee.granted(bytes);
    this.#count(bytes);
    return true;
  }

  #count(bytes: number): void {
    this.#usedBytes += bytes;
    this.#grantedBytes += bytes;
  }

  /** Not more often than every ALLOWANCE_LOOK_MS: a disk that is full is asked for again and again. */
  async #look(): Promise<void> {
    if (this.#clock.nowMs() - this.#measuredMs < ALLOWANCE_LOOK_MS) return;
    this.#measuring ??= this.#measureAnew().finally(() => {
      this.#measuring = undefined;
    });
    await this.#measuring;
  }

  async #measureAnew(): Promise<void> {
    // Asked before: what is taken meanwhile counts twice, until the next time, and not never.
    const unusedBytes = [...this.#grantees].reduce((sum, grantee) => sum + grantee.unusedBytes, 0);
    const grantedBefore = this.#grantedBytes;
    const takenBytes = await this.#measure().catch(() => undefined);
    this.#measuredMs = this.#clock.nowMs();
    if (takenBytes !== undefined) this.#usedBytes = takenBytes + unusedBytes + this.#grantedBytes - grantedBefore;
  }
}
