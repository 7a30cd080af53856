/** One RRQ, from its arrival to the end of the transfer it led to. */
import type { Ipv4Address } from '../base/addresses.js';
import type { Clock } from '../base/clock.js';
import { TFTP_BEGUN_ANEW_MS } from '../base/limits.js';
import { printable } from '../base/printable.js';
import type { Board } from '../boards/board.js';
import type { BootFile, OpenVerdict } from '../boards/boot-files/boot-file.js';
import type { TransferOutcome } from '../boards/journal/events.js';
import type { Carrier, RunningDelivery } from './carrier.js';
import { ErrorCode } from './constants.js';
import type { DeliveryEnd } from './delivery.js';
import { negotiate, type TransferLimits } from './options.js';
import type { TransferReporter } from './reporter.js';
import type { RunningRequest } from './running-requests.js';
import type { Endpoint } from './udp-socket.js';
import type { TftpPacket, TftpRequest } from './wire.js';

export interface BootRequestSettings {
  readonly key: string;
  readonly peer: Endpoint;
  readonly request: TftpRequest;
  readonly board: Board;
  /** Within the board's boot files. */
  readonly path: string;
  /** Our address that the request came to. */
  readonly askedAt: Ipv4Address;
  readonly limits: TransferLimits;
  readonly clock: Clock;
  readonly reporter: TransferReporter;
  /** An ERROR from the main port: nothing else of the request is there yet. */
  readonly refuse: (code: number, message: string) => void;
  readonly carrier: Carrier;
  readonly answers: (peer: Ipv4Address) => boolean;
  /** The peer has shown that it is where it says it is. */
  readonly known: () => void;
  /** The peer hears of it from now on. */
  readonly begun: (request: BootRequest) => void;
  /** It is over, and nothing of it is left. */
  readonly gone: (request: BootRequest) => void;
}

type State =
  /** The file is being opened, which can't be called back. */
  | { readonly at: 'opening' }
  | { readonly at: 'delivering'; readonly delivery: RunningDelivery }
  | { readonly at: 'over' };

export class BootRequest implements RunningRequest {
  readonly #settings: BootRequestSettings;
  readonly #startedMs: number;
  #state: State = { at: 'opening' };

  constructor(settings: BootRequestSettings) {
    this.#settings = settings;
    this.#startedMs = settings.clock.nowMs();
  }

  get key(): string {
    return this.#settings.key;
  }

  get peerAddress(): string {
    return this.#settings.peer.address;
  }

  get standing(): RunningRequest['standing'] {
    if (this.#state.at !== 'delivering') return 'opening';
    return this.#state.delivery.confirmed ? 'confirmed' : 'unconfirmed';
  }

  get quietSinceMs(): number {
    return this.#state.at === 'delivering' ? this.#state.delivery.quietSinceMs : this.#startedMs;
  }

  /** Never rejects. */
  async open(): Promise<void> {
    try {
      const { board, path, askedAt } = this.#settings;
      const verdict = await board.bootFiles.open(path, { askedAt });
      this.#opened(verdict);
    } catch (error) {
      this.#settings.reporter.bug(error);
      if (this.#state.at === 'opening') this.#refuse('error', ErrorCode.NotDefined, 'internal error');
    }
    if (this.#state.at === 'over') this.#settings.gone(this);
  }

  /** From the peer, at the main port. */
  packet(packet: TftpPacket): void {
    if (this.#state.at !== 'delivering') return;
    if (packet.kind === 'ack' || packet.kind === 'error') this.#state.delivery.handle(packet);
  }

  /**
   * The peer sent an RRQ from the same port again: `repeated` if it means this one, of which there is nothing more to do;
   * `anew` if it has left this one behind.
   */
  askedAgain(request: TftpRequest): 'repeated' | 'anew' {
    if (this.#state.at !== 'delivering') return 'repeated';
    const { delivery } = this.#state;
    const quietMs = this.#settings.clock.nowMs() - delivery.quietSinceMs;
    const begunAnew = delivery.confirmed && quietMs >= TFTP_BEGUN_ANEW_MS;
    if (request.path !== this.#settings.request.path || begunAnew) return 'anew';
    delivery.handle({ kind: 'askedAgain' });
    return 'repeated';
  }

  /** Its place is free at once, even if whoever delivers it hears of it a little later. */
  abandon(because: string): void {
    if (this.#state.at !== 'delivering') return;
    this.#state.delivery.handle({ kind: 'abandon', because });
    this.#settings.gone(this);
  }

  stop(because: string): void {
    if (this.#state.at === 'delivering') this.#state.delivery.handle({ kind: 'stop', because });
    else if (this.#state.at === 'opening') this.#refuse('error', ErrorCode.NotDefined, because);
  }

  #opened(verdict: OpenVerdict): void {
    if (verdict.answer === 'file') this.#deliver(verdict.file);
    else if (this.#state.at === 'over') return;
    else if (verdict.answer === 'failed') this.#refuse('error', ErrorCode.NotDefined, verdict.because);
    else this.#refuse('not_found', ErrorCode.FileNotFound, 'file not found');
  }

  #deliver(file: BootFile): void {
    if (this.#state.at === 'over') {
      file.close();
      return;
    }
    const { board, request, path, limits, peer: to, askedAt: from, carrier, answers, reporter } = this.#settings;
    reporter.requested(board.name, to.address, printable(path));
    const agreement = negotiate(request.options, request.mode, file.sizeBytes, limits);
    const delivery = carrier.deliver({
      ...{ file, mode: request.mode, agreement, from, to, answers },
      ended: (end) => this.#ended(end, file),
      noPort: (because) => this.#noPort(because, file),
    });
    if (this.#state.at !== 'opening') return;
    this.#state = { at: 'delivering', delivery };
    this.#settings.begun(this);
  }

  #ended(end: DeliveryEnd, file: BootFile): void {
    if (this.standing === 'confirmed') this.#settings.known();
    if (end.bug !== undefined) this.#settings.reporter.bug(end.bug);
    this.#state = { at: 'over' };
    this.#report(end.outcome, end.because, file, end.sentBytes);
    this.#settings.gone(this);
  }

  #noPort(because: string, file: BootFile): void {
    this.#refuse('error', ErrorCode.NotDefined, `no port for the transfer: ${because}`, file);
    this.#settings.gone(this);
  }

  #refuse(outcome: TransferOutcome, code: number, message: string, file?: BootFile): void {
    this.#state = { at: 'over' };
    this.#settings.refuse(code, message);
    this.#report(outcome, outcome === 'not_found' ? undefined : message, file, 0);
  }

  #report(outcome: TransferOutcome, because: string | undefined, file: BootFile | undefined, sentBytes: number): void {
    const { board, peer, path, clock, reporter } = this.#settings;
    const durationMs = Math.round(clock.nowMs() - this.#startedMs);
    const facts = { board: board.name, peer: peer.address, path: printable(path), outcome, because };
    reporter.ended({ ...facts, role: file?.role, sizeBytes: file?.sizeBytes, sentBytes, durationMs });
  }
}
