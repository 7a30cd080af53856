import {
  NBD_OPTION_BYTES_MAX,
  NBD_OPTION_DISCARD_BYTES_MAX,
  NBD_OPTIONS_MAX,
  NBD_PIECE_BYTES,
} from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { unreachable } from '../../base/unreachable.js';
import type { BufferPool } from '../session/buffer-pool.js';
import type { Refusal } from '../session/transmission.js';
import type { ByteQueue } from './byte-queue.js';
import { Command, type ErrnoName } from './constants.js';
import { CLIENT_FLAGS_BYTES, decodeClientFlags, decodeOptionHeader, OPTION_HEADER_BYTES } from './handshake-wire.js';
import { COMPACT_REQUESTS, type NbdRequest, type RequestCodec } from './transmission-wire.js';

/**
 * Cuts what a client sends into messages, wherever the network cut it. Both are asked (`next`) and never push, so that who
 * asks can stop where memory or the protocol demands it. Bytes that are no NBD throw `Malformed`: the stream has no place to
 * begin again.
 */

export type HandshakeMessage =
  | { readonly kind: 'clientFlags'; readonly flags: number }
  | { readonly kind: 'option'; readonly option: number; readonly body: Uint8Array }
  /** More data than any option may have; it was read away. */
  | { readonly kind: 'oversizedOption'; readonly option: number; readonly lengthBytes: number };

type HandshakeState =
  | { readonly at: 'clientFlags' }
  | { readonly at: 'optionHeader' }
  | { readonly at: 'optionBody'; readonly option: number; readonly lengthBytes: number }
  | { readonly at: 'discarding'; readonly option: number; readonly lengthBytes: number; leftBytes: number };

export class HandshakeFraming {
  readonly #queue: ByteQueue;
  #state: HandshakeState = { at: 'clientFlags' };
  #optionsLeft = NBD_OPTIONS_MAX;
  #discardLeftBytes = NBD_OPTION_DISCARD_BYTES_MAX;

  constructor(queue: ByteQueue) {
    this.#queue = queue;
  }

  /** The next message, or undefined until more has come. A view of the queue's bytes: decode it before the next push. */
  next(): HandshakeMessage | undefined {
    for (;;) {
      const state = this.#state;
      switch (state.at) {
        case 'clientFlags': {
          const bytes = this.#queue.take(CLIENT_FLAGS_BYTES);
          if (bytes === undefined) return undefined;
          this.#state = { at: 'optionHeader' };
          return { kind: 'clientFlags', flags: decodeClientFlags(bytes) };
        }
        case 'optionHeader': {
          const bytes = this.#queue.take(OPTION_HEADER_BYTES);
          if (bytes === undefined) return undefined;
          this.#state = this.#afterHeader(bytes);
          break;
        }
        case 'optionBody': {
          const body = this.#queue.take(state.lengthBytes);
          if (body === undefined) return undefined;
          this.#state = { at: 'optionHeader' };
          return { kind: 'option', option: state.option, body };
        }
        case 'discarding': {
          state.leftBytes -= this.#queue.drop(state.leftBytes);
          if (state.leftBytes > 0) return undefined;
          this.#state = { at: 'optionHeader' };
          return { kind: 'oversizedOption', option: state.option, lengthBytes: state.lengthBytes };
        }
        default:
          unreachable(state);
      }
    }
  }

  // CVE-2017-15119: options without number or end kept a server busy. Both run out here.
  #afterHeader(bytes: Uint8Array): HandshakeState {
    const { option, lengthBytes } = decodeOptionHeader(bytes);
    this.#optionsLeft -= 1;
    if (this.#optionsLeft < 0) throw new Malformed(`more than ${NBD_OPTIONS_MAX} options`);
    if (lengthBytes <= NBD_OPTION_BYTES_MAX) return { at: 'optionBody', option, lengthBytes };
    this.#discardLeftBytes -= lengthBytes;
    if (this.#discardLeftBytes < 0) throw new Malformed(`option ${option} with ${lengthBytes} bytes of data`);
    return { at: 'discarding', option, lengthBytes, leftBytes: lengthBytes };
  }
}

export type Arrival =
  /** All but WRITE. */
  | { readonly kind: 'request'; readonly request: NbdRequest }
  /** Not to be done; its payload, if it has one, was read away. */
  | { readonly kind: 'refused'; readonly request: NbdRequest; readonly refusal: Refusal }
  /** A WRITE that has failed already, and whose payload goes on to come: from who had the connection before. */
  | { readonly kind: 'failed'; readonly request: NbdRequest; readonly errno: ErrnoName }
  /** The payload of a WRITE, or a piece of it: `bytes` belong at `request.offset + at`. */
  | {
      readonly kind: 'payload';
      readonly request: NbdRequest;
      readonly at: number;
      readonly bytes: Uint8Array;
      readonly isLast: boolean;
    };

/** A request with a payload of which some was dealt with: written, handed on or, of one that is refused, dropped. */
export interface BegunPayload {
  readonly request: NbdRequest;
  /** Bytes of it that are still to come. */
  readonly leftBytes: number;
}

type RequestState =
  | { readonly at: 'header' }
  | {
      readonly at: 'collecting';
      readonly request: NbdRequest;
      doneBytes: number;
      piece: Uint8Array;
      filledBytes: number;
    }
  | { readonly at: 'discarding'; readonly request: NbdRequest; readonly refusal: Refusal; leftBytes: number };

/** Whether a request may be done at all: asked once per request, before there is memory for its payload. */
export type JudgeRequest = (request: NbdRequest) => Refusal | undefined;

export class RequestFraming {
  readonly #queue: ByteQueue;
  readonly #judge: JudgeRequest;
  readonly #pool: BufferPool;
  readonly #codec: RequestCodec;
  #state: RequestState = { at: 'header' };

