/** Time as an argument: what decides is given this, so that a test can be the one who says how late it is. */
export interface Clock {
  /** Milliseconds that only ever go forward; the zero point means nothing. */
  nowMs(): number;
  /** Wall-clock time, for what people read. */
  today(): Date;
  /** Calls `action` once after `delayMs`, unless cancelled before. Keeps no process alive by itself. */
  after(delayMs: number, action: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

/** Resolves after so long. */
export function passed(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delayMs, resolve));
}

export const systemClock: Clock = {
  nowMs: systemUptimeMs,
  today: () => new Date(),
  after(delayMs, action) {
    const timeout = setTimeout(action, delayMs);
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  },
};

/** Of the machine: threads tell each other times, and performance.now() has a zero point of its own in each. */
export function systemUptimeMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
