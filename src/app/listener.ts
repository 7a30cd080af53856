import type { Log } from '../base/log.js';
import type { ListenerStatus } from '../boards/journal/status.js';

/** Something that listens, or tries to: a port may be taken now and free in a minute, and nothing else should wait for it. */
export class Listener {
  readonly name: string;
  readonly #start: () => Promise<Stoppable>;
  readonly #log: Log;
  #state: ListenerState = { at: 'missing', because: 'not started yet' };

  /** `start` binds, or throws what Node or the kernel said. */
  constructor(name: string, start: () => Promise<Stoppable>, log: Log) {
    this.name = name;
    this.#start = start;
    this.#log = log;
  }

  get status(): ListenerStatus {
    return { name: this.name, missing: this.#state.at === 'missing' ? this.#state.because : undefined };
  }

  /** Tries to bind if it is not bound. What keeps it from that is logged when it changes, not at each try. */
  async attempt(): Promise<void> {
    if (this.#state.at !== 'missing') return;
    const before = this.#state.because;
    try {
      this.#state = { at: 'bound', listener: await this.#start() };
      this.#log.info({ listener: this.name }, 'listener.ready');
    } catch (error) {
      const because = explainBindFailure(error);
      this.#state = { at: 'missing', because };
      if (because !== before) this.#log.error({ listener: this.name, because }, 'listener.missing');
    }
  }

  async stop(): Promise<void> {
    const state = this.#state;
    this.#state = { at: 'stopped' };
    if (state.at !== 'bound') return;
    try {
      await state.listener.stop();
    } catch (error) {
      // One that can't be stopped must not keep the others from it.
      this.#log.error({ listener: this.name, err: error }, 'listener.bug');
    }
  }
}

export interface Stoppable {
  stop(): Promise<void>;
}

type ListenerState =
  | { readonly at: 'missing'; readonly because: string }
  | { readonly at: 'bound'; readonly listener: Stoppable }
  | { readonly at: 'stopped' };

/** What the kernel said, with what to do about it. */
export function explainBindFailure(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE')
    return `${message}: another program has this port (see \`ss -lntup\`); stop it, or set another port`;
  if (code === 'EACCES') return `${message}: ports below 1024 need root or CAP_NET_BIND_SERVICE`;
  if (code === 'EADDRNOTAVAIL') return `${message}: this address is on no interface`;
  return message;
}
