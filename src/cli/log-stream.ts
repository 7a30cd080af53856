import { write } from 'node:fs';
import { LOG_BUFFER_BYTES_MAX } from '../base/limits.js';

/**
 * Lines on their way to a descriptor, one write at a time. What can't be written (a full disk, a reader that went) is dropped, and so
 * is what comes while LOG_BUFFER_BYTES_MAX are waiting: the log must never be what stops the server. pino's own destination
 * tries again for ever, at the exit of the process too.
 */
export class LogStream {
  readonly #descriptor: number;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #writing = false;
  #whenIdle: (() => void)[] = [];

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** As pino calls it: `line` ends in a line feed. */
  write(line: string): void {
    if (this.#waitingBytes + line.length > LOG_BUFFER_BYTES_MAX) return;
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    if (!this.#writing) this.#writeNext();
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    if (this.#writing) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  #writeNext(): void {
    const bytes = Buffer.from(this.#waiting.join(''), 'utf8');
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (bytes.length > 0) {
      this.#writing = true;
      this.#writeRest(bytes);
      return;
    }
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  #writeRest(bytes: Uint8Array): void {
    write(this.#descriptor, bytes, (error, written) => {
      if (error === null && written < bytes.length) {
        this.#writeRest(bytes.subarray(written));
        return;
      }
      this.#writing = false;
      this.#writeNext();
    });
  }
}
