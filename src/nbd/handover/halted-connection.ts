import { endsOf } from '../../os/connection-ends.js';
import type { HeldConnection } from '../../os/connection-hold.js';
import { sendNow, unacknowledgedBytes } from '../../os/tcp-repair.js';
import type { ServedDisk } from '../served-disk.js';
import type { Outbox } from '../session/outbox.js';
import type { ByteQueue } from '../wire/byte-queue.js';
import type { BegunPayload } from '../wire/framing.js';
import type { FrozenConnection } from './frozen-connection.js';
import type { HeldReplies } from './held-replies.js';
import { CannotKeep, type ConnectionKeeper } from './keeper.js';

export interface HaltedParts {
  readonly descriptor: number;
  readonly replies: HeldReplies;
  readonly disk: ServedDisk;
  readonly outbox: Outbox;
  /** What came and was not looked at. */
  readonly queue: ByteQueue;
  readonly begun: BegunPayload | undefined;
  readonly isBusy: boolean;
  /** It was closed meanwhile: its disk was taken from it. */
  readonly isOver: () => boolean;
}

/** `over`: its client has left, and there is nothing to be lost. */
export type HaltVerdict =
  | { readonly answer: 'halted'; readonly connection: HaltedConnection }
  | { readonly answer: 'over' }
  | { readonly answer: 'stuck'; readonly because: string };

/** A connection that nobody reads from any more. What was read before goes on to be done, as long as there is time for it. */
export class HaltedConnection {
  readonly board: string;
  readonly peer: string;
  /** A thread of ours is still in a call for it. */
  readonly isBusy: boolean;
  readonly #parts: HaltedParts;

  constructor(parts: HaltedParts) {
    this.#parts = parts;
    const { board, user } = parts.disk.use;
    this.board = board.name;
    this.peer = user.peerAddress;
    this.isBusy = parts.isBusy;
  }

  /** Undefined where it is none of the network. */
  get ends(): HeldConnection | undefined {
    return endsOf(this.#parts.descriptor);
  }

  /** Replies that the kernel has, and the peer has not. */
  get unacknowledgedBytes(): number {
    return unacknowledgedBytes(this.#parts.descriptor);
  }

  /** Resolves when all that was read is answered. */
  settled(): Promise<void> {
    return this.#parts.disk.settled();
  }

  /** What was answered meanwhile goes out, as far as the kernel takes it. */
  sendReplies(): void {
    const { replies, descriptor } = this.#parts;
    replies.sendOn((bytes) => sendNow(descriptor, bytes));
  }

  /**
   * Takes it out of this process, at one instant: a request of which nobody is answered before is done by who comes next, whatever
   * becomes of it here. Throws where it can't be: why not.
   */
  freeze(keeper: ConnectionKeeper): FrozenConnection {
    const { descriptor, replies, disk, outbox, queue, begun, isOver } = this.#parts;
    if (isOver()) throw new CannotKeep('it was closed just then');
    if (!disk.isBetweenReplies)
      throw new CannotKeep('it is in the middle of a reply, and its disk or its peer holds that up');
    outbox.passBy();
    const { socket, received, unsent } = keeper.keep(descriptor);
    const input = Buffer.concat([queue.take(queue.length) ?? new Uint8Array(0), received]);
    const { replies: form, tellsAllocation } = disk.use.terms;
    return {
      ...{ board: this.board, peer: this.peer, terms: { replies: form, tellsAllocation } },
      ...{ socket, input, begun, unanswered: disk.unanswered() },
      unsent: Buffer.concat([unsent, replies.seal()]),
    };
  }
}
