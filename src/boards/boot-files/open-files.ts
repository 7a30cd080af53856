import type { BootFile, BootFileRequest, BootFileRole, BootFiles, OpenVerdict } from './boot-file.js';
import type { PieceFollower } from './held-file.js';

/** Counts boot files of one board that are being read: its disk can't be taken away from under a transfer. */
export class OpenFiles {
  #count = 0;

  /** Those that are open, or about to be. */
  get count(): number {
    return this.#count;
  }

  counted(files: BootFiles): BootFiles {
    return { open: (path, request) => this.#open(files, path, request) };
  }

  async #open(files: BootFiles, path: string, request: BootFileRequest): Promise<OpenVerdict> {
    this.#count += 1;
    let isOpen = false;
    try {
      const verdict = await files.open(path, request);
      if (verdict.answer !== 'file') return verdict;
      isOpen = true;
      return { answer: 'file', file: new CountedFile(verdict.file, () => this.#closed()) };
    } finally {
      if (!isOpen) this.#closed();
    }
  }

  #closed(): void {
    this.#count -= 1;
  }
}

class CountedFile implements BootFile {
  readonly #file: BootFile;
  #closed: (() => void) | undefined;

  constructor(file: BootFile, closed: () => void) {
    this.#file = file;
    this.#closed = closed;
  }

  get role(): BootFileRole {
    return this.#file.role;
  }

  get sizeBytes(): number {
    return this.#file.sizeBytes;
  }

  hold(): Promise<'held' | 'changed'> {
    return this.#file.hold();
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#file.read(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    return this.#file.readNow(offset, target);
  }

  follow(follower: PieceFollower): void {
    this.#file.follow(follower);
  }

  progress(from: number, at: number): void {
    this.#file.progress(from, at);
  }

  close(): void {
    this.#file.close();
    this.#closed?.();
    this.#closed = undefined;
  }
}
