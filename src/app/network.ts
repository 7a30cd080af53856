import type { Clock, Timer } from '../base/clock.js';
import { NETWORK_LOOK_MS } from '../base/limits.js';
import type { ListenerStatus } from '../boards/status.js';
import type { InterfaceVerdict, NetworkInterface } from '../os/network-interfaces.js';
import type { Listener } from './listener.js';

export interface NetworkOptions {
  /** What there is to be served now: looked at again and again. */
  readonly interfaces: () => readonly InterfaceVerdict[];
  /** What is to listen on an interface. */
  readonly listenersOn: (found: NetworkInterface) => readonly Listener[];
  /** What listens whatever the interfaces are. */
  readonly always: readonly Listener[];
  readonly clock: Clock;
}

interface Served {
  readonly found: NetworkInterface;
  readonly listeners: readonly Listener[];
}

/**
 * All listeners, kept in step with the network: it is looked at every NETWORK_LOOK_MS, since a server starts before its DHCP
 * lease, cables are pulled, and addresses change. What can't be bound is tried again each time.
 */
export class Network {
  readonly #options: NetworkOptions;
  readonly #served = new Map<string, Served>();
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

  listeners(): readonly ListenerStatus[] {
    const missing = this.#verdicts.flatMap((verdict) => {
      if (verdict.answer === 'serve') return [];
      const because =
        verdict.answer === 'missing' ? 'there is no such interface' : 'it is down, or has no IPv4 address';
      return [{ name: `interface ${verdict.name}`, missing: because }];
    });
    if (this.#verdicts.length === 0)
      missing.push({ name: 'interfaces', missing: 'none is up and has an IPv4 address' });
    return [...missing, ...this.#all().map((listener) => listener.status)];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#look;
    await Promise.all(this.#all().map((listener) => listener.stop()));
  }

  #all(): readonly Listener[] {
    return [...this.#options.always, ...[...this.#served.values()].flatMap(({ listeners }) => listeners)];
  }

  #lookAgainLater(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.after(NETWORK_LOOK_MS, () => {
      this.#look = this.#lookOnce().finally(() => this.#lookAgainLater());
    });
  }

  /** As before where the kernel can't be asked now (no descriptor left, say): that is no news of the network. */
  #seen(): readonly InterfaceVerdict[] {
    try {
      return this.#options.interfaces();
    } catch {
      return this.#verdicts;
    }
  }

  async #lookOnce(): Promise<void> {
    this.#verdicts = this.#seen();
    const found = this.#verdicts.flatMap((verdict) => (verdict.answer === 'serve' ? [verdict.interface] : []));
    for (const [name, served] of this.#served) {
      if (found.some((now) => now.name === name && isSame(now, served.found))) continue;
      this.#served.delete(name);
      await Promise.all(served.listeners.map((listener) => listener.stop()));
    }
    for (const now of found) {
      if (!this.#served.has(now.name))
        this.#served.set(now.name, { found: now, listeners: this.#options.listenersOn(now) });
    }
    if (!this.#stopped) await Promise.all(this.#all().map((listener) => listener.attempt()));
  }
}

function isSame(one: NetworkInterface, other: NetworkInterface): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
