import { isOnThisHost } from '../../base/addresses.js';
import { codeOf } from '../../base/errors.js';
import type { ConnectionHold, HeldConnection } from '../../os/connection-hold.js';
import { freezeTcp, NotEstablished, thawTcp } from '../../os/tcp-repair.js';
import { CannotKeep, type ConnectionKeeper, type Kept, type KeptSocket } from './keeper.js';

/** Keeps connections without a socket: the kernel's part of them is in the file, and rules of the packet filter stand in for it. */
export class TcpKeeper implements ConnectionKeeper {
  readonly #hold: ConnectionHold;
  readonly #seconds: number;

  /** `seconds`: for how long they are kept, should nobody come. */
  constructor(hold: ConnectionHold, seconds: number) {
    this.#hold = hold;
    this.#seconds = seconds;
  }

  /** A process on this host is a tool, and no board: the host's packet filter is left alone for it. */
  keeps(peer: string): boolean {
    return !isOnThisHost(peer);
  }

  async keepOut(ports: readonly number[]): Promise<boolean> {
    await this.#hold.hold({ connections: [], ports, seconds: this.#seconds });
    return true;
  }

  /** Once more where it takes too long: all boards hang on it. */
  async hold(connections: readonly HeldConnection[], ports: readonly number[]): Promise<void> {
    const held = { connections, ports, seconds: this.#seconds };
    await this.#hold.hold(held).catch(() => this.#hold.hold(held));
  }

  keep(descriptor: number): Kept {
    try {
      const { tcp, received } = freezeTcp(descriptor);
      return { socket: { kind: 'tcp', tcp }, received, unsent: tcp.unsent };
    } catch (error) {
      throw error instanceof NotEstablished ? new CannotKeep(error.message) : error;
    }
  }

  fetch(socket: KeptSocket): number {
    if (socket.kind !== 'tcp') throw new CannotKeep('the service manager was to keep it, and has not handed it over');
    try {
      return thawTcp(socket.tcp);
    } catch (error) {
      if (codeOf(error) !== 'EADDRNOTAVAIL') throw error;
      throw new CannotKeep('this host has no longer, or not yet, the address that its board knows of the server');
    }
  }
}
