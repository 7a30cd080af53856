import type { Clock, Timer } from '../../base/clock.js';

/**
 * The clock of a loop that waits by itself: it looks at the time once for each turn, after the wait, and timers ring when the
 * loop asks for those that are due.
 */
export class LoopClock implements Clock {
  readonly #look: () => number;
  readonly #alarms = new Set<Alarm>();
  /** No alarm is due before. */
  #nextMs = Number.POSITIVE_INFINITY;
  #nowMs: number;

  constructor(look: () => number) {
    this.#look = look;
    this.#nowMs = look();
  }

  /** A turn begins. */
  look(): void {
    this.#nowMs = this.#look();
  }

  /** Of the turn. */
  nowMs(): number {
    return this.#nowMs;
  }

  today(): Date {
    return new Date();
  }

  after(delayMs: number, action: () => void): Timer {
    const alarm = { dueMs: this.#nowMs + delayMs, action };
    this.#alarms.add(alarm);
    this.#nextMs = Math.min(this.#nextMs, alarm.dueMs);
    return { cancel: () => this.#alarms.delete(alarm) };
  }

  /** How long the loop may wait, at most `mostMs`; whole milliseconds. */
  waitMs(mostMs: number): number {
    return Math.max(0, Math.min(mostMs, Math.ceil(this.#nextMs - this.#nowMs)));
  }

  ringDue(): void {
    const nowMs = this.#nowMs;
    if (nowMs < this.#nextMs) return;
    const due = [...this.#alarms].filter(({ dueMs }) => dueMs <= nowMs);
    for (const alarm of due) {
      // One that rings may cancel another.
      if (this.#alarms.delete(alarm)) alarm.action();
    }
    this.#nextMs = Math.min(Number.POSITIVE_INFINITY, ...[...this.#alarms].map(({ dueMs }) => dueMs));
  }
}

interface Alarm {
  readonly dueMs: number;
  readonly action: () => void;
}
