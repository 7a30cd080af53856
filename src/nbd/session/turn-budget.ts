import { NBD_READ_NOW_BYTES_PER_TURN } from '../../base/limits.js';

/**
 * How much may be copied out of memory at once, by all connections together, before the event loop must come round: reading
 * the page cache on the main thread is the fastest there is, until it keeps TFTP and everybody else waiting.
 */
export class TurnBudget {
  #leftBytes = NBD_READ_NOW_BYTES_PER_TURN;
  #resets = false;

  allows(bytes: number): boolean {
    return bytes <= this.#leftBytes;
  }

  spend(bytes: number): void {
    this.#leftBytes -= bytes;
    if (this.#resets) return;
    this.#resets = true;
    setImmediate(() => {
      this.#resets = false;
      this.#leftBytes = NBD_READ_NOW_BYTES_PER_TURN;
    });
  }
}
