/** What the TFTP server says about its transfers: to the boards' journal, and to the log. */
import type { Clock } from '../base/clock.js';
import { TFTP_NOT_FOUND_LOG_MS, TFTP_NOT_FOUND_PEERS_MAX } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { RecentMap } from '../base/recent-map.js';
import { unreachable } from '../base/unreachable.js';
import type { BootFileRole } from '../boards/boot-files/boot-file.js';
import type { TellBoardEvent, TransferOutcome } from '../boards/journal/events.js';

export interface EndedTransfer {
  readonly board: string | undefined;
  readonly peer: string;
  /** Printable. */
  readonly path: string;
  readonly role: BootFileRole | undefined;
  readonly outcome: TransferOutcome;
  readonly because: string | undefined;
  readonly sizeBytes: number | undefined;
  readonly sentBytes: number;
  readonly durationMs: number;
}

export interface ReporterWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly tell: TellBoardEvent;
}

export class TransferReporter {
  readonly #world: ReporterWorld;
  readonly #notFound = new RecentMap<string, { readonly sinceMs: number; unsaidCount: number }>(
    TFTP_NOT_FOUND_PEERS_MAX,
  );

  constructor(world: ReporterWorld) {
    this.#world = world;
  }

  requested(board: string, peer: string, path: string): void {
    this.#world.tell({ kind: 'bootFileRequested', board, peer, path });
  }

  ended(transfer: EndedTransfer): void {
    const { because, ...facts } = transfer;
    this.#world.tell({ kind: 'transferEnded', ...facts, ...(because === undefined ? {} : { because }) });
    this.#say(transfer);
  }

  /** A throw that nobody foresaw: it ended one transfer. */
  bug(error: unknown): void {
    this.#world.log.error({ err: error }, 'tftp.bug');
  }

  socketFailed(address: string, error: Error): void {
    this.#world.log.warn({ address, err: error }, 'tftp.socket.failed');
  }

  #say(transfer: EndedTransfer): void {
    const { log } = this.#world;
    switch (transfer.outcome) {
      case 'complete':
        log.info(transfer, 'tftp.transfer.finished');
        break;
      case 'probe':
        log.debug(transfer, 'tftp.transfer.probed');
        break;
      case 'not_found':
        this.#sayNotFound(transfer);
        break;
      case 'timeout':
        log.info(transfer, 'tftp.transfer.timed_out');
        break;
      case 'error':
        log.warn(transfer, 'tftp.transfer.failed');
        break;
      default:
        unreachable(transfer.outcome);
    }
  }

  /** The first of a peer at once, then one line in TFTP_NOT_FOUND_LOG_MS that says how many were left out. */
  #sayNotFound(transfer: EndedTransfer): void {
    const nowMs = this.#world.clock.nowMs();
    const said = this.#notFound.get(transfer.peer);
    if (said !== undefined && nowMs - said.sinceMs < TFTP_NOT_FOUND_LOG_MS) {
      said.unsaidCount += 1;
      return;
    }
    const unsaid = said === undefined || said.unsaidCount === 0 ? {} : { unsaidCount: said.unsaidCount };
    this.#world.log.debug({ ...transfer, ...unsaid }, 'tftp.transfer.not_found');
    this.#notFound.set(transfer.peer, { sinceMs: nowMs, unsaidCount: 0 });
  }
}
