import type { Board } from '../../src/boards/board.js';
import { type BootFile, BootFileLost, type OpenVerdict } from '../../src/boards/boot-files/boot-file.js';
import { boardOf } from './boards.js';

/** What a test may watch and spoil of a boot file. */
export interface FakeFile {
  readonly bytes: Uint8Array;
  /** False: every `readNow` has to wait. */
  readonly inMemory?: boolean;
  /** Answer of `hold()`. */
  readonly held?: 'held' | 'changed';
  /** `read` and `readNow` fail from this offset on. */
  readonly lostFrom?: number;
}

/** What happened to the files of a fake board. */
export interface FileTraffic {
  opened: number;
  held: number;
  closed: number;
  /** Highest byte read, exclusive. */
  readUpTo: number;
}

export interface FakeBoard {
  readonly board: Board;
  readonly traffic: FileTraffic;
}

/** A board whose boot files lie in memory: path to content, or to a function that answers `open` itself. */
export function fakeBoard(
  serial: string,
  files: Readonly<Record<string, FakeFile | Uint8Array | (() => Promise<OpenVerdict>)>>,
): FakeBoard {
  const traffic: FileTraffic = { opened: 0, held: 0, closed: 0, readUpTo: 0 };
  const open = async (path: string): Promise<OpenVerdict> => {
    const found = Object.hasOwn(files, path) ? files[path] : undefined;
    if (found === undefined) return { answer: 'notFound' };
    if (typeof found === 'function') return found();
    traffic.opened += 1;
    return { answer: 'file', file: fakeFile(found instanceof Uint8Array ? { bytes: found } : found, traffic) };
  };
  const board: Board = { ...boardOf(`board-${serial}`, serial), bootFiles: { open } };
  return { board, traffic };
}

export function fakeFile(
  { bytes, inMemory = true, held = 'held', lostFrom }: FakeFile,
  traffic?: FileTraffic,
): BootFile {
  const copy = (offset: number, target: Uint8Array): void => {
    const end = offset + target.length;
    if (end > bytes.length) throw new RangeError(`${offset} + ${target.length} is behind the end`);
    if (lostFrom !== undefined && end > lostFrom) throw new BootFileLost('the disk failed');
    target.set(bytes.subarray(offset, end));
    if (traffic !== undefined) traffic.readUpTo = Math.max(traffic.readUpTo, end);
  };
  return {
    role: 'other',
    sizeBytes: bytes.length,
    hold: async () => {
      if (traffic !== undefined) traffic.held += 1;
      return held;
    },
    read: async (offset, target) => copy(offset, target),
    readNow: (offset, target) => {
      if (!inMemory) return false;
      copy(offset, target);
      return true;
    },
    follow: () => {},
    progress: () => {},
    close() {
      if (traffic !== undefined) traffic.closed += 1;
    },
  };
}
