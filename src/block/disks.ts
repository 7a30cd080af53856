import { DISK_OPERATIONS_AT_ONCE_MAX } from '../base/limits.js';

/** The disks that open files lie on, by the number that the kernel has for each. What hangs is a disk, with all files on it. */
export class Disks {
  readonly #known = new Map<bigint, Disk>();

  of(number: bigint): Disk {
    const known = this.#known.get(number) ?? new Disk();
    this.#known.set(number, known);
    return known;
  }
}

/**
 * One disk, as far as those concern each other who wait for it: it has no more of the process's threads at a time than leaves
 * enough to all others, however many ask and however long it takes. Files of one disk take turns, so that one from which much is
 * asked holds up the next by no more than what is under way.
 */
export class Disk {
  /** For other threads: what they have under way there (Int32, by Atomics). */
  readonly underWay = new SharedArrayBuffer(4);
  #running = 0;
  /** In the order of their turns. */
  readonly #waiting = new Map<object, (() => void)[]>();

  /** Begins at once where there is room. `operation` must not wait for another one of the same disk. */
  async take<T>(file: object, operation: () => Promise<T>): Promise<T> {
    if (this.#running < DISK_OPERATIONS_AT_ONCE_MAX) this.#running += 1;
    else await new Promise<void>((begin) => this.#wait(file, begin));
    try {
      return await operation();
    } finally {
      this.#beginNext();
    }
  }

  #wait(file: object, begin: () => void): void {
    const queue = this.#waiting.get(file);
    if (queue === undefined) this.#waiting.set(file, [begin]);
    else queue.push(begin);
  }

  #beginNext(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#running -= 1;
      return;
    }
    const [file, queue] = next;
    const begin = queue.shift();
    this.#waiting.delete(file);
    if (queue.length > 0) this.#waiting.set(file, queue);
    begin?.();
  }
}

/** An operation of one file takes its turn among those of its disk. */
export type InTurn = <T>(operation: () => Promise<T>) => Promise<T>;
