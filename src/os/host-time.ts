import { readFileSync } from 'node:fs';
import { systemUptimeMs } from '../base/clock.js';

/** A moment as the kernel counts, which nobody can set: of one boot of this host, two of them can be compared across processes. */
export interface HostTime {
  /** /proc/sys/kernel/random/boot_id; undefined where it is not to be seen. */
  readonly hostBoot: string | undefined;
  /** CLOCK_MONOTONIC. */
  readonly uptimeMs: number;
}

export function hostTime(): HostTime {
  return { hostBoot: hostBoot(), uptimeMs: Math.round(systemUptimeMs()) };
}

function hostBoot(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return undefined;
  }
}
