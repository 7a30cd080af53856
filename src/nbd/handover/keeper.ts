import { codeOf, messageOf } from '../../base/errors.js';
import { Malformed } from '../../base/malformed.js';
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

/** A connection can't be kept, or gone on with: the message is a sentence that says why. */
export class CannotKeep extends Error {
  override readonly name = 'CannotKeep';
}

/** Whether it is for the board's people to know, and no bug of ours. */
export function isRefusal(error: unknown): boolean {
  return error instanceof CannotKeep || error instanceof Malformed || codeOf(error) !== undefined;
}

/** For people; what is a bug of ours is told as one too. */
export function reasonOf(error: unknown, bug: (error: unknown) => void): string {
  if (!isRefusal(error)) bug(error);
  return messageOf(error);
}

/** Who keeps connections from one process to the next. */
export interface ConnectionKeeper {
  /** Whether it does so for who comes from there. */
  keeps(peer: string): boolean;
  /** Has whoever comes to these ports wait from here on; false where that can't be, and they had better be refused. */
  keepOut(ports: readonly number[]): Promise<boolean>;
  /** Makes sure that nothing of theirs gets lost from here on, and that nobody who comes to these ports is refused. Rejects with the same. */
  hold(connections: readonly HeldConnection[], ports: readonly number[]): Promise<void>;
  /** Takes a connection out of this process. Nobody reads there or writes. Throws what `isRefusal` knows where it can't be kept. */
  keep(descriptor: number): Kept;
  /** Its descriptor, in this process. Throws the same where there is no such connection any more. */
  fetch(socket: KeptSocket): number;
}
