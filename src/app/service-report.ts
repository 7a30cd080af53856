import { type Clock, systemUptimeMs } from '../base/clock.js';
import { SERVICE_STATUS_NAMES_MAX } from '../base/limits.js';
import type { ServiceManager } from '../os/service-manager.js';

type ToldManager = Pick<ServiceManager, 'watchdogMs' | 'tell'>;

/**
 * Keeps the service manager told: that all is started, in a sentence how things are, and that we live. The last by a timer of the
 * event loop: where that stalls, nothing is told, and the manager does what it is there for.
 */
export class ServiceReport {
  readonly #manager: ToldManager;
  readonly #clock: Clock;
  #isReady = false;
  #readyTaken = false;
  #isStopping = false;
  #told: string | undefined;

  constructor(manager: ToldManager, clock: Clock) {
    this.#manager = manager;
    this.#clock = clock;
    if (manager.watchdogMs !== undefined) this.#live(manager.watchdogMs / 2);
  }

  /** From now on the sentence goes with READY=1 until that was taken. */
  ready(status: string): void {
    this.#isReady = true;
    this.#told = undefined;
    this.look(status);
  }

  /** Told as often as one likes: what is no news, or was taken already, is not sent again. */
  look(status: string): void {
    if (this.#isStopping || status === this.#told) return;
    const kind = this.#isReady && !this.#readyTaken ? 'ready' : 'status';
    if (!this.#manager.tell({ kind, status })) return;
    if (kind === 'ready') this.#readyTaken = true;
    this.#told = status;
  }

  /** The inventory is being read again. */
  reloading(): void {
    if (this.#isStopping || !this.#isReady) return;
    this.#manager.tell({ kind: 'reloading', monotonicUs: BigInt(Math.floor(systemUptimeMs() * 1000)) });
  }

  reloaded(status: string): void {
    if (this.#isStopping || !this.#isReady) return;
    this.#readyTaken = false;
    this.ready(status);
  }

  stopping(status: string): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#manager.tell({ kind: 'stopping', status });
  }

  #live(everyMs: number): void {
    this.#manager.tell({ kind: 'alive' });
    this.#clock.after(everyMs, () => this.#live(everyMs));
  }
}

/** `2 of 5 boards attached: node1, node2; missing: http 0.0.0.0 port 9069`. */
export function statusSentence(boardCount: number, attached: readonly string[], missing: readonly string[]): string {
  const boards = `${attached.length} of ${boardCount} boards attached${attached.length === 0 ? '' : `: ${someOf(attached)}`}`;
  return missing.length === 0 ? boards : `${boards}; missing: ${someOf(missing)}`;
}

export function stopSentence(attached: readonly string[]): string {
  return attached.length === 0
    ? 'stopping; no board is attached'
    : `stopping; the disks of ${someOf(attached)} go away`;
}

function someOf(names: readonly string[]): string {
  const more = names.length - SERVICE_STATUS_NAMES_MAX;
  const some = names.slice(0, SERVICE_STATUS_NAMES_MAX).join(', ');
  return more > 0 ? `${some} and ${more} more` : some;
}
