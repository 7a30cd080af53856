import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BOOT_HISTORY_BYTES_MAX } from '../base/limits.js';

const FILE = /^([a-z0-9-]{1,63})\.jsonl(?:\.faulty)?$/;
const HALF_WRITTEN = /^[a-z0-9-]{1,63}\.jsonl\.new$/;

export type FileVerdict =
  | { readonly answer: 'content'; readonly content: string }
  | { readonly answer: 'none' }
  /** Something is there that can't be a history. */
  | { readonly answer: 'foreign'; readonly because: string };

/**
 * `state/boots/`: a file for each board. A file is never changed: a new one takes its place in one step, so that what is read is
 * whole whenever the process or the host died. Everything here rejects with what Node says of the disk.
 */
export class HistoryFolder {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Makes it if it is not there, and sweeps out what a process that was killed did not finish. */
  async open(): Promise<void> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    const names = await readdir(this.#path);
    for (const name of names.filter((name) => HALF_WRITTEN.test(name)))
      await rm(join(this.#path, name), { recursive: true });
  }

  async read(board: string): Promise<FileVerdict> {
    // Whatever lies there must neither be waited for (a pipe) nor lead elsewhere (a link).
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    const file = await open(this.#file(board), flags).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      if (codeOf(error) === 'ELOOP') return 'it is a symbolic link';
      throw error;
    });
    if (file === undefined) return { answer: 'none' };
    if (typeof file === 'string') return { answer: 'foreign', because: file };
    try {
      const status = await file.stat();
      if (!status.isFile()) return { answer: 'foreign', because: 'it is no file' };
      const buffer = Buffer.alloc(Math.min(status.size, BOOT_HISTORY_BYTES_MAX));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      return { answer: 'content', content: buffer.toString('utf8', 0, bytesRead) };
    } finally {
      await file.close();
    }
  }

  /** On stable storage when it resolves; its name is after `settle`. */
  async write(board: string, content: string): Promise<void> {
    const half = `${this.#file(board)}.new`;
    try {
      const file = await open(half, 'w', 0o600);
      try {
        await file.writeFile(content);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(half, this.#file(board));
    } catch (error) {
      await rm(half, { force: true }).catch(() => {}); // on a full disk its bytes are wanted back
      throw error;
    }
  }

  /** The names of what was written outlive the host too. */
  async settle(): Promise<void> {
    const folder = await open(this.#path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Out of the way but not lost; answers where it is now. What was put aside of this board before is replaced: one is enough. */
  async putAside(board: string): Promise<string> {
    const aside = `${this.#file(board)}.faulty`;
    await rm(aside, { force: true, recursive: true });
    await rename(this.#file(board), aside);
    return aside;
  }

  /** Removes what is left of boards that are not in `known`, but for the `keep` files written last. Answers how many it removed. */
  async sweep(known: ReadonlySet<string>, keep: number): Promise<number> {
    const names = (await readdir(this.#path)).filter((name) => {
      const [, board] = FILE.exec(name) ?? [];
      return board !== undefined && !known.has(board);
    });
    if (names.length <= keep) return 0;
    const files = await Promise.all(
      // A link that was put aside is looked at itself: it may lead nowhere.
      names.map(async (name) => ({ name, writtenMs: (await lstat(join(this.#path, name))).mtimeMs })),
    );
    const oldest = files.sort((one, other) => other.writtenMs - one.writtenMs).slice(keep);
    for (const { name } of oldest) await rm(join(this.#path, name), { recursive: true });
    return oldest.length;
  }

  #file(board: string): string {
    return join(this.#path, `${board}.jsonl`);
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
