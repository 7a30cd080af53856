import { isOnThisHost } from '../../base/addresses.js';
import { type DescriptorStore, socketCookie } from '../../os/descriptor-store.js';
import type { HandedDescriptor } from '../../os/handed-descriptors.js';
import { closeDescriptor } from '../../os/stream-calls.js';
import { resetConnection } from '../../os/tcp-probe.js';
import { CannotKeep, type ConnectionKeeper, type Kept, type KeptSocket } from './keeper.js';

/** What came back from the store, and nobody has asked for. */
export interface Unclaimed {
  readonly name: string;
  readonly because: string;
}

/** Whether it is the name of a connection that one of us has left with the service manager. */
export function isStoredName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/**
 * Keeps connections with their sockets, by a service manager that holds them open while we are away. The kernel goes on meanwhile: it
 * acknowledges what comes until there is no room for more, and who comes anew is refused.
 */
export class StoreKeeper implements ConnectionKeeper {
  readonly #store: DescriptorStore | undefined;
  /** Of the process before us, as long as nobody has asked for it. */
  readonly #handed = new Map<string, number>();
  /** Names that it need not keep any more. */
  readonly #done = new Set<string>();
  readonly #refused: Unclaimed[] = [];
  #keptCount = 0;

  /** `handed`: what came back, under names of ours. It is this keeper's to close. */
  constructor(store: DescriptorStore | undefined, handed: readonly HandedDescriptor[]) {
    this.#store = store;
    for (const { name, descriptor } of handed) this.#take(name, descriptor);
  }

  /** How many connections it could keep; undefined: none, there is nobody who would. */
  get max(): number | undefined {
    return this.#store?.max;
  }

  /** As TcpKeeper: a process on this host is a tool, and sees the connection end. */
  keeps(peer: string): boolean {
    return !isOnThisHost(peer);
  }

  async keepOut(): Promise<boolean> {
    return false;
  }

  async hold(): Promise<void> {}

  keep(descriptor: number): Kept {
    const name = nameOf(descriptor);
    if (this.#store === undefined || name === undefined) throw new CannotKeep('nobody is there to keep it');
    if (this.#keptCount >= this.#store.max) {
      throw new CannotKeep(`systemd keeps no more than ${this.#store.max} (FileDescriptorStoreMax= in the unit)`);
    }
    if (!this.#store.keep(name, descriptor))
      throw new CannotKeep('systemd could not be told to keep it: it does not answer');
    this.#keptCount += 1;
    return { socket: { kind: 'stored', name }, received: NOTHING, unsent: NOTHING };
  }

  fetch(socket: KeptSocket): number {
    if (socket.kind !== 'stored') throw new CannotKeep('it was kept by TCP_REPAIR, which this process may not use');
    const descriptor = this.#handed.get(socket.name);
    this.#handed.delete(socket.name);
    if (descriptor === undefined) {
      throw new CannotKeep('systemd has not kept it: it does so over a restart, and not over a stop and a start');
    }
    return descriptor;
  }

  /** Ends those that nobody asked for, and has them all forgotten. */
  async empty(): Promise<{ readonly unclaimed: readonly Unclaimed[]; readonly isEmpty: boolean }> {
    const unclaimed = [
      ...this.#refused.splice(0),
      ...[...this.#handed.keys()].map((name) => ({ name, because: UNKNOWN })),
    ];
    for (const descriptor of this.#handed.values()) resetConnection(descriptor);
    this.#handed.clear();
    if (this.#done.size === 0) return { unclaimed, isEmpty: true };
    const left = [...this.#done].filter((name) => this.#store?.forget(name) !== true);
    const isSettled = (await this.#store?.settled()) === true;
    return { unclaimed, isEmpty: left.length === 0 && isSettled };
  }

  /** All that was to be kept is, whatever becomes of us. False if nobody says so. */
  async settled(): Promise<boolean> {
    return this.#keptCount === 0 || (await this.#store?.settled()) === true;
  }

  #take(name: string, descriptor: number): void {
    this.#done.add(name);
    const itsName = nameOf(descriptor);
    if (itsName === name && !this.#handed.has(name)) {
      this.#handed.set(name, descriptor);
      return;
    }
    this.#refused.push({ name, because: 'it is not the connection that was left there' });
    // What is no socket is left open: it may be anything, and ours.
    if (itsName !== undefined) closeDescriptor(descriptor);
  }
}

/** No unit is called so, whose sockets have its name where nobody has given them another. */
const PREFIX = 'board-connection-';
const NOTHING = new Uint8Array(0);
const UNKNOWN = 'nothing is written of it: its peer is told that it is over';

/** By the kernel's own number, so that no two have the same, and one that is left there twice is there once. */
function nameOf(descriptor: number): string | undefined {
  const cookie = socketCookie(descriptor);
  return cookie === undefined ? undefined : `${PREFIX}${cookie}`;
}
