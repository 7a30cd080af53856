import { type BootFile, BootFileLost } from '../../boards/boot-files/boot-file.js';
import type { ToCourier } from './messages.js';

interface SupplyTies {
  tell(message: ToCourier): void;
  bug(error: unknown): void;
}

/** Gives the courier's thread what it needs of one file: pieces in memory unasked, all else when it asks. */
export class FileSupply {
  readonly #id: number;
  readonly #file: BootFile;
  readonly #ties: SupplyTies;
  #closed = false;
  #awaitedCount = 0;

  constructor(id: number, file: BootFile, ties: SupplyTies) {
    this.#id = id;
    this.#file = file;
    this.#ties = ties;
  }

  /** Whether the courier's thread waits for an answer. */
  get isAwaited(): boolean {
    return this.#awaitedCount > 0;
  }

  hold(): void {
    this.#answer(async () => {
      const answer = await this.#file.hold();
      if (this.#closed) return;
      if (answer === 'held') {
        this.#file.follow((pieces) => this.#ties.tell({ kind: 'pieces', id: this.#id, pieces }));
      }
      this.#ties.tell({ kind: 'held', id: this.#id, answer });
    });
  }

  want(offset: number, lengthBytes: number): void {
    this.#answer(async () => {
      const bytes = new Uint8Array(lengthBytes);
      if (!this.#file.readNow(offset, bytes)) await this.#file.read(offset, bytes);
      if (!this.#closed) this.#ties.tell({ kind: 'bytes', id: this.#id, bytes });
    });
  }

  progress(from: number, at: number): void {
    if (!this.#closed) this.#file.progress(from, at);
  }

  close(): void {
    this.#closed = true;
    this.#file.close();
  }

  #answer(work: () => Promise<void>): void {
    if (this.#closed) return;
    this.#awaitedCount += 1;
    const answered = work().finally(() => {
      this.#awaitedCount -= 1;
    });
    answered.catch((error: unknown) => {
      if (this.#closed) return;
      const isExpected = error instanceof BootFileLost;
      if (!isExpected) this.#ties.bug(error);
      this.#ties.tell({ kind: 'lost', id: this.#id, because: isExpected ? error.message : 'internal error' });
    });
  }
}
