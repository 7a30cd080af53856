/** A change of the disk that is under way. */
interface Entry {
  readonly start: number;
  readonly end: number;
}

/** The changes of a disk that have begun and are not over yet. */
export class ChangeLedger {
  readonly #entries = new Set<Entry>();
  #waiting: (() => void)[] = [];

  /** Answers what is to be called when it is over. */
  begin(offset: number, lengthBytes: number): () => void {
    const entry = { start: offset, end: offset + lengthBytes };
    this.#entries.add(entry);
    return () => {
      this.#entries.delete(entry);
      for (const look of this.#waiting.splice(0)) look();
    };
  }

  /** Whether one of them could be seen by somebody who reads the ranges. */
  disturbs(ranges: readonly DiskRange[]): boolean {
    return [...this.#entries].some(({ start, end }) => ranges.some((range) => start < range.end && range.start < end));
  }

  /** Resolves when none disturbs any more. It has to be made sure elsewhere that no others begin. */
  async settled(ranges: readonly DiskRange[]): Promise<void> {
    while (this.disturbs(ranges)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

/** From the first byte to behind the last. */
export interface DiskRange {
  readonly start: number;
  readonly end: number;
}
