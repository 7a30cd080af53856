import { NBD_HELD_REPLIES_BYTES_MAX } from '../../base/limits.js';
import type { Sink } from '../session/outbox.js';

/** Replies that go out later, by another process: those that the socket has no room for, or that come when nobody may write there any more. */
export class HeldReplies implements Sink {
  readonly #bytes: Uint8Array[] = [];
  #heldBytes = 0;
  #isSealed = false;

  write(bytes: Uint8Array, sent: (arrived: boolean) => void): void {
    // A copy: who is told that it was taken writes over it.
    if (!this.#isSealed && bytes.length > 0) this.#bytes.push(bytes.slice());
    this.#heldBytes += bytes.length;
    // A reply that goes out in pieces is not read on for ever: it is not to be ended here then.
    if (this.#heldBytes <= NBD_HELD_REPLIES_BYTES_MAX) sent(true);
  }

  hold(): void {}
  letGo(): void {}

  /** As many of them as `send` takes: it answers how many bytes those were, fewer where there is no more room. */
  sendOn(send: (bytes: Uint8Array) => number): void {
    for (let next = this.#bytes.shift(); next !== undefined; next = this.#bytes.shift()) {
      const sentBytes = send(next);
      if (sentBytes === next.length) continue;
      this.#bytes.unshift(next.subarray(sentBytes));
      return;
    }
  }

  /** What is left. Whatever comes from now on is dropped: its request counts as not answered. */
  seal(): Uint8Array {
    this.#isSealed = true;
    return Buffer.concat(this.#bytes.splice(0));
  }
}
