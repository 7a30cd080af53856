import type { LaneDesk } from './lane-desk.js';
import type { LaneInput } from './lane-input.js';
import type { ReplyLine } from './reply-line.js';
import type { SyncLine } from './sync-line.js';

/** What a lane has in its hands. */
interface InHand {
  readonly input: LaneInput;
  readonly replies: ReplyLine;
  readonly syncs: SyncLine;
}

/** The main thread has taken the connection away from a lane that waited for a disk: nothing of it may be touched any more. */
export class ConnectionTaken extends Error {
  override readonly name = 'ConnectionTaken';
}

/** What may take as long as a disk does stands between `begin` and `end`. */
export class DiskWaits {
  readonly #desk: LaneDesk;
  readonly #inHand: InHand;

  constructor(desk: LaneDesk, inHand: InHand) {
    this.#desk = desk;
    this.#inHand = inHand;
  }

  begin(record: number): void {
    const { input, replies, syncs } = this.#inHand;
    this.#desk.beginWait(record, input.at, input.end, replies.length, syncs.length);
  }

  /** Throws ConnectionTaken. What others wait for in between is to be over by then. */
  end(record: number): void {
    if (!this.#desk.endWait(record)) throw new ConnectionTaken();
  }

  /** Nothing of the connection that it was at is in its hands any more. */
  forget(): void {
    const { input, replies, syncs } = this.#inHand;
    for (const each of [input, replies, syncs]) each.forget();
    this.#desk.clear();
  }
}
