import { NBD_CONNECTIONS_MAX, NBD_DURATION_BOUNDS_S } from '../../base/limits.js';
import type { CommandName } from '../session/transmission.js';

/**
 * What one lane has done, disk by disk, and whether it does something now: numbers in shared memory that only the lane writes and
 * anybody reads.
 *
 *   busy since (ms, 0: waits for work) | per disk, per command of LANE_COMMANDS: count | bytes | seconds | count per duration bound, and beyond
 */
export class LaneCounts {
  /** Disks that were ever used; clients of those beyond are served by the main thread. */
  static readonly disksMax = NBD_CONNECTIONS_MAX;
  readonly memory: SharedArrayBuffer;
  readonly #numbers: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(BYTES)) {
    this.memory = memory;
    this.#numbers = new Float64Array(memory);
  }

  static sum(all: readonly Float64Array[]): readonly number[] {
    return Array.from({ length: COMMAND_NUMBERS }, (_, at) => all.reduce((sum, each) => sum + (each[at] ?? 0), 0));
  }

  /** In milliseconds of the clock that all threads share. */
  get busySinceMs(): number {
    return this.#numbers[0] ?? 0;
  }

  set busySinceMs(ms: number) {
    this.#numbers[0] = ms;
  }

  add(disk: number, command: Counted, bytes: number, seconds: number): void {
    const numbers = this.#numbers;
    const at = placeOf(disk, command);
    numbers[at] = (numbers[at] ?? 0) + 1;
    numbers[at + 1] = (numbers[at + 1] ?? 0) + bytes;
    numbers[at + 2] = (numbers[at + 2] ?? 0) + seconds;
    let bound = 0;
    while (bound < NBD_DURATION_BOUNDS_S.length && seconds > (NBD_DURATION_BOUNDS_S[bound] ?? 0)) bound += 1;
    numbers[at + 3 + bound] = (numbers[at + 3 + bound] ?? 0) + 1;
  }

  /** Adds what another has counted, who counts no more. */
  take(other: LaneCounts): void {
    for (let at = 1; at < this.#numbers.length; at += 1)
      this.#numbers[at] = (this.#numbers[at] ?? 0) + (other.#numbers[at] ?? 0);
  }

  /** Of one disk and command, in the order of the figure above. */
  of(disk: number, command: number): Float64Array {
    const at = placeOf(disk, command);
    return this.#numbers.subarray(at, at + COMMAND_NUMBERS);
  }
}

/** What a lane does by itself. */
export const LANE_COMMANDS = [
  'read',
  'write',
  'flush',
  'trim',
  'write_zeroes',
] as const satisfies readonly CommandName[];
/** Places in LANE_COMMANDS. */
export const Counted = { Read: 0, Write: 1, Flush: 2, Trim: 3, WriteZeroes: 4 } as const;
export type Counted = (typeof Counted)[keyof typeof Counted];

const COMMAND_NUMBERS = 3 + NBD_DURATION_BOUNDS_S.length + 1;
const BYTES = 8 * (1 + LaneCounts.disksMax * LANE_COMMANDS.length * COMMAND_NUMBERS);

function placeOf(disk: number, command: number): number {
  return 1 + (disk * LANE_COMMANDS.length + command) * COMMAND_NUMBERS;
}