  /** Payloads are handed out in buffers of `pool`: who is done with one gives it back. */
  constructor(queue: ByteQueue, judge: JudgeRequest, pool: BufferPool, codec: RequestCodec = COMPACT_REQUESTS) {
    this.#queue = queue;
    this.#judge = judge;
    this.#pool = pool;
    this.#codec = codec;
  }

  /** Payload that was collected and not handed out yet: of a WRITE that is still coming in. */
  get collectedBytes(): number {
    return this.#state.at === 'collecting' ? this.#state.piece.length : 0;
  }

  /** Whether what comes next is a header. */
  get isBetweenRequests(): boolean {
    return this.#state.at === 'header';
  }

  /** Goes on in the middle of a payload, where another left off: before anything else. */
  goOn({ request, leftBytes }: BegunPayload): void {
    const refusal = this.#judge(request);
    this.#state =
      refusal !== undefined
        ? { at: 'discarding', request, refusal, leftBytes }
        : this.#collect(request, request.lengthBytes - leftBytes, leftBytes);
  }

  /** Where another may go on. What was collected of the payload comes first there; nothing may be asked of this any more. */
  leaveOff(): { readonly begun: BegunPayload | undefined; readonly collected: Uint8Array } {
    const state = this.#state;
    switch (state.at) {
      case 'header':
        return { begun: undefined, collected: new Uint8Array(0) };
      case 'discarding':
        return { begun: { request: state.request, leftBytes: state.leftBytes }, collected: new Uint8Array(0) };
      case 'collecting': {
        const { request, doneBytes, piece, filledBytes } = state;
        const collected = piece.slice(0, filledBytes);
        return { begun: { request, leftBytes: request.lengthBytes - doneBytes }, collected };
      }
      default:
        return unreachable(state);
    }
  }

  next(): Arrival | undefined {
    for (;;) {
      const state = this.#state;
      switch (state.at) {
        case 'header': {
          const bytes = this.#queue.take(this.#codec.headerBytes);
          if (bytes === undefined) return undefined;
          const arrival = this.#begin(this.#codec.decode(bytes));
          if (arrival !== undefined) return arrival;
          break;
        }
        case 'discarding': {
          state.leftBytes -= this.#queue.drop(state.leftBytes);
          if (state.leftBytes > 0) return undefined;
          this.#state = { at: 'header' };
          return { kind: 'refused', request: state.request, refusal: state.refusal };
        }
        case 'collecting': {
          state.filledBytes += this.#queue.moveInto(state.piece.subarray(state.filledBytes));
          if (state.filledBytes < state.piece.length) return undefined;
          return this.#pieceDone(state);
        }
        default:
          unreachable(state);
      }
    }
  }

  #begin(request: NbdRequest): Arrival | undefined {
    const refusal = this.#judge(request);
    const payload = this.#codec.payloadBytes(request);
    if (refusal !== undefined) {
      this.#state = { at: 'discarding', request, refusal, leftBytes: payload };
      return undefined;
    }
    if (request.command !== Command.Write) return { kind: 'request', request };
    this.#state = this.#collect(request, 0, payload);
    return undefined;
  }

  #collect(request: NbdRequest, doneBytes: number, leftBytes: number): RequestState {
    return { at: 'collecting', request, doneBytes, piece: this.#newPiece(leftBytes), filledBytes: 0 };
  }

  #pieceDone(state: Extract<RequestState, { readonly at: 'collecting' }>): Arrival {
    const { request, doneBytes, piece } = state;
    const leftBytes = request.lengthBytes - doneBytes - piece.length;
    if (leftBytes === 0) {
      this.#state = { at: 'header' };
    } else {
      this.#state = this.#collect(request, doneBytes + piece.length, leftBytes);
    }
    return { kind: 'payload', request, at: doneBytes, bytes: piece, isLast: leftBytes === 0 };
  }

  /** Not zeroed: it is handed out only when every byte of it was written over. */
  #newPiece(leftBytes: number): Uint8Array {
    return this.#pool.take(Math.min(leftBytes, NBD_PIECE_BYTES));
  }
}
