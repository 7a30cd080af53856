import { lstat, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOf } from '../../base/errors.js';
import { LAYER_TREE_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import {
  encodeHeader,
  fileBytes,
  HEADER_AT,
  type OverlayHeader,
  SECTOR_BYTES,
} from '../../block/overlay/overlay-format.js';
import { readWholeFile, replaceWholeFile, settleFolder } from '../../os/whole-file.js';
import { brokenBy, isMade, type LayerTree } from './layer-tree.js';
import { decodeLayerTree, encodeLayerTree } from './layer-tree-wire.js';

const LAYER = /^([0-9a-f]{32})\.overlay$/;
const PUT_ASIDE = /^(.+)-\d{8}T\d{6}Z$/;

/** Where the boards of a server have their disks. */
export function disksFolder(statePath: string): string {
  return join(statePath, 'disks');
}

/** What can't be taken for a board's disk, with what to do about it. */
export class DiskRefused extends Error {
  override readonly name = 'DiskRefused';
  readonly remedy: string;

  constructor(problem: string, remedy: string) {
    super(problem);
    this.remedy = remedy;
  }
}

/** What can be done about a damaged disk. */
export function putBackOrReset(board: string): string {
  return `put it back from a backup; \`brambleboot reset ${board}\` puts what is there aside and begins anew from the image`;
}

/** `state/disks/BOARD/`: a file for each layer, and `disk.json`, which says how they lie on each other. Rejects with what Node says of the disk, too. */
export class DiskFolder {
  readonly path: string;
  readonly #disksPath: string;
  readonly #board: string;

  constructor(disksPath: string, board: string, name = board) {
    this.path = join(disksPath, name);
    this.#disksPath = disksPath;
    this.#board = board;
  }

  /** Those that were put aside, of all boards. */
  static async aside(disksPath: string): Promise<readonly DiskFolder[]> {
    const path = asidePath(disksPath);
    const names = (await unlessGone(readdir(path))) ?? [];
    return names.flatMap((name) => {
      const [, board] = PUT_ASIDE.exec(name) ?? [];
      return board === undefined ? [] : [new DiskFolder(path, board, name)];
    });
  }

  /** Undefined where this board has no disk yet. Throws DiskRefused. */
  async read(): Promise<LayerTree | undefined> {
    await this.#make();
    const text = await this.#text();
    const layers = (await readdir(this.path)).filter((name) => LAYER.test(name));
    if (text === undefined) {
      if (layers.length === 0) return undefined;
      throw new DiskRefused(
        `${this.#record} is missing, and there are ${layers.length} layers of ${this.#board}'s disk beside it`,
        this.#putBack,
      );
    }
    try {
      const tree = decodeLayerTree(this.#board, text);
      return isMade(tree) ? tree : undefined;
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      throw new DiskRefused(`${this.#record} can't be read: ${error.message}`, this.#putBack);
    }
  }

  /** What is left of a disk that was being made when somebody died over it; there is none (`read`). */
  async removeUnmade(): Promise<void> {
    const text = await this.#text();
    const { removed } = text === undefined ? { removed: [] } : decodeLayerTree(this.#board, text);
    for (const id of removed) await this.removeLayer(id);
  }

  /** In the place of the one before in one step, and on stable storage when it resolves. */
  async write(tree: LayerTree): Promise<void> {
    const broken = brokenBy(tree);
    if (broken !== undefined) throw new RangeError(`disk.json would be of no use: ${broken}`); // a bug of ours, and what is there stays
    await replaceWholeFile(this.#record, encodeLayerTree(this.#board, tree));
    await settleFolder(this.path);
  }

  /** Out of the way as it is, to `state/disks-aside/BOARD-TIME`: answers where. Undefined where there is nothing. */
  async putAside(at: Date): Promise<string | undefined> {
    const there = await readdir(this.path).catch(() => undefined); // what is no folder is put aside too
    if (there?.length === 0) return undefined;
    const time = at.toISOString().replace(/[-:]|\.\d+/g, '');
    const asides = asidePath(this.#disksPath);
    const aside = join(asides, `${this.#board}-${time}`);
    await mkdir(asides, { recursive: true, mode: 0o700 });
    await rename(this.path, aside);
    await settleFolder(asides);
    await settleFolder(this.#disksPath);
    return aside;
  }

  /** As if it had not been put aside. What a disk that could not be made in its place has left is none of a board's. */
  async putBack(aside: string): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    await rename(aside, this.path);
    await settleFolder(this.#disksPath);
  }

  async removeAside(aside: string): Promise<void> {
    await rm(aside, { recursive: true, force: true });
  }

  layerFile(id: string): string {
    return join(this.path, `${id}.overlay`);
  }

  /** An empty file of that length, which takes no space; its name is on stable storage when it resolves. */
  async makeLayer(id: string, lengthBytes: number): Promise<string> {
    const file = await open(this.layerFile(id), 'wx', 0o600);
    try {
      await file.truncate(lengthBytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await settleFolder(this.path);
    return this.layerFile(id);
  }

  /** In this order, so that the header never says more than there is. Nobody has it open. */
  async growLayer(id: string, header: OverlayHeader): Promise<void> {
    const file = await open(this.layerFile(id), 'r+');
    try {
      await file.truncate(fileBytes(header));
      await file.sync();
      await file.write(encodeHeader(header), 0, SECTOR_BYTES, HEADER_AT);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async removeLayer(id: string): Promise<void> {
    await rm(this.layerFile(id), { force: true });
  }

  /** What a layer takes of its filesystem. */
  async allocatedBytes(id: string): Promise<number> {
    const { blocks } = await stat(this.layerFile(id));
    return blocks * 512;
  }

  /** Layers that are not in that tree, and that nobody has said may be removed. */
  async strangers({ layers, removed }: LayerTree): Promise<string[]> {
    const known = new Set([...layers.map(({ id }) => id), ...removed]);
    return (await readdir(this.path)).filter((name) => {
      const [, id] = LAYER.exec(name) ?? [];
      return id !== undefined && !known.has(id);
    });
  }

  async #make(): Promise<void> {
    const made = await mkdir(this.path, { recursive: true, mode: 0o700 });
    if (made === undefined) return;
    // What lies in a folder outlives the host only if its name does.
    await settleFolder(this.#disksPath);
    await settleFolder(dirname(this.#disksPath));
  }

  get #putBack(): string {
    return putBackOrReset(this.#board);
  }

  get #record(): string {
    return join(this.path, 'disk.json');
  }

  async #text(): Promise<string | undefined> {
    const verdict = await readWholeFile(this.#record, LAYER_TREE_BYTES_MAX);
    if (verdict.answer === 'none') return undefined;
    if (verdict.answer === 'content') return verdict.content;
    throw new DiskRefused(`${this.#record} can't be read: ${verdict.because}`, this.#putBack);
  }
}

/** What the disks of all boards take, those that no inventory knows and those that were put aside too. A file that goes away meanwhile takes nothing. Rejects with what Node says of the disk. */
export async function allocatedUnder(disksPath: string): Promise<number> {
  let sum = 0;
  for (const path of [disksPath, asidePath(disksPath)]) {
    const names = (await unlessGone(readdir(path, { recursive: true }))) ?? [];
    for (let first = 0; first < names.length; first += FILES_ASKED_AT_ONCE) {
      const some = names.slice(first, first + FILES_ASKED_AT_ONCE);
      const found = await Promise.all(some.map((name) => unlessGone(lstat(join(path, name)))));
      for (const file of found) sum += (file?.blocks ?? 0) * 512;
    }
  }
  return sum;
}

async function unlessGone<T>(asking: Promise<T>): Promise<T | undefined> {
  try {
    return await asking;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Beside it: each folder in it is a board's. */
function asidePath(disksPath: string): string {
  return `${disksPath}-aside`;
}

/** Of a thousand files that are looked at, so many threads of Node's wait for the disk at most. */
const FILES_ASKED_AT_ONCE = 16;
