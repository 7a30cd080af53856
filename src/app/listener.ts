import { codeOf, messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { ListenerStatus } from '../boards/journal/status.js';
import { withBindAdvice } from '../os/bind-advice.js';

/** Something that listens, or tries to: a port may be taken now and free in a minute, and nothing else should wait for it. */
export class Listener {
  readonly name: string;
  readonly #start: () => Promise<Stoppable>;
  readonly #log: Log;
  readonly place: ListenerPlace;
  #state: ListenerState = { at: 'missing', because: 'not started yet' };

  /** `start` binds, or throws what Node or the kernel said. */
  constructor(
    name: string,
    start: () => Promise<Stoppable>,
    log: Log,
    place: ListenerPlace = { slot: name, identity: name },
  ) {
    this.name = name;
    this.place = place;
    this.#start = start;
    this.#log = log;
  }

  get status(): ListenerStatus {
    return { name: this.name, missing: this.#missing() };
  }

  /**
   * Tries to bind if it is not bound, or no longer: a socket may fail long after. What keeps it from that is logged when it
   * changes, not at each try.
   */
  async attempt(): Promise<void> {
    await this.#letGoIfFailed();
    if (this.#state.at !== 'missing') return;
    const before = this.#state.because;
    try {
      const listener = await this.#start();
      if (this.#isStopped()) return await this.#stop(listener);
      this.#state = { at: 'bound', listener };
      this.#log.info({ listener: this.name }, 'listener.ready');
    } catch (error) {
      if (this.#isStopped()) return;
      const because = explainBindFailure(error, this.place.service);
      this.#state = { at: 'missing', because };
      if (because !== before) this.#log.error({ listener: this.name, because }, 'listener.missing');
    }
  }

  async stop(): Promise<void> {
    const state = this.#state;
    this.#state = { at: 'stopped' };
    if (state.at === 'bound') await this.#stop(state.listener);
  }

  async #letGoIfFailed(): Promise<void> {
    const state = this.#state;
    if (state.at !== 'bound') return;
    const because = state.listener.failure?.();
    if (because === undefined) return;
    this.#log.warn({ listener: this.name, because }, 'listener.failed');
    this.#state = { at: 'missing', because };
    await this.#stop(state.listener);
  }

  #missing(): string | undefined {
    if (this.#state.at === 'missing') return this.#state.because;
    return this.#state.at === 'bound' ? this.#state.listener.failure?.() : undefined;
  }

  #isStopped(): boolean {
    return this.#state.at === 'stopped';
  }

  async #stop(listener: Stoppable): Promise<void> {
    try {
      await listener.stop();
    } catch (error) {
      // One that can't be stopped must not keep the others from it.
      this.#log.error({ listener: this.name, err: error }, 'listener.bug');
    }
  }
}

export interface Stoppable {
  stop(): Promise<void>;
  /** Why it listens no more although nobody stopped it: it is then stopped, and started anew. */
  failure?(): string | undefined;
}

/**
 * What it listens on, where its name does not say that: of one slot there is one at a time, and one of another identity
 * replaces it at once.
 */
export interface ListenerPlace {
  readonly slot: string;
  readonly identity: string;
  /** Said where it makes a difference to what one can do. */
  readonly service?: 'tftp';
}

type ListenerState =
  | { readonly at: 'missing'; readonly because: string }
  | { readonly at: 'bound'; readonly listener: Stoppable }
  | { readonly at: 'stopped' };

/** For people. `service`: where its ports are not for us to choose. */
export function explainBindFailure(error: unknown, service?: 'tftp'): string {
  const message = messageOf(error);
  const code = codeOf(error);
  return typeof code === 'string' ? withBindAdvice(message, code, service) : message;
}
