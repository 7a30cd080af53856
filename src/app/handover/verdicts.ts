import type { Log } from '../../base/log.js';
import { reasonOf } from '../../nbd/handover/keeper.js';
import type { HostTime } from '../../os/host-time.js';

/** Why what was frozen then is of no use now. */
export function tooLate(then: HostTime, now: HostTime, limitMs: number): string | undefined {
  if (then.hostBoot === undefined || then.hostBoot !== now.hostBoot) return 'this host was started anew since';
  const ageMs = now.uptimeMs - then.uptimeMs;
  if (ageMs < 0 || ageMs > limitMs) {
    return `it was ${Math.round(ageMs / 1000)} s ago, and server.handover_limit is ${Math.round(limitMs / 1000)} s: its kernel may have given up`;
  }
  return undefined;
}

/** For people; of a bug of ours the log has more. */
export function reasonIn(log: Log, error: unknown): string {
  return reasonOf(error, (bug) => log.error({ err: bug }, 'handover.bug'));
}

export const DISK_LOST = 'its root disk is gone; what it was answered is kept: boot it anew';
export const STORE_SILENT = 'the service manager has not said in time that it has dealt with what it was told';
