/**
 * One transfer to a peer, as a decision: an event and the time in, commands out (RFC 1350, 2347, 2349, 7440). It sends
 * nothing, reads nothing and waits for nothing.
 *
 *   begin ─► offering ──ACK 0──► holding ──held──► sending ⇄ starved ──last ACK──► over
 *      └──── no options: ──────────┘
 *
 * Two rules stand above the rest:
 *
 * - In lock-step a repeated ACK is never answered: start4.elf hangs when a DATA block comes twice (raspberrypi/firmware#1631),
 *   and a duplicated OACK broke a Pi 2 (raspberrypi/firmware#1041). Only our own timer sends anything again.
 * - Until DATA 1 is acknowledged the peer may be forged, or a board that only wanted to know whether the file is there. Then
 *   even the timer repeats a packet only if the peer itself has asked again meanwhile: one packet out for one packet in.
 *
 * Blocks are counted from 1 without end here; on the wire they are 16 bits wide and go on with 0 after 65535.
 */
import {
  TFTP_DATA_PATIENCE_MS,
  TFTP_FIRST_RESENDS_MAX,
  TFTP_FIRST_TIMEOUT_MS_MAX,
  TFTP_FIRST_TIMEOUT_MS_MIN,
  TFTP_RESEND_MS_MAX,
  TFTP_SILENCE_ASKED_MS_MAX,
  TFTP_SILENCE_MS_MAX,
} from '../base/limits.js';
import { unreachable } from '../base/unreachable.js';
import type { TransferOutcome } from '../boards/journal/events.js';
import { ErrorCode } from './constants.js';
import type { Agreement } from './options.js';
import { wireBlockOf } from './wire.js';

export type TransferEvent =
  /** The file is open: say something to the peer. Once, first. */
  | { readonly kind: 'begin' }
  /** What the file's `hold()` answered. */
  | { readonly kind: 'held' }
  | { readonly kind: 'changed' }
  /** From the peer; 16 bits, as on the wire. */
  | { readonly kind: 'ack'; readonly block: number }
  | { readonly kind: 'error'; readonly message: string }
  /** The same RRQ came again. */
  | { readonly kind: 'askedAgain' }
  | { readonly kind: 'tick' }
  /** Of the blocks to be sent, this one and those behind it are not in memory. Told during `sendBlocks`. */
  | { readonly kind: 'starved'; readonly block: number }
  /** The block that was missing can be sent now. */
  | { readonly kind: 'available'; readonly block: number }
  /** The block just sent was the last. Told during `sendBlocks`; none is sent behind it. */
  | { readonly kind: 'final'; readonly block: number }
  /** The file can't be read any further. */
  | { readonly kind: 'lost'; readonly because: string }
  /** We end it and tell the peer. */
  | { readonly kind: 'stop'; readonly because: string }
  /** We end it without a word: the peer is elsewhere, or never was. */
  | { readonly kind: 'abandon'; readonly because: string };

export type TransferCommand =
  | { readonly kind: 'sendOptionAck' }
  /** From here on the file's bytes are kept: answer with `held`, `changed` or `lost`. */
  | { readonly kind: 'hold' }
  /** Blocks first to last, in order; replaces what an earlier command has left unsent. */
  | { readonly kind: 'sendBlocks'; readonly first: number; readonly last: number }
  | { readonly kind: 'sendError'; readonly code: number; readonly message: string }
  /** Nothing comes behind this. */
  | { readonly kind: 'finish'; readonly outcome: TransferOutcome; readonly because: string | undefined };

type State =
  | { readonly at: 'new' }
  | { readonly at: 'offering' }
  | { readonly at: 'holding' }
  | { readonly at: 'sending' }
  | { readonly at: 'starved'; readonly block: number; readonly sinceMs: number }
  | { readonly at: 'over' };

const NOTHING: readonly TransferCommand[] = [];

export class Transfer {
  readonly #agreement: Agreement;
  #state: State = { at: 'new' };
  #confirmed = false;
  /** Every block up to here is the peer's. */
  #acked = 0;
  /** The highest block sent since the last restart. */
  #sent = 0;
  #final: number | undefined;
  /** The block for whose ACK the window was last begun anew out of turn. */
  #restartedAt = -1;
  #resends = 0;
  /** The peer has asked again since our last packet; counts until DATA 1 is acknowledged. */
  #askedAgain = false;
  /** Since when nothing new has come from the peer. */
  #quietSinceMs = 0;
  #deadlineMs: number | undefined;

