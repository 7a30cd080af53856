import { setTimeout } from 'node:timers/promises';
import { pino } from 'pino';
import type { Clock } from '../base/clock.js';
import { LOG_FAREWELL_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { limitedLog } from '../base/log-limit.js';
import { printableJson } from '../base/printable.js';
import { LogStream } from './log-stream.js';

export interface ServerLog {
  readonly log: Log;
  /** Whether the last lines were taken, within LOG_FAREWELL_MS. */
  flushed(): Promise<boolean>;
}

const STDOUT = 1;

/** The log on stdout, one JSON object a line. Whatever a peer said, a terminal that shows it is not steered by it. */
export function serverLog(level: string, clock: Clock): ServerLog {
  const stream = new LogStream(STDOUT);
  const printed = { write: (line: string) => stream.write(printableJson(line)) };
  const log = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, printed);
  return {
    log: limitedLog(log, clock),
    async flushed() {
      const taken = new AbortController();
      // Not the clock's timer, which keeps no process alive: this one has to be waited for.
      const late = setTimeout(LOG_FAREWELL_MS, false, { signal: taken.signal }).catch(() => true);
      void stream.idle().then(() => taken.abort());
      return late;
    },
  };
}
