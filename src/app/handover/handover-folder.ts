import { readdirSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HANDOVER_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { decodeFrozenBoard, encodeFrozenBoard, type FrozenBoard } from '../../nbd/handover/frozen-wire.js';
import { HALF_WRITTEN, readWholeFile, replaceWholeFile, settleFolder } from '../../os/whole-file.js';

/** What was found of one board. */
export type FoundBoard =
  | { readonly answer: 'frozen'; readonly frozen: FrozenBoard }
  | { readonly answer: 'unreadable'; readonly board: string; readonly because: string };

/** What a server that ended has left of its boards' connections. */
export function handoverFolder(stateFolder: string): string {
  return join(stateFolder, 'handover');
}

/** Whether there are boards whose connections the next server could go on with, and whose disks are lost if none starts. */
export function hasFrozenConnections(stateFolder: string): boolean {
  try {
    return readdirSync(handoverFolder(stateFolder)).length > 0;
  } catch {
    return false;
  }
}

/** `state/handover/`: a file for each board whose connections wait for the next process. Holds bytes of disks: 0700, and 0600. */
export class HandoverFolder {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** On stable storage when it resolves. Rejects with what Node says of the disk. */
  async write(board: FrozenBoard): Promise<void> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    await replaceWholeFile(join(this.#path, board.board), encodeFrozenBoard(board));
    await settleFolder(this.#path);
  }

  /**
   * All that is there, and gone from there for good when it resolves: what a process has begun to go on with is true of no other one,
   * not even after a crash.
   */
  async take(): Promise<readonly FoundBoard[]> {
    const names = await readdir(this.#path).catch(() => []);
    const boards = names.filter((name) => !name.endsWith(HALF_WRITTEN)).sort();
    const found = await Promise.all(boards.map((board) => this.#read(board)));
    if (names.length === 0) return found;
    for (const name of names) await rm(join(this.#path, name), { recursive: true, force: true });
    await settleFolder(this.#path);
    return found;
  }

  async #read(board: string): Promise<FoundBoard> {
    try {
      const file = await readWholeFile(join(this.#path, board), HANDOVER_BYTES_MAX);
      if (file.answer !== 'content') return { answer: 'unreadable', board, because: 'it is no file' };
      return { answer: 'frozen', frozen: decodeFrozenBoard(board, file.content) };
    } catch (error) {
      if (!(error instanceof Malformed) && !isSystemError(error)) throw error;
      return { answer: 'unreadable', board, because: error.message };
    }
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error;
}
