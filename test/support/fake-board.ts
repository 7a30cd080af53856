import { MemoryDevice } from '../../src/block/memory-device.js';
import type { Board } from '../../src/boards/board.js';
import { type BootFile, BootFileLost, type OpenVerdict } from '../../src/boards/boot-file.js';
import type { BoardLookup } from '../../src/boards/lookup.js';

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
  const board: Board = {
    name: `board-${serial}`,
    serial,
    mac: undefined,
    disk: new MemoryDevice(512),
    bootFiles: { open },
    writerLock: {
      acquire: async () => ({ answer: 'granted' }),
      release() {},
      suspect() {},
      holder: () => undefined,
    },
  };
  return { board, traffic };
}

/** Knows `SERIAL/path` and nothing else; a path with `..` is illegal. */
export function fakeLookup(...boards: readonly Board[]): BoardLookup {
  const bySerial = (serial: string) => boards.find((board) => board.serial === serial);
  return {
    byName: (name) => boards.find((board) => board.name === name),
    bySerial,
    byMac: () => undefined,
    byBootPath: (path) => {
      if (path.includes('..')) return { answer: 'illegal', because: 'a path with ".." in it' };
      const slash = path.indexOf('/');
      const board = bySerial(path.slice(0, Math.max(0, slash)));
      if (board === undefined) return { answer: 'unknown', asked: path.replace(/[^\x20-\x7e]/gu, '?').slice(0, 40) };
      return { answer: 'board', board, path: path.slice(slash + 1) };
    },
    names: () => boards.map((board) => board.name),
  };
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
    close() {
      if (traffic !== undefined) traffic.closed += 1;
    },
  };
}

/** Content of which every block differs from every other: a repeatable pseudo-random run of bytes. */
export function content(length: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed;
  for (let index = 0; index < words.length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    words[index] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}
