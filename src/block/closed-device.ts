import type { BlockDevice, Extent } from './block-device.js';
import { BlockError } from './block-error.js';
import type { Medium } from './flush-queue.js';

/** A disk that is not there yet, or not any more: nothing can be read or written, and flushing it is no trouble. */
export class ClosedDevice implements BlockDevice, Medium {
  readonly sizeBytes: number;
  readonly rotational = false;
  readonly failure = undefined;
  readonly #file: string;

  constructor(file: string, sizeBytes: number) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
  }

  async read(): Promise<void> {
    throw this.#isClosed();
  }

  readNow(): boolean {
    return false;
  }

  async prefetch(): Promise<void> {}

  async write(): Promise<void> {
    throw this.#isClosed();
  }

  async flush(): Promise<void> {}

  async discard(): Promise<void> {
    throw this.#isClosed();
  }

  async zero(): Promise<void> {
    throw this.#isClosed();
  }

  async extents(): Promise<readonly Extent[]> {
    throw this.#isClosed();
  }

  async close(): Promise<void> {}

  listen(): void {}

  async reopen(): Promise<void> {}

  #isClosed(): BlockError {
    return new BlockError('EIO', { file: this.#file, detail: 'the disk is not open' });
  }
}
