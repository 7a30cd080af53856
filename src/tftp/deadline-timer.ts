import type { Clock, Timer } from '../base/clock.js';

/**
 * Rings when a deadline that moves with every packet has come. No timer per packet: the one that runs finds out, when it is
 * due, that there is more time. So it may ring early, and who is rung looks at its deadline and sets it again.
 */
export class DeadlineTimer {
  readonly #clock: Clock;
  readonly #ring: () => void;
  #timer: Timer | undefined;
  #dueMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock;
    this.#ring = ring;
  }

  /** Undefined: there is none just now. */
  set(deadlineMs: number | undefined): void {
    if (deadlineMs === undefined || deadlineMs >= this.#dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = deadlineMs;
    this.#timer = this.#clock.after(Math.max(0, deadlineMs - this.#clock.nowMs()), () => {
      this.#dueMs = Number.POSITIVE_INFINITY;
      this.#ring();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
  }
}
