import type { Clock } from '../base/clock.js';

/**
 * A text that costs something to make, made once for all who ask within `keptMs`. Who asks while it is made waits for that one;
 * one that could not be made is not kept.
 */
export class KeptText {
  readonly #make: () => Promise<string>;
  readonly #keptMs: number;
  readonly #clock: Clock;
  #kept: { readonly text: Promise<string>; readonly askedMs: number } | undefined;

  constructor(make: () => Promise<string>, keptMs: number, clock: Clock) {
    this.#make = make;
    this.#keptMs = keptMs;
    this.#clock = clock;
  }

  text(): Promise<string> {
    const nowMs = this.#clock.nowMs();
    if (this.#kept !== undefined && nowMs - this.#kept.askedMs < this.#keptMs) return this.#kept.text;
    const made = { text: this.#make(), askedMs: nowMs };
    this.#kept = made;
    made.text.catch(() => {
      if (this.#kept === made) this.#kept = undefined;
    });
    return made.text;
  }
}
