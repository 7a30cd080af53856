import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/**
 * What a server has used: the process, its threads, the children that it has now, theirs, and those that ended and were
 * waited for.
 */
export interface Usage {
  /** User and system time since each process began, in steps of a hundredth of a second. */
  readonly cpuSeconds: number;
  /**
   * The highest resident memory of each process that is there now, added up (VmHWM). Pages that forked processes share
   * count in each.
   */
  readonly peakMemoryBytes: number;
  /** What is resident now, a page that n of all processes share counting as an n-th in each (Pss); 0 if it can't be told. */
  readonly sharedMemoryBytes: number;
}

/** Throws if there is no such process. */
export function usageOf(pid: number): Usage {
  return added([ownUsage(pid), ...descendantsOf(pid).flatMap(usageIfThere)]);
}

export interface Watch {
  /** CPU time since the watch began, and the highest memory seen by any of its looks. */
  stop(): Usage;
}

/**
 * Watches a server that forks a process for each transfer. Children that end between two looks count with their CPU time if
 * their parent waits for them; of one that lets the kernel reap them, with what they had used at the last look; and not with
 * their memory. The highest resident memory begins anew. A look takes some milliseconds, of which the watched process stands
 * still for one: it should stay seldom.
 */
export function watchUsage(pid: number, everyMs = 200): Watch {
  for (const each of [pid, ...descendantsOf(pid)]) forgetPeak(each);
  const before = usageOf(pid);
  let peakMemoryBytes = 0;
  let sharedMemoryBytes = 0;
  const ledger = new OwnTimeLedger(pid);
  const look = (): Usage => {
    const now = usageOf(pid);
    ledger.look();
    peakMemoryBytes = Math.max(peakMemoryBytes, now.peakMemoryBytes);
    sharedMemoryBytes = Math.max(sharedMemoryBytes, now.sharedMemoryBytes);
    return now;
  };
  const timer = setInterval(look, everyMs);
  return {
    stop() {
      clearInterval(timer);
      const { cpuSeconds } = look();
      const used = Math.max(cpuSeconds - before.cpuSeconds, ledger.seconds());
      return { cpuSeconds: used, peakMemoryBytes, sharedMemoryBytes };
    },
  };
}

/** What each process of a server has used by itself since the first look, those that are gone included. */
class OwnTimeLedger {
  readonly #pid: number;
  readonly #firstTicks = new Map<number, number>();
  readonly #lastTicks = new Map<number, number>();

  constructor(pid: number) {
    this.#pid = pid;
    this.look();
    for (const [each, ticks] of this.#lastTicks) this.#firstTicks.set(each, ticks);
  }

  look(): void {
    for (const each of [this.#pid, ...descendantsOf(this.#pid)]) {
      const stat = textOf(`/proc/${each}/stat`);
      if (stat !== '') this.#lastTicks.set(each, decodeStat(stat).ownTicks);
    }
  }

  seconds(): number {
    let ticks = 0;
    for (const [each, last] of this.#lastTicks) ticks += last - (this.#firstTicks.get(each) ?? 0);
    return ticks / TICKS_PER_SECOND;
  }
}

/** proc_pid_stat(5): the name in parentheses may hold anything, parentheses and spaces too. */
export function decodeStat(text: string): {
  readonly parent: number;
  /** With the children that were waited for. */
  readonly cpuTicks: number;
  readonly ownTicks: number;
} {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => Number(fields[number - FIRST_FIELD_BEHIND_NAME]);
  const { Parent, UserTime, SystemTime, ChildrenUserTime, ChildrenSystemTime } = StatField;
  const ownTicks = field(UserTime) + field(SystemTime);
  const cpuTicks = ownTicks + field(ChildrenUserTime) + field(ChildrenSystemTime);
  return { parent: field(Parent), cpuTicks, ownTicks };
}

/** proc_pid_stat(5), counted from 1. */
const StatField = { Parent: 4, UserTime: 14, SystemTime: 15, ChildrenUserTime: 16, ChildrenSystemTime: 17 } as const;
const FIRST_FIELD_BEHIND_NAME = 3;

/** USER_HZ: 100 on every architecture that Linux shows it to. */
const TICKS_PER_SECOND = 100;

function ownUsage(pid: number): Usage {
  return {
    cpuSeconds: decodeStat(readFileSync(`/proc/${pid}/stat`, 'latin1')).cpuTicks / TICKS_PER_SECOND,
    peakMemoryBytes: kilobytesOf('VmHWM', textOf(`/proc/${pid}/status`)) * 1024,
    sharedMemoryBytes: kilobytesOf('Pss', textOf(`/proc/${pid}/smaps_rollup`)) * 1024,
  };
}

/** A child may end between the list and the look; then its parent counts it. */
function usageIfThere(pid: number): readonly Usage[] {
  try {
    return [ownUsage(pid)];
  } catch {
    return [];
  }
}

/** A process that has ended and waits for its parent has no memory lines any more. */
function kilobytesOf(name: string, text: string): number {
  const [, kilobytes = '0'] = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text) ?? [];
  return Number(kilobytes);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** By every process's parent: the kernel may be built without the list of children. */
function descendantsOf(pid: number): readonly number[] {
  const childrenOf = new Map<number, number[]>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const stat = textOf(`/proc/${name}/stat`);
    if (stat === '') continue;
    const { parent } = decodeStat(stat);
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(name)]);
  }
  const found: number[] = [];
  const open = [pid];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const children = childrenOf.get(next) ?? [];
    found.push(...children);
    open.push(...children);
  }
  return found;
}

/** clear_refs(5), value 5: the peak becomes what is resident now. Only for our own processes, or as root. */
function forgetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // Then the peak is the one since the process began.
  }
}

function added(usages: readonly Usage[]): Usage {
  const sum = (part: (usage: Usage) => number) => usages.reduce((total, usage) => total + part(usage), 0);
  return {
    cpuSeconds: sum((usage) => usage.cpuSeconds),
    peakMemoryBytes: sum((usage) => usage.peakMemoryBytes),
    sharedMemoryBytes: sum((usage) => usage.sharedMemoryBytes),
  };
}
