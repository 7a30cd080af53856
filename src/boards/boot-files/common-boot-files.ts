import type { BootFile, BootFileRequest, BootFiles, FilePiece, OpenVerdict } from './boot-file.js';

/**
 * The boot files of a board whose disk lies over an image that others lie over too. As long as it has written nothing to its boot
 * partition, they are the image's, read and kept in memory once for all boards; from then on its own. Which of the two is asked again
 * when the transfer begins.
 */
export class CommonBootFiles implements BootFiles {
  readonly #common: BootFiles;
  readonly #own: BootFiles;
  readonly #isCommon: () => Promise<boolean>;

  constructor(common: BootFiles, own: BootFiles, isCommon: () => Promise<boolean>) {
    this.#common = common;
    this.#own = own;
    this.#isCommon = isCommon;
  }

  async open(path: string, request: BootFileRequest): Promise<OpenVerdict> {
    const openOwn = () => this.#own.open(path, request);
    if (!(await this.#isCommon())) return openOwn();
    const verdict = await this.#common.open(path, request);
    if (verdict.answer !== 'file') return (await this.#isCommon()) ? verdict : openOwn();
    return { answer: 'file', file: new CommonFile(verdict.file, openOwn, this.#isCommon) };
  }
}

class CommonFile implements BootFile {
  #file: BootFile;
  readonly #openOwn: () => Promise<OpenVerdict>;
  readonly #isCommon: () => Promise<boolean>;
  #isClosed = false;

  constructor(file: BootFile, openOwn: () => Promise<OpenVerdict>, isCommon: () => Promise<boolean>) {
    this.#file = file;
    this.#openOwn = openOwn;
    this.#isCommon = isCommon;
  }

  get role(): BootFile['role'] {
    return this.#file.role;
  }

  get sizeBytes(): number {
    return this.#file.sizeBytes;
  }

  async hold(): Promise<'held' | 'changed'> {
    if (await this.#isCommon()) return this.#file.hold();
    const verdict = await this.#openOwn();
    if (verdict.answer !== 'file') return 'changed';
    const isAsPromised = verdict.file.sizeBytes === this.#file.sizeBytes && !this.#isClosed;
    if (!isAsPromised) {
      verdict.file.close();
      return 'changed';
    }
    this.#file.close();
    this.#file = verdict.file;
    return this.#file.hold();
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#file.read(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    return this.#file.readNow(offset, target);
  }

  follow(follower: (pieces: readonly FilePiece[]) => void): void {
    this.#file.follow(follower);
  }

  progress(from: number, at: number): void {
    this.#file.progress(from, at);
  }

  close(): void {
    this.#isClosed = true;
    this.#file.close();
  }
}
