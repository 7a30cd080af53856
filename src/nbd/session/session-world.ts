import type { Budget } from '../../base/budget.js';
import type { Clock } from '../../base/clock.js';
import type { Log } from '../../base/log.js';
import type { BlockDevice } from '../../block/block-device.js';
import type { NbdMeter } from '../meter.js';
import type { BufferPool } from './buffer-pool.js';
import type { Outbox } from './outbox.js';
import type { ReplyForm } from './reply-form.js';
import type { TurnBudget } from './turn-budget.js';

/** What a connection gives the requests of its client, and wants to hear of them. */
export interface SessionWorld {
  /** Name of the board whose disk it is. */
  readonly board: string;
  readonly device: BlockDevice;
  /** For payloads that wait for space, of all connections. */
  readonly heldMemory: Budget;
  readonly outbox: Outbox;
  /** What its client negotiated. */
  readonly form: ReplyForm;
  readonly turn: TurnBudget;
  readonly pool: BufferPool;
  readonly meter: NbdMeter;
  readonly clock: Clock;
  readonly log: Log;
  /** Something was finished: there may be room for another request. */
  roomMade(): void;
  /** A reply broke off in the middle: the connection must end at once. */
  broken(because: string): void;
  /** A bug of ours came up: it ends this connection and no other. */
  failed(error: unknown): void;
}
