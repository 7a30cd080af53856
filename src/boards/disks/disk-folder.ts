import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LAYER_TREE_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import {
  encodeHeader,
  fileBytes,
  HEADER_AT,
  type OverlayHeader,
  SECTOR_BYTES,
} from '../../block/overlay/overlay-format.js';
import type { LayerTree } from './layer-tree.js';
import { decodeLayerTree, encodeLayerTree } from './layer-tree-wire.js';

const LAYER = /^([0-9a-f]{32})\.overlay$/;

/** What can't be taken for a board's disk, with what to do about it. */
export class DiskRefused extends Error {
  override readonly name = 'DiskRefused';
  readonly remedy: string;

  constructor(problem: string, remedy: string) {
    super(problem);
    this.remedy = remedy;
  }
}

/** `state/disks/BOARD/`: a file for each layer, and `disk.json`, which says how they lie on each other. Rejects with what Node says of the disk, too. */
export class DiskFolder {
  readonly path: string;
  readonly #board: string;

  constructor(disksPath: string, board: string) {
    this.path = join(disksPath, board);
    this.#board = board;
  }

  /** Undefined where this board has no disk yet. Throws DiskRefused. */
  async read(): Promise<LayerTree | undefined> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    const text = await this.#text();
    const layers = (await readdir(this.path)).filter((name) => LAYER.test(name));
    if (text === undefined) {
      if (layers.length === 0) return undefined;
      throw new DiskRefused(
        `${this.#record} is missing, and there are ${layers.length} layers of ${this.#board}'s disk beside it`,
        `put it back from a backup; to begin anew from the image, move ${this.path} away`,
      );
    }
    try {
      return decodeLayerTree(this.#board, text);
    } catch (error) {
      if (!(error instanceof Malformed) && !(error instanceof SyntaxError)) throw error;
      throw new DiskRefused(
        `${this.#record} can't be read: ${error.message}`,
        `put it back from a backup; to begin anew from the image, move ${this.path} away`,
      );
    }
  }

  /** In the place of the one before in one step, and on stable storage when it resolves. */
  async write(tree: LayerTree): Promise<void> {
    const half = `${this.#record}.new`;
    try {
      await writeDurably(half, encodeLayerTree(this.#board, tree));
      await rename(half, this.#record);
    } catch (error) {
      await rm(half, { force: true }).catch(() => {}); // on a full disk its bytes are wanted back
      throw error;
    }
    await settle(this.path);
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
    await settle(this.path);
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

  get #record(): string {
    return join(this.path, 'disk.json');
  }

  async #text(): Promise<string | undefined> {
    try {
      // A pipe that somebody put there would be waited for.
      const file = await open(this.#record, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
      try {
        const { size } = await file.stat();
        if (size <= LAYER_TREE_BYTES_MAX) return await readFile(file, 'utf8');
      } finally {
        await file.close();
      }
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    throw new DiskRefused(`${this.#record} has more than ${LAYER_TREE_BYTES_MAX} bytes`, 'put it back from a backup');
  }
}

/** What the disks of all boards take, those that no inventory knows too. A file that goes away meanwhile takes nothing. */
export async function allocatedUnder(disksPath: string): Promise<number> {
  const names = await readdir(disksPath, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    names.map(async (name) => {
      const found = await stat(join(disksPath, name)).catch(() => undefined);
      return (found?.blocks ?? 0) * 512;
    }),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Names in a folder outlive the host only when the folder was synced. */
async function settle(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