  constructor(agreement: Agreement) {
    this.#agreement = agreement;
  }

  /** When a `tick` is due; undefined once it is over. May move with any event. A tick that comes early does nothing. */
  get deadlineMs(): number | undefined {
    return this.#deadlineMs;
  }

  /** True once the peer has acknowledged anything at all: then it is where it says it is. */
  get confirmed(): boolean {
    return this.#confirmed;
  }

  /** Since when nothing new has come from the peer, in the time of `handle`. */
  get quietSinceMs(): number {
    return this.#quietSinceMs;
  }

  handle(event: TransferEvent, nowMs: number): readonly TransferCommand[] {
    if (this.#state.at === 'over') return NOTHING;
    switch (event.kind) {
      case 'begin':
        return this.#begin(nowMs);
      case 'held':
        return this.#state.at === 'holding' ? this.#advance(nowMs) : NOTHING;
      case 'changed':
        return this.#fail('the file was changed since it was asked for: ask again');
      case 'ack':
        return this.#acknowledged(event.block, nowMs);
      case 'error':
        return this.#finish(this.#acked <= 1 ? 'probe' : 'error', event.message);
      case 'askedAgain':
        return this.#askedOnceMore(nowMs);
      case 'tick':
        return this.#tick(nowMs);
      case 'starved':
        this.#sent = event.block - 1;
        this.#state = { at: 'starved', block: event.block, sinceMs: nowMs };
        this.#deadlineMs = nowMs + TFTP_DATA_PATIENCE_MS;
        return NOTHING;
      case 'available':
        if (this.#state.at !== 'starved' || this.#state.block !== event.block) return NOTHING;
        this.#quietSinceMs += nowMs - this.#state.sinceMs; // the peer could not answer what it did not have
        return this.#sendFrom(event.block, nowMs);
      case 'final':
        this.#final = event.block;
        this.#sent = event.block;
        return NOTHING;
      case 'lost':
        return this.#fail(event.because);
      case 'stop':
        return this.confirmed ? this.#fail(event.because) : this.#finish('probe', event.because);
      case 'abandon':
        return this.#finish(this.#acked <= 1 ? 'probe' : 'error', event.because);
      default:
        return unreachable(event);
    }
  }

  #begin(nowMs: number): readonly TransferCommand[] {
    if (this.#agreement.acknowledged.size === 0) return this.#hold(nowMs);
    this.#state = { at: 'offering' };
    this.#quietSinceMs = nowMs;
    this.#awaitAnswer(nowMs);
    return [{ kind: 'sendOptionAck' }];
  }

  #hold(nowMs: number): readonly TransferCommand[] {
    this.#state = { at: 'holding' };
    this.#deadlineMs = nowMs + TFTP_DATA_PATIENCE_MS;
    return [{ kind: 'hold' }];
  }

  #acknowledged(wireBlock: number, nowMs: number): readonly TransferCommand[] {
    switch (this.#state.at) {
      case 'offering':
        if (wireBlock !== 0) return NOTHING;
        this.#confirmed = true;
        return this.#hold(nowMs);
      case 'sending':
      case 'starved':
        break;
      default:
        return NOTHING;
    }
    const ahead = wireBlockOf(wireBlock - this.#acked);
    if (ahead > this.#sent - this.#acked) return NOTHING; // of the future, or from before what it said last
    if (ahead === 0) return this.#repeatedAck(nowMs);

    const outOfTurn = this.#acked + ahead < this.#sent;
    this.#acked += ahead;
    this.#confirmed = true;
    if (this.#acked === this.#final) return this.#finish('complete', undefined);
    if (outOfTurn) this.#restartedAt = this.#acked; // RFC 7440 section 4: what was sent behind it is lost
    return this.#advance(nowMs);
  }

  /**
   * In a window the peer says so when it misses the block behind this one: the window is begun anew, once per block, else
   * each ACK for each stray block would bring a whole window (the sorcerer's apprentice of RFC 1123 section 4.2.3.1).
   */
  #repeatedAck(nowMs: number): readonly TransferCommand[] {
    const canRestart = this.#agreement.windowBlocks > 1 && this.#sent > this.#acked;
    if (!canRestart || this.#restartedAt === this.#acked) return this.#askedOnceMore(nowMs);
    this.#restartedAt = this.#acked;
    return this.#advance(nowMs);
  }

  #askedOnceMore(nowMs: number): readonly TransferCommand[] {
    const waiting = this.#state.at === 'offering' || this.#state.at === 'sending';
    if (!waiting || this.#acked > 0 || this.#askedAgain) return NOTHING;
    this.#askedAgain = true;
    this.#quietSinceMs = nowMs;
    this.#awaitAnswer(nowMs);
    return NOTHING;
  }

  #tick(nowMs: number): readonly TransferCommand[] {
    if (this.#deadlineMs === undefined || nowMs < this.#deadlineMs) return NOTHING;
    if (this.#state.at === 'holding' || this.#state.at === 'starved') {
      return this.#fail(`the disk did not answer within ${TFTP_DATA_PATIENCE_MS / 1_000} s`);
    }
    return this.#acked === 0 ? this.#firstTick(nowMs) : this.#laterTick(nowMs);
  }

  #firstTick(nowMs: number): readonly TransferCommand[] {
    if (!this.#askedAgain) return this.#finish('probe', undefined);
    if (this.#resends >= TFTP_FIRST_RESENDS_MAX) {
      return this.#finish('timeout', 'it asks again and again: our packets do not reach it (a firewall?)');
    }
    this.#askedAgain = false;
    return this.#resend(nowMs);
  }

  #laterTick(nowMs: number): readonly TransferCommand[] {
    const silenceMs = nowMs - this.#quietSinceMs;
    if (silenceMs < this.#silenceMsMax()) return this.#resend(nowMs);
    const what = this.#sent === this.#final ? 'the last blocks were' : `block ${this.#acked + 1} was`;
    return this.#finish('timeout', `${what} not acknowledged within ${Math.round(silenceMs / 1_000)} s`);
  }

  #resend(nowMs: number): readonly TransferCommand[] {
    this.#resends += 1;
    this.#awaitAnswer(nowMs);
    if (this.#state.at === 'offering') return [{ kind: 'sendOptionAck' }];
    return [{ kind: 'sendBlocks', first: this.#acked + 1, last: this.#sent }];
  }

  /** The peer has said something new. */
  #advance(nowMs: number): readonly TransferCommand[] {
    this.#resends = 0;
    this.#quietSinceMs = nowMs;
    return this.#sendFrom(this.#acked + 1, nowMs);
  }

  /** Sends as far as the window reaches. */
  #sendFrom(first: number, nowMs: number): readonly TransferCommand[] {
    const last = Math.min(this.#acked + this.#agreement.windowBlocks, this.#final ?? Number.POSITIVE_INFINITY);
    if (this.#state.at !== 'sending') this.#state = { at: 'sending' };
    this.#sent = last;
    this.#awaitAnswer(nowMs);
    return [{ kind: 'sendBlocks', first, last }];
  }

  #awaitAnswer(nowMs: number): void {
    const { resendMs } = this.#agreement;
    const waitMs = Math.min(resendMs * 2 ** this.#resends, Math.max(resendMs, TFTP_RESEND_MS_MAX));
    if (this.#acked === 0 && !this.#askedAgain) {
      // Twice the wait: a client that lost a packet has asked again by then.
      const firstTimeoutMs = Math.max(TFTP_FIRST_TIMEOUT_MS_MIN, 2 * resendMs);
      this.#deadlineMs = nowMs + Math.min(firstTimeoutMs, TFTP_FIRST_TIMEOUT_MS_MAX);
    } else if (this.#acked === 0) {
      this.#deadlineMs = nowMs + Math.min(waitMs, TFTP_FIRST_TIMEOUT_MS_MAX);
    } else {
      this.#deadlineMs = Math.min(nowMs + waitMs, this.#quietSinceMs + this.#silenceMsMax());
    }
  }

  /** A peer that asked for a long wait gets two of them, but not minutes: it holds one of TFTP_TRANSFERS_MAX places. */
  #silenceMsMax(): number {
    return Math.min(Math.max(TFTP_SILENCE_MS_MAX, 2 * this.#agreement.resendMs), TFTP_SILENCE_ASKED_MS_MAX);
  }

  #fail(because: string): readonly TransferCommand[] {
    const [finish] = this.#finish('error', because);
    const sendError: TransferCommand = { kind: 'sendError', code: ErrorCode.NotDefined, message: because };
    return finish === undefined ? NOTHING : [sendError, finish];
  }

  #finish(outcome: TransferOutcome, because: string | undefined): readonly TransferCommand[] {
    this.#state = { at: 'over' };
    this.#deadlineMs = undefined;
    return [{ kind: 'finish', outcome, because }];
  }
}
