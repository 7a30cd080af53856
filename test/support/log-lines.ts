import type { Log } from '../../src/base/log.js';

/** A log that is kept: each line as its event and what it says. */
export function keptLog(): { readonly log: Log; readonly lines: readonly LogLine[]; events(): readonly string[] } {
  const lines: LogLine[] = [];
  const write = (facts: object, event: string) => void lines.push({ ...facts, event });
  return {
    log: { debug: write, info: write, warn: write, error: write },
    lines,
    events: () => lines.map(({ event }) => event),
  };
}

export type LogLine = { readonly event: string } & { readonly [fact: string]: unknown };
