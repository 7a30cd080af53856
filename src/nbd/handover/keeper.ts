import type { HeldConnection } from '../../os/connection-hold.js';
import type { FrozenTcp } from '../../os/tcp-repair.js';

/** Where a socket is while no process of ours has it. */
export type KeptSocket =
  /** Nowhere: it is made anew from this. */
  | { readonly kind: 'tcp'; readonly tcp: FrozenTcp }
  /** The service manager has it, under this name. */
  | { readonly kind: 'stored'; readonly name: string };

export interface Kept {
  readonly socket: KeptSocket;
  /** Bytes of the peer that had come, and nobody had read. */
  readonly received: Uint8Array;
  /** Of ours that the kernel had and did not send; they go out first. */
  readonly unsent: Uint8Array;
}

/** Who keeps connections from one process to the next. */
export interface ConnectionKeeper {
  /** Whether it does so for who comes from there. */
  keeps(peer: string): boolean;
  /** Makes sure that nothing of theirs gets lost from here on, and that nobody who comes to these ports is refused. Rejects with a sentence. */
  hold(connections: readonly HeldConnection[], ports: readonly number[]): Promise<void>;
  /** Takes a connection out of this process. Nobody reads there or writes. Throws where it can't be kept: why not. */
  keep(descriptor: number): Kept;
  /** Its descriptor, in this process. Throws where there is no such connection any more: why not. */
  fetch(socket: KeptSocket): number;
}
