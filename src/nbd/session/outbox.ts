import type { Writable } from 'node:stream';

/** Has the stream for itself, for a reply that is sent in pieces: nothing may come between them. */
export interface WayOut {
  /** Resolves when the peer's side of the kernel has taken the bytes; false if the stream is gone. */
  send(bytes: Uint8Array): Promise<boolean>;
  leave(): void;
}

type Waiting =
  | { readonly kind: 'reply'; readonly bytes: Uint8Array; readonly sent: (arrived: boolean) => void }
  | { readonly kind: 'way'; readonly grant: (way: WayOut) => void };

/**
 * The one way out of a connection. It holds what it is given without a bound of its own: who gives counts what was not sent yet (`sent` is called in any case, once; only if the
 * bytes arrived in the kernel may they be written over).
 */
export class Outbox {
  #sink: Sink;
  #isTaken = false;
  #waiting: Waiting[] = [];

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** From the next reply on. Answers where they went before. */
  moveTo(sink: Sink): Sink {
    const before = this.#sink;
    this.#sink = sink;
    if (this.#isTaken) sink.hold();
    return before;
  }

  /** Replies that wait for who has the way to himself go out without waiting: he has sent nothing, and is not to. */
  passBy(): void {
    for (const waiting of this.#waiting.splice(0))
      if (waiting.kind === 'reply') this.#write(waiting.bytes, waiting.sent);
  }

  send(bytes: Uint8Array, sent: (arrived: boolean) => void): void {
    if (this.#isTaken) this.#waiting.push({ kind: 'reply', bytes, sent });
    else this.#write(bytes, sent);
  }

  /** First come, first served; replies given meanwhile wait until it is left. */
  takeAlone(): Promise<WayOut> {
    return new Promise((grant) => {
      if (this.#isTaken) this.#waiting.push({ kind: 'way', grant });
      else this.#grant(grant);
    });
  }

  #grant(grant: (way: WayOut) => void): void {
    this.#isTaken = true;
    this.#sink.hold();
    grant({
      send: (bytes) => new Promise((resolve) => this.#write(bytes, resolve)),
      leave: () => this.#leave(),
    });
  }

  #leave(): void {
    this.#isTaken = false;
    while (!this.#isTaken) {
      const next = this.#waiting.shift();
      if (next === undefined) {
        this.#sink.letGo();
        return;
      }
      if (next.kind === 'way') this.#grant(next.grant);
      else this.#write(next.bytes, next.sent);
    }
  }

  #write(bytes: Uint8Array, sent: (arrived: boolean) => void): void {
    this.#sink.write(bytes, sent);
  }
}

/** Where replies go in the end. */
export interface Sink {
  /** In the order of the calls. `sent` is called once in any case: true when the kernel has taken the bytes, false if it never will. */
  write(bytes: Uint8Array, sent: (arrived: boolean) => void): void;
  /** Whoever else writes there has to wait from the next `write` on until `letGo`. */
  hold(): void;
  letGo(): void;
}

/** Gathers what is written in one turn of the event loop into one system call. */
export class StreamSink implements Sink {
  readonly #stream: Writable;
  #gathering = false;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  write(bytes: Uint8Array, sent: (arrived: boolean) => void): void {
    if (!this.#stream.writable) {
      sent(false);
      return;
    }
    this.#gather();
    this.#stream.write(bytes, (error) => sent(error === null || error === undefined));
  }

  /** Nobody else writes to a stream. */
  hold(): void {}
  letGo(): void {}

  #gather(): void {
    if (this.#gathering) return;
    this.#gathering = true;
    this.#stream.cork();
    process.nextTick(() => {
      this.#gathering = false;
      this.#stream.uncork();
    });
  }
}
