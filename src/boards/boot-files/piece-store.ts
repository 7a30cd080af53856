import { BOOT_FILE_PIECE_BYTES } from '../../base/limits.js';
import { SharedMemory } from '../../os/shared-memory.js';

/** Memory for one piece of a boot file, BOOT_FILE_PIECE_BYTES of it. Its content is what the one before left there. */
export interface PieceMemory {
  readonly bytes: Uint8Array;
  /** Once, when nobody reads or fills it any more, in whatever thread. */
  giveBack(): void;
}

/**
 * Memory for pieces of boot files, all boards together: so many pieces and no more. It lies in one shared buffer, so that the
 * thread that sends them needs no copy, and what is given back is the kernel's again.
 */
export class PieceStore {
  readonly #pieceCountMax: number;
  /** Numbers of pieces that were used and are free again. */
  readonly #free: number[] = [];
  readonly #givenBack: number[] = [];
  readonly #givers = new Set<() => boolean>();
  #memory: SharedMemory | undefined;
  #everUsedCount = 0;
  #usedCount = 0;

  constructor(bytesMax: number) {
    this.#pieceCountMax = Math.floor(bytesMax / BOOT_FILE_PIECE_BYTES);
  }

  get usedBytes(): number {
    return this.#usedCount * BOOT_FILE_PIECE_BYTES;
  }

  /** Undefined when all of it is in use. */
  take(): PieceMemory | undefined {
    const number = this.#unused() ?? this.#givenUp();
    if (number === undefined) return undefined;
    this.#usedCount += 1;
    this.#memory ??= new SharedMemory(this.#pieceCountMax * BOOT_FILE_PIECE_BYTES);
    const start = number * BOOT_FILE_PIECE_BYTES;
    return {
      bytes: this.#memory.bytes.subarray(start, start + BOOT_FILE_PIECE_BYTES),
      giveBack: () => this.#giveBack(number),
    };
  }

  /**
   * `giveUp` is called when all is in use and somebody wants more: it gives a piece back that can be done without, or answers
   * false. Until the function returned is called.
   */
  whenShort(giveUp: () => boolean): () => void {
    this.#givers.add(giveUp);
    return () => this.#givers.delete(giveUp);
  }

  /** One just given back is still ours and costs the kernel nothing. */
  #unused(): number | undefined {
    return this.#givenBack.pop() ?? this.#free.pop() ?? this.#neverUsed();
  }

  #givenUp(): number | undefined {
    for (const giveUp of this.#givers) {
      while (giveUp()) {
        const number = this.#unused(); // or what it gave up was another store's
        if (number !== undefined) return number;
      }
    }
    return undefined;
  }

  #neverUsed(): number | undefined {
    return this.#everUsedCount < this.#pieceCountMax ? this.#everUsedCount++ : undefined;
  }

  #giveBack(number: number): void {
    this.#usedCount -= 1;
    // A file gives back hundreds at once, mostly neighbours: one call of the kernel for all that lie together.
    if (this.#givenBack.push(number) === 1) queueMicrotask(() => this.#release(this.#givenBack.splice(0)));
  }

  #release(numbers: readonly number[]): void {
    for (const { first, count } of runsOf(numbers)) {
      const free = () => {
        for (let index = 0; index < count; index += 1) this.#free.push(first + index);
      };
      // Where the kernel refuses, the pages stay ours, which is no harm to who takes them next.
      this.#memory?.release(first * BOOT_FILE_PIECE_BYTES, count * BOOT_FILE_PIECE_BYTES).then(free, free);
    }
  }
}

function runsOf(numbers: readonly number[]): { readonly first: number; readonly count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === number) last.count += 1;
    else runs.push({ first: number, count: 1 });
  }
  return runs;
}
