import type { Clock, Timer } from '../../src/base/clock.js';

interface Pending {
  readonly atMs: number;
  readonly action: () => void;
}

/** Time that stands still until a test moves it. */
export class FakeClock implements Clock {
  #nowMs = 0;
  #pending: Pending[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  today(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.#nowMs);
  }

  after(delayMs: number, action: () => void): Timer {
    const entry: Pending = { atMs: this.#nowMs + delayMs, action };
    this.#pending.push(entry);
    return {
      cancel: () => {
        this.#pending = this.#pending.filter((other) => other !== entry);
      },
    };
  }

  /** Lets time pass: what falls due on the way is done in order, each at its own instant. */
  advance(durationMs: number): void {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      const due = this.#pending.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#pending = this.#pending.filter((other) => other !== due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.action();
    }
    this.#nowMs = endMs;
  }
}
