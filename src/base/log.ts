/**
 * What the edges speak through (pino has this shape). The event is a name with dots, the facts are plain values; what was thrown goes
 * in as `err`, the one name under which pino writes an Error's message and stack (under any other it writes `{}`).
 */
export interface Log {
  debug(facts: object, event: string): void;
  info(facts: object, event: string): void;
  warn(facts: object, event: string): void;
  error(facts: object, event: string): void;
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
