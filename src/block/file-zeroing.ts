import { punchHole, zeroRange } from '../os/file-space.js';
import { blockErrorFrom } from './block-error.js';
import type { InTurn } from './disks.js';

/** Zeroes in a file without writing them, as far as its filesystem can. One for each open file: it remembers what that can't. */
export class FileZeroing {
  readonly #file: string;
  readonly #descriptor: number;
  readonly #inTurn: InTurn;
  #canPunch = true;
  #canZero = true;

  constructor(file: string, descriptor: number, inTurn: InTurn) {
    this.#file = file;
    this.#descriptor = descriptor;
    this.#inTurn = inTurn;
  }

  /** Gives the space back; the range reads as zeroes. False, and nothing changed, where the filesystem has no holes. */
  async punched(offset: number, lengthBytes: number): Promise<boolean> {
    if (this.#canPunch) this.#canPunch = await this.#supported(punchHole, offset, lengthBytes);
    return this.#canPunch;
  }

  /** The range reads as zeroes and its space stays reserved. False, and nothing changed, where the filesystem can't do that. */
  async zeroed(offset: number, lengthBytes: number): Promise<boolean> {
    if (this.#canZero) this.#canZero = await this.#supported(zeroRange, offset, lengthBytes);
    return this.#canZero;
  }

  async #supported(call: typeof punchHole, offset: number, lengthBytes: number): Promise<boolean> {
    try {
      await this.#inTurn(() => call(this.#descriptor, offset, lengthBytes));
      return true;
    } catch (cause) {
      const error = blockErrorFrom(cause, { file: this.#file, offset, lengthBytes });
      if (error.code === 'ENOTSUP') return false;
      throw error;
    }
  }
}
