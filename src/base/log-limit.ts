import type { Clock } from './clock.js';
import { LOG_LINES_PER_EVENT_AND_MINUTE_MAX } from './limits.js';
import type { Log } from './log.js';

const MINUTE_MS = 60_000;

interface Share {
  sinceMs: number;
  lines: number;
  withheld: number;
}

/**
 * A log in which no peer can drown the rest: of one event of one board so many lines a minute, and then how many there were
 * more. Events are names in the code and boards those of the inventory, so that what is remembered is bounded.
 */
export function limitedLog(log: Log, clock: Clock): Log {
  const shares = new Map<string, Share>();
  const limited = (level: 'info' | 'warn' | 'error') => (facts: object, event: string) => {
    const board = 'board' in facts && typeof facts.board === 'string' ? facts.board : undefined;
    const share = shareOf(shares, `${event} ${board ?? ''}`, clock.nowMs());
    if (share.withheld > 0 && share.lines === 0) {
      log.warn({ event, board, count: share.withheld }, 'log.withheld');
      share.withheld = 0;
    }
    share.lines += 1;
    if (share.lines > LOG_LINES_PER_EVENT_AND_MINUTE_MAX) share.withheld += 1;
    else log[level](facts, event);
  };
  return {
    debug: (facts, event) => log.debug(facts, event),
    info: limited('info'),
    warn: limited('warn'),
    error: limited('error'),
  };
}

/** The share of this minute; a new minute begins it anew but for what was withheld, which is still to be said. */
function shareOf(shares: Map<string, Share>, key: string, nowMs: number): Share {
  const known = shares.get(key);
  if (known === undefined) {
    const share: Share = { sinceMs: nowMs, lines: 0, withheld: 0 };
    shares.set(key, share);
    return share;
  }
  if (nowMs - known.sinceMs >= MINUTE_MS) {
    known.sinceMs = nowMs;
    known.lines = 0;
  }
  return known;
}
