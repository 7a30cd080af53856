import { readdirSync } from 'node:fs';
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf } from '../../base/errors.js';
import { HANDOVER_BYTES_MAX, HANDOVER_RESERVE_BYTES } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import {
  bytesUnderWay,
  decodeFrozenBoard,
  encodeFrozenBoard,
  type FrozenBoard,
} from '../../nbd/handover/frozen-wire.js';
import { CannotKeep } from '../../nbd/handover/keeper.js';
import { releaseSpace, reserveSpace } from '../../os/reserved-space.js';
import { HALF_WRITTEN, readWholeFile, replaceWholeFile, settleFolder } from '../../os/whole-file.js';

/** What was found of one board. */
export type FoundBoard =
  | { readonly answer: 'frozen'; readonly frozen: FrozenBoard }
  | { readonly answer: 'unreadable'; readonly board: string; readonly because: string };

/** What a server that ended has left of its boards' connections. */
export function handoverFolder(stateFolder: string): string {
  return join(stateFolder, 'handover');
}

/** Boards whose connections the next server could go on with, and whose disks are lost if none starts. */
export function frozenBoards(stateFolder: string): readonly string[] {
  try {
    return readdirSync(handoverFolder(stateFolder)).filter((name) => !name.endsWith(HALF_WRITTEN));
  } catch (error) {
    return isNothing(error) ? [] : ['(nobody knows which)']; // there may be some
  }
}

/** Of text to bytes, and some for the rest. */
const BASE64_SHARE = 1.4;

/** No space is left, for anybody or for this user. */
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

/** Beside the folder. */
const RESERVE = '.reserve';

/** There is no such folder. */
function isNothing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';
}

/** `state/handover/`: a file for each board whose connections wait for the next process. Holds bytes of disks: 0700, and 0600. */
export class HandoverFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Holds space for what is to be written when there is none. Rejects with what Node says of the disk. */
  async reserve(): Promise<'reserved' | 'noRoom'> {
    await this.#make();
    return reserveSpace(this.#reservePath, HANDOVER_RESERVE_BYTES);
  }

  /** On stable storage when it resolves. Rejects with what Node says of the disk. */
  async write(board: FrozenBoard): Promise<void> {
    const bytes = bytesUnderWay(board);
    if (BASE64_SHARE * bytes > HANDOVER_BYTES_MAX)
      throw new CannotKeep(`${bytes} bytes were under way, which is too much to keep`);
    const content = encodeFrozenBoard(board);
    try {
      await this.#write(board.board, content);
    } catch (error) {
      if (!FULL.has(codeOf(error))) throw error;
      await releaseSpace(this.#reservePath);
      await this.#write(board.board, content);
    }
  }

  async #write(board: string, content: string): Promise<void> {
    await this.#make();
    await replaceWholeFile(join(this.path, board), content);
    await settleFolder(this.path);
  }

  // Not by `recursive`: that says of a full filesystem that there is no such folder.
  async #make(): Promise<void> {
    await mkdir(this.path, { mode: 0o700 }).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
    await chmod(this.path, 0o700);
  }

  get #reservePath(): string {
    return `${this.path}${RESERVE}`;
  }

  /** Rejects with what Node says of the folder; of a file that can't be read the board is named. */
  async read(): Promise<readonly FoundBoard[]> {
    const boards = (await this.#names()).filter((name) => !name.endsWith(HALF_WRITTEN));
    const found: FoundBoard[] = [];
    for (const board of boards) found.push(await this.#read(board)); // each may be large
    return found;
  }

  /** For good when it resolves: what one process has begun to go on with is true of no other one, not even after a crash. Half-written ones go too. */
  async clear(boards: readonly string[]): Promise<void> {
    const halves = (await this.#names()).filter((name) => name.endsWith(HALF_WRITTEN));
    const names = [...boards, ...halves];
    for (const name of names) await rm(join(this.path, name), { recursive: true, force: true });
    if (names.length > 0) await settleFolder(this.path);
  }

  async #names(): Promise<readonly string[]> {
    const names = await readdir(this.path).catch((error: unknown) => {
      if (isNothing(error)) return [];
      throw error;
    });
    return names.sort();
  }

  async #read(board: string): Promise<FoundBoard> {
    try {
      const file = await readWholeFile(join(this.path, board), HANDOVER_BYTES_MAX);
      if (file.answer === 'content') return { answer: 'frozen', frozen: decodeFrozenBoard(board, file.content) };
      const because = file.answer === 'foreign' ? file.because : 'it has just gone';
      return { answer: 'unreadable', board, because };
    } catch (error) {
      if (!(error instanceof Malformed) && codeOf(error) === undefined) throw error;
      return { answer: 'unreadable', board, because: messageOf(error) };
    }
  }
}
