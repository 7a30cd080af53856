import { durationText } from '../base/amounts.js';
import type { Clock } from '../base/clock.js';
import { FULL_DISK_LOG_AGAIN_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { unreachable } from '../base/unreachable.js';
import type { SpaceNews, SpaceQueue } from '../block/space-queue.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import type { Storage } from './storage.js';

interface FullDisk {
  readonly board: string;
  readonly file: string;
  readonly space: SpaceQueue;
  /** What it may take is bounded by `server.state_limit`, too. */
  readonly hasLimit: boolean;
}

interface Watching {
  readonly storage: Storage;
  readonly tell: TellBoardEvent;
  readonly clock: Clock;
  readonly log: Log;
}

/** Says loudly that a board's writes wait for space, again and again as long as they do, and that they go on. */
export function watchSpace(disk: FullDisk, watching: Watching): void {
  disk.space.listen((news) => heard(news, disk, watching));
}

function heard(news: SpaceNews, disk: FullDisk, watching: Watching): void {
  const { tell, log } = watching;
  const { board, file } = disk;
  switch (news.kind) {
    case 'awaited':
      tell({ kind: 'spaceAwaited', board });
      void sayFull(disk, watching);
      return;
    case 'over': {
      const { because } = news;
      const waitedMs = Math.round(news.waitedMs);
      tell({ kind: 'spaceAwaitOver', board, because, waitedMs });
      if (because === 'done') log.info({ board, file, waitedMs }, 'disk.space.found');
      else log.warn({ board, file, waitedMs }, 'disk.space.given_up');
      return;
    }
    default:
      unreachable(news);
  }
}

/** What is free is asked first, so that the line tells how it is now; not for longer than Storage has patience. */
async function sayFull(disk: FullDisk, watching: Watching): Promise<void> {
  const { storage, clock, log } = watching;
  const since = disk.space.waiting?.since;
  await storage.look();
  const waiting = disk.space.waiting;
  if (waiting === undefined || waiting.since !== since) return;
  const { board, file } = disk;
  const filesystem = storage.filesystemOf(board);
  const { requests, bytes } = waiting;
  const waitedMs = clock.today().getTime() - waiting.since.getTime();
  const remedy = `make room on ${filesystem?.mountPoint ?? 'the filesystem of that file'}: the board waits and goes on by itself. If there is room, look at ${disk.hasLimit ? '`server.state_limit` in the inventory, at ' : ''}quotas and at what root keeps for itself`;
  log.error(
    {
      ...{ board, file, filesystem: filesystem?.mountPoint, freeBytes: filesystem?.freeBytes },
      ...{ requests, bytes, waited: durationText(waitedMs), remedy },
    },
    'disk.full',
  );
  clock.after(FULL_DISK_LOG_AGAIN_MS, () => {
    if (disk.space.waiting?.since === since) void sayFull(disk, watching);
  });
}
