import type { Clock, Timer } from '../base/clock.js';
import { DHCP_DELAYED_ANSWERS_MAX } from '../base/limits.js';

/** An answer that has to wait, and what has to be done after it. */
export interface DelayedAnswer {
  readonly sendAfterMs: number;
  /** Counted from the sending. */
  readonly wakeUpsMs: readonly number[];
  send(): void;
  wakeUp(): void;
}

interface Waiting {
  answer: DelayedAnswer;
  sent: boolean;
  timer: Timer;
}

/** Answers that wait for their time, one a board at most; bounded in number. */
export class DelayedAnswers {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Waiting>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * `key` says whose answer it is. A board that asks again while its answer waits gets one answer, to its last question
   * but at the time of the first: somebody who asks on and on in its name cannot put it off for ever.
   */
  add(key: string, answer: DelayedAnswer): 'scheduled' | 'tooMany' {
    const before = this.#waiting.get(key);
    if (before && !before.sent) {
      before.answer = answer;
      return 'scheduled';
    }
    before?.timer.cancel();
    if (!before && this.#waiting.size >= DHCP_DELAYED_ANSWERS_MAX) return 'tooMany';
    const timer = this.#clock.after(answer.sendAfterMs, () => this.#send(key));
    this.#waiting.set(key, { answer, sent: false, timer });
    return 'scheduled';
  }

  cancelAll(): void {
    for (const { timer } of this.#waiting.values()) timer.cancel();
    this.#waiting.clear();
  }

  get size(): number {
    return this.#waiting.size;
  }

  #send(key: string): void {
    const waiting = this.#waiting.get(key);
    if (!waiting) return;
    waiting.sent = true;
    waiting.answer.send();
    this.#wakeUp(key, waiting, 0, 0);
  }

  #wakeUp(key: string, waiting: Waiting, index: number, sinceSentMs: number): void {
    const atMs = waiting.answer.wakeUpsMs[index];
    if (atMs === undefined) {
      this.#waiting.delete(key);
      return;
    }
    waiting.timer = this.#clock.after(atMs - sinceSentMs, () => {
      waiting.answer.wakeUp();
      this.#wakeUp(key, waiting, index + 1, atMs);
    });
  }
}
