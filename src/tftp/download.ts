/**
 * A transfer as a board's bootloader has it, as a decision: the other side of transfer.ts. Pretend boards and tests run it.
 * With the quirks of real boards, each of which a server has to get along with.
 */
import { TFTP_DOWNLOAD_BYTES_MAX } from '../base/limits.js';
import { unreachable } from '../base/unreachable.js';
import { BLOCK_BYTES_DEFAULT, BLOCK_BYTES_MIN, BLOCK_NUMBERS, ErrorCode, Mode, OptionName } from './constants.js';
import {
  encodeAck,
  encodeError,
  encodeRequest,
  type TftpData,
  type TftpOptionAck,
  type TftpOptions,
  type TftpPacket,
  wireBlockOf,
} from './wire.js';

export interface DownloadSettings {
  readonly path: string;
  /** "octet" unless said otherwise. */
  readonly mode?: string;
  /** Name to value in the order to be sent; none: RFC 1350's own 512 bytes in lock-step, as a Pi 3's ROM. */
  readonly options?: TftpOptions;
  /**
   * How a board finds out whether a file is there: it breaks off with ERROR 0 "Early terminate" when the OACK has come,
   * or, as some builds do, when DATA 1 has (raspberrypi/firmware#1700).
   */
  readonly abort?: 'afterOptionAck' | 'afterData1';
  /** False: knows no block behind 65535, as every bootloader before 2025-09-23 (raspberrypi/rpi-eeprom#720). */
  readonly rollsOver?: boolean;
  /** As start4.elf: a DATA block that comes twice is acknowledged as the next one, then all is over (raspberrypi/firmware#1631). */
  readonly hangsOnDuplicate?: boolean;
  /** A Pi repeats its RRQ from the same port after 2 s. */
  readonly requestResendMs?: number;
  readonly ackResendMs?: number;
  /** Without anything new for this long it gives up; a Pi after 30 s. */
  readonly patienceMs?: number;
}

export interface DownloadResult {
  readonly verdict: DownloadVerdict;
  /** What came, up to the end of the last block in order. */
  readonly bytes: Uint8Array;
  readonly blockCount: number;
  /** What the server agreed to; undefined if no OACK came. */
  readonly acknowledged: TftpOptions | undefined;
  readonly seen: DownloadSeen;
}

export type DownloadVerdict =
  | { readonly outcome: 'complete' | 'aborted' | 'timeout' | 'hung' | 'outOfBlockNumbers' | 'tooLong' }
  | { readonly outcome: 'refused'; readonly code: number; readonly message: string };

/** Packets by kind. */
export interface DownloadSeen {
  readonly optionAcks: number;
  readonly dataBlocks: number;
  /** Of them, those that had come before. */
  readonly duplicateBlocks: number;
  /** Of them, those that came before their turn. */
  readonly earlyBlocks: number;
  readonly requestsSent: number;
  readonly acksSent: number;
}

export type DownloadEvent =
  | { readonly kind: 'begin' }
  | { readonly kind: 'packet'; readonly packet: TftpPacket }
  | { readonly kind: 'tick' };

export type DownloadCommand =
  /** To the server's main port. */
  | { readonly kind: 'request'; readonly packet: Uint8Array }
  /** To the port that the server's first packet came from. */
  | { readonly kind: 'send'; readonly packet: Uint8Array }
  | { readonly kind: 'finish'; readonly result: DownloadResult };

type State = { readonly at: 'asking' } | { readonly at: 'receiving' } | { readonly at: 'over' };

const NOTHING: readonly DownloadCommand[] = [];

