import type { Duplex } from 'node:stream';
import { NBD_CLIENT_READ_AHEAD_BYTES_MAX } from '../../base/limits.js';
import { NbdDisconnected } from '../client/client-errors.js';
import { ByteQueue } from './byte-queue.js';

/** A stream as somewhere to wait for bytes: our client's side. One waits at a time. */
export class ByteSource {
  readonly #stream: Duplex;
  readonly #queue = new ByteQueue();
  #wake: (() => void) | undefined;
  #failure: NbdDisconnected | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on('data', (chunk: Uint8Array) => {
      this.#queue.push(chunk);
      if (this.#queue.length > NBD_CLIENT_READ_AHEAD_BYTES_MAX) stream.pause();
      this.#wake?.();
    });
    stream.on('error', (error: NodeJS.ErrnoException) => this.#fail(error.code ?? error.message));
    stream.on('end', () => this.#fail('the server closed the connection'));
    stream.on('close', () => this.#fail('the connection is closed'));
  }

  async exactly(length: number): Promise<Uint8Array> {
    for (;;) {
      const bytes = this.#queue.take(length);
      if (bytes !== undefined) return bytes;
      await this.#more();
    }
  }

  /** Without a copy in between. */
  async fill(target: Uint8Array): Promise<void> {
    let filled = this.#queue.moveInto(target);
    while (filled < target.length) {
      await this.#more();
      filled += this.#queue.moveInto(target.subarray(filled));
    }
  }

  async #more(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#stream.isPaused()) this.#stream.resume();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  #fail(because: string): void {
    this.#failure ??= new NbdDisconnected(because);
    this.#wake?.();
  }
}
