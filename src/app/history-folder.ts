import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BOOT_HISTORY_BYTES_MAX } from '../base/limits.js';
import { type FileVerdict, readWholeFile, replaceWholeFile, settleFolder } from '../os/whole-file.js';

const FILE = /^([a-z0-9-]{1,63})\.jsonl(?:\.faulty)?$/;
const HALF_WRITTEN = /^[a-z0-9-]{1,63}\.jsonl\.new$/;

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
    return readWholeFile(this.#file(board), BOOT_HISTORY_BYTES_MAX);
  }

  /** On stable storage when it resolves; its name is after `settle`. */
  async write(board: string, content: string): Promise<void> {
    await replaceWholeFile(this.#file(board), content);
  }

  /** The names of what was written outlive the host too. */
  async settle(): Promise<void> {
    await settleFolder(this.#path);
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
