import { closeSync } from 'node:fs';
import type { ConnectionKeeper } from '../../src/nbd/handover/keeper.js';
import { duplicate } from '../../src/os/stream-calls.js';

/** Keeps connections for the next server of this very process, so that nobody has to be root. */
export class OwnKeeper implements ConnectionKeeper {
  readonly #kept = new Map<string, number>();
  holds = 0;

  keeps(): boolean {
    return true;
  }

  async keepOut(): Promise<boolean> {
    return true;
  }

  async hold(): Promise<void> {
    this.holds += 1;
  }

  keep(descriptor: number) {
    const name = `connection ${this.#kept.size}`;
    this.#kept.set(name, duplicate(descriptor) ?? -1);
    closeSync(descriptor);
    return { socket: { kind: 'stored', name } as const, received: new Uint8Array(0), unsent: new Uint8Array(0) };
  }

  fetch(socket: Parameters<ConnectionKeeper['fetch']>[0]): number {
    const descriptor = socket.kind === 'stored' ? this.#kept.get(socket.name) : undefined;
    if (descriptor === undefined) throw new Error('nobody has kept it');
    return descriptor;
  }
}
