import type { Clock, Timer } from '../base/clock.js';
import { NETWORK_ABSENCES_MAX, NETWORK_LOOK_MS } from '../base/limits.js';
import type { ListenerStatus } from '../boards/journal/status.js';
import type { InterfaceVerdict, NetworkInterface } from '../os/network-interfaces.js';
import type { Listener } from './listener.js';

export interface NetworkOptions {
  /** What there is to be served now: looked at again and again. */
  readonly interfaces: () => readonly InterfaceVerdict[];
  /** What is to listen on an interface. Listeners of one identity are the same: the first that was made stays. */
  readonly listenersOn: (found: NetworkInterface) => readonly Listener[];
  /** What listens whatever the interfaces are. */
  readonly always: readonly Listener[];
  readonly clock: Clock;
  /** Told after each look what is missing. */
  readonly looked: (missing: readonly ListenerStatus[]) => void;
}

interface Kept {
  readonly listener: Listener;
  /** Looks in a row that did not find its interface or address. */
  absences: number;
}

/**
 * All listeners, kept in step with the network: it is looked at every NETWORK_LOOK_MS, since a server starts before its DHCP
 * lease, cables are pulled, and addresses change. What can't be bound is tried again each time; what is gone is let go only
 * after NETWORK_ABSENCES_MAX looks, as sockets outlive a cable that is put back.
 */
export class Network {
  readonly #options: NetworkOptions;
  /** By their slots. */
  readonly #kept = new Map<string, Kept>();
  /** Being stopped, which may take a transfer's grace: no look waits for it. */
  readonly #leaving = new Set<Promise<void>>();
  #verdicts: readonly InterfaceVerdict[] = [];
  #look: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** Resolves after the first look: what can be bound is bound. */
  async start(): Promise<void> {
    this.#look = this.#lookOnce();
    await this.#look;
    this.#lookAgainLater();
  }

  /** Before its time: what is to be listened on may be another. */
  async look(): Promise<void> {
    if (this.#stopped) return;
    this.#look = this.#look.then(() => this.#lookOnce());
    await this.#look;
  }

  listeners(): readonly ListenerStatus[] {
    const missing = this.#verdicts.flatMap((verdict) => {
      if (verdict.answer === 'serve') return [];
      return [{ name: `interface ${verdict.name}`, missing: whyNotServed(verdict) }];
    });
    const none = this.#verdicts.length === 0 ? [{ name: 'interfaces', missing: NONE_READY }] : [];
    return [...none, ...missing, ...this.#all().map((listener) => listener.status)];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#look;
    await Promise.all([...this.#all().map((listener) => listener.stop()), ...this.#leaving]);
  }

  #all(): readonly Listener[] {
    return [...this.#options.always, ...[...this.#kept.values()].map(({ listener }) => listener)];
  }

  #lookAgainLater(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.after(NETWORK_LOOK_MS, () => {
      this.#look = this.#look.then(() => this.#lookOnce()).finally(() => this.#lookAgainLater());
    });
  }

  async #lookOnce(): Promise<void> {
    this.#verdicts = this.#seen();
    const found = this.#verdicts.flatMap((verdict) => (verdict.answer === 'serve' ? [verdict.interface] : []));
    const wanted = new Map(
      found.flatMap((now) => this.#options.listenersOn(now)).map((listener) => [listener.place.slot, listener]),
    );
    for (const [slot, listener] of wanted) this.#keep(slot, listener);
    this.#letGo((slot) => !wanted.has(slot));
    if (this.#stopped) return;
    await Promise.all(this.#all().map((listener) => listener.attempt()));
    this.#options.looked(this.listeners().filter(({ missing }) => missing !== undefined));
  }

  #keep(slot: string, listener: Listener): void {
    const kept = this.#kept.get(slot);
    if (kept?.listener.place.identity === listener.place.identity) {
      kept.absences = 0;
      return;
    }
    if (kept !== undefined) this.#leave(kept.listener);
    this.#kept.set(slot, { listener, absences: 0 });
  }

  #letGo(isAbsent: (slot: string) => boolean): void {
    for (const [slot, kept] of this.#kept) {
      if (!isAbsent(slot)) continue;
      kept.absences += 1;
      if (kept.absences <= NETWORK_ABSENCES_MAX) continue;
      this.#kept.delete(slot);
      this.#leave(kept.listener);
    }
  }

  #leave(listener: Listener): void {
    const leaving = listener.stop().finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  /** As before where the kernel can't be asked now (no descriptor left, say): that is no news of the network. */
  #seen(): readonly InterfaceVerdict[] {
    try {
      return this.#options.interfaces();
    } catch {
      return this.#verdicts;
    }
  }
}

/** For people; the name of the interface stands in front of it. */
export function whyNotServed({ answer }: Exclude<InterfaceVerdict, { answer: 'serve' }>): string {
  return answer === 'missing' ? 'there is no such interface' : 'it is down, has no cable, or no IPv4 address';
}

const NONE_READY = 'none is up and has an IPv4 address';
