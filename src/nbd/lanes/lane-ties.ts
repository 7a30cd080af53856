import type { StreamPoll } from '../../os/stream-poll.js';
import type { DiskWaits } from './disk-waits.js';
import type { Handing } from './handing.js';
import type { LaneCounts } from './lane-counts.js';
import type { LaneTable } from './lane-table.js';
import type { FromLane } from './messages.js';
import type { ReplyLine } from './reply-line.js';
import type { SyncLine } from './sync-line.js';

/** What the parts of a lane have in common. */
export interface LaneTies {
  readonly table: LaneTable;
  readonly poll: StreamPoll;
  readonly counts: LaneCounts;
  say(message: FromLane): void;
}

/** Where a request goes from those that read it, and what stands around those that wait for a disk. */
export interface LaneHands {
  readonly replies: ReplyLine;
  readonly syncs: SyncLine;
  readonly handing: Handing;
  readonly waits: DiskWaits;
}
