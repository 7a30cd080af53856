import type { Log } from '../../src/base/log.js';

/** A log that is kept: each line as its event and what it says. */
export function keptLog(): {
  readonly log: Log;
  readonly lines: readonly LogLine[];
  /** Of them, those that say so loudly. */
  readonly warnings: readonly LogLine[];
  events(): readonly string[];
} {
  const lines: LogLine[] = [];
  const warnings: LogLine[] = [];
  const write = (facts: object, event: string) => void lines.push({ ...facts, event });
  const warn = (facts: object, event: string) => {
    write(facts, event);
    warnings.push({ ...facts, event });
  };
  return {
    log: { debug: write, info: write, warn, error: write },
    lines,
    warnings,
    events: () => lines.map(({ event }) => event),
  };
}

export type LogLine = { readonly event: string } & { readonly [fact: string]: unknown };