export class Download {
  readonly #settings: DownloadSettings;
  #state: State = { at: 'asking' };
  #blockBytes = BLOCK_BYTES_DEFAULT;
  #windowBlocks = 1;
  #acknowledged: TftpOptions | undefined;
  readonly #payloads: Uint8Array[] = [];
  #byteCount = 0;
  /** The block to come next, counted from 1 without end. */
  #expected = 1;
  /** Blocks since our last ACK. */
  #unacked = 0;
  /** The block for which a gap was told already. */
  #gapAt = 0;
  #newsMs = 0;
  #deadlineMs: number | undefined;
  readonly #seen = {
    optionAcks: 0,
    dataBlocks: 0,
    duplicateBlocks: 0,
    earlyBlocks: 0,
    requestsSent: 0,
    acksSent: 0,
  };

  constructor(settings: DownloadSettings) {
    this.#settings = settings;
  }

  /** When a `tick` is due; undefined once it is over. */
  get deadlineMs(): number | undefined {
    return this.#deadlineMs;
  }

  handle(event: DownloadEvent, nowMs: number): readonly DownloadCommand[] {
    if (this.#state.at === 'over') return NOTHING;
    switch (event.kind) {
      case 'begin':
        this.#newsMs = nowMs;
        return this.#ask(nowMs);
      case 'packet':
        return this.#received(event.packet, nowMs);
      case 'tick':
        return this.#tick(nowMs);
      default:
        return unreachable(event);
    }
  }

  #received(packet: TftpPacket, nowMs: number): readonly DownloadCommand[] {
    switch (packet.kind) {
      case 'oack':
        return this.#offered(packet, nowMs);
      case 'data':
        return this.#data(packet, nowMs);
      case 'error':
        return this.#finish({ outcome: 'refused', code: packet.code, message: packet.message });
      default:
        return NOTHING;
    }
  }

  #offered(packet: TftpOptionAck, nowMs: number): readonly DownloadCommand[] {
    this.#seen.optionAcks += 1;
    // Once data has come the OACK has been accepted; one that comes again before is acknowledged again.
    if (this.#expected > 1) return NOTHING;
    const blockBytes = Number(packet.options.get(OptionName.BlockSize) ?? BLOCK_BYTES_DEFAULT);
    if (!(blockBytes >= BLOCK_BYTES_MIN)) return NOTHING;
    this.#blockBytes = blockBytes;
    this.#windowBlocks = Number(packet.options.get(OptionName.WindowSize) ?? 1);
    this.#acknowledged = packet.options;
    this.#state = { at: 'receiving' };
    this.#newsMs = nowMs;
    return this.#settings.abort === 'afterOptionAck' ? this.#abort() : this.#acknowledge(nowMs);
  }

  #data({ block, payload }: TftpData, nowMs: number): readonly DownloadCommand[] {
    this.#seen.dataBlocks += 1;
    this.#state = { at: 'receiving' };
    const ahead = wireBlockOf(block - this.#expected);
    if (ahead === 0) return this.#take(payload, nowMs);
    if (ahead < BLOCK_NUMBERS / 2) {
      this.#seen.earlyBlocks += 1;
      return this.#tellGap(nowMs);
    }
    this.#seen.duplicateBlocks += 1;
    if (this.#settings.hangsOnDuplicate === true) {
      return [{ kind: 'send', packet: encodeAck(block + 1) }, ...this.#finish({ outcome: 'hung' })];
    }
    if (ahead !== BLOCK_NUMBERS - 1 || (this.#windowBlocks > 1 && this.#unacked > 0)) return NOTHING;
    // The last one acknowledged has come again. In a window an ACK out of turn makes the server begin anew: one is enough.
    return this.#windowBlocks === 1 ? this.#acknowledge(nowMs) : this.#tellGap(nowMs);
  }

  #take(payload: Uint8Array, nowMs: number): readonly DownloadCommand[] {
    this.#payloads.push(payload);
    this.#byteCount += payload.length;
    this.#expected += 1;
    this.#unacked += 1;
    this.#newsMs = nowMs;
    if (this.#settings.abort === 'afterData1') return this.#abort();
    if (payload.length < this.#blockBytes) {
      return [...this.#acknowledge(nowMs), ...this.#finish({ outcome: 'complete' })];
    }
    if (this.#byteCount > TFTP_DOWNLOAD_BYTES_MAX) return this.#finish({ outcome: 'tooLong' });
    if (this.#settings.rollsOver === false && this.#expected === BLOCK_NUMBERS) {
      return [...this.#acknowledge(nowMs), ...this.#finish({ outcome: 'outOfBlockNumbers' })];
    }
    if (this.#unacked >= this.#windowBlocks) return this.#acknowledge(nowMs);
    this.#awaitMore(nowMs);
    return NOTHING;
  }

  /** RFC 7440: a block is missing; what was received in order is acknowledged, so that the server begins anew behind it. */
  #tellGap(nowMs: number): readonly DownloadCommand[] {
    if (this.#gapAt === this.#expected) return NOTHING;
    this.#gapAt = this.#expected;
    return this.#acknowledge(nowMs);
  }

  #acknowledge(nowMs: number): readonly DownloadCommand[] {
    this.#seen.acksSent += 1;
    this.#unacked = 0;
    this.#awaitMore(nowMs);
    return [{ kind: 'send', packet: encodeAck(wireBlockOf(this.#expected - 1)) }];
  }

  #abort(): readonly DownloadCommand[] {
    const packet = encodeError(ErrorCode.NotDefined, 'Early terminate');
    return [{ kind: 'send', packet }, ...this.#finish({ outcome: 'aborted' })];
  }

  #tick(nowMs: number): readonly DownloadCommand[] {
    if (this.#deadlineMs === undefined || nowMs < this.#deadlineMs) return NOTHING;
    if (nowMs - this.#newsMs >= this.#patienceMs()) return this.#finish({ outcome: 'timeout' });
    return this.#state.at === 'asking' ? this.#ask(nowMs) : this.#acknowledge(nowMs);
  }

  #ask(nowMs: number): readonly DownloadCommand[] {
    const { path, mode = Mode.Octet, options = new Map() } = this.#settings;
    this.#seen.requestsSent += 1;
    this.#awaitMore(nowMs);
    return [{ kind: 'request', packet: encodeRequest({ kind: 'rrq', path, mode, options }) }];
  }

  #awaitMore(nowMs: number): void {
    const { requestResendMs = 2_000, ackResendMs = 2_000 } = this.#settings;
    const waitMs = this.#state.at === 'asking' ? requestResendMs : ackResendMs;
    this.#deadlineMs = Math.min(nowMs + waitMs, this.#newsMs + this.#patienceMs());
  }

  #patienceMs(): number {
    return this.#settings.patienceMs ?? 30_000;
  }

  #finish(verdict: DownloadVerdict): readonly DownloadCommand[] {
    this.#state = { at: 'over' };
    this.#deadlineMs = undefined;
    const bytes = new Uint8Array(this.#byteCount);
    let offset = 0;
    for (const payload of this.#payloads.splice(0)) {
      bytes.set(payload, offset);
      offset += payload.length;
    }
    const { ...seen } = this.#seen;
    const result = { verdict, bytes, blockCount: this.#expected - 1, acknowledged: this.#acknowledged, seen };
    return [{ kind: 'finish', result }];
  }
}
