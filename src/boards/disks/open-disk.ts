import type { Allowance } from '../../block/allowance.js';
import type { BlockDevice } from '../../block/block-device.js';
import type { Disks } from '../../block/disks.js';
import type { OverlayDevice } from '../../block/overlay/overlay-device.js';
import { DiskFolder, DiskRefused } from './disk-folder.js';
import { closeAll, LayerFiles, newLayerId, type OpenLayer } from './layer-files.js';
import { chainOf, type LayerTree, layerOf, newTree, unmadeTree } from './layer-tree.js';

export interface BoardDiskOptions {
  readonly board: string;
  /** `state/disks`. */
  readonly disksPath: string;
  /** The name of the pinned version of the image that a disk which is not there yet lies on. */
  readonly base: string | undefined;
  /** Finds the image of a layer, by the name of its pin. Throws DiskRefused where it is not there any more. */
  readonly baseOf: (id: string) => BlockDevice;
  readonly sizeBytes: number;
  /** For the disks of all boards together; undefined: there is no limit. */
  readonly allowance?: Allowance | undefined;
  readonly disks: Disks;
  /** Makes what the image says of its size true of the disk's: called when the disk was made, begun anew, or has grown. */
  readonly fit: (device: BlockDevice) => Promise<void>;
}

export interface OpenDisk {
  readonly folder: DiskFolder;
  readonly files: LayerFiles;
  readonly tree: LayerTree;
  /** Those that the current one lies on, and it, the lowest first. */
  readonly layers: readonly OpenLayer[];
}

/** A board's disk as it was left; a new one if there is none. Throws DiskRefused, BlockError, and what Node says of the disk; nothing is open then. */
export async function openDisk(options: BoardDiskOptions): Promise<OpenDisk> {
  const { board, disks, allowance, baseOf } = options;
  const folder = new DiskFolder(options.disksPath, board);
  const files = new LayerFiles({ board, folder, disks, allowance, baseOf });
  const tree = await folder.read();
  if (tree === undefined) return makeDisk(options, folder, files);
  const layers = await files.openChain(chainOf(tree, tree.current), 'readWrite');
  const { sizeBytes } = topOf(layers);
  if (sizeBytes === options.sizeBytes) return { folder, files, tree, layers };
  await closeAll(layers);
  if (sizeBytes > options.sizeBytes) throw tooSmall(options, sizeBytes);
  await files.grow(layerOf(tree, tree.current), options.sizeBytes);
  const larger = await files.openChain(chainOf(tree, tree.current), 'readWrite');
  return fitted(options, { folder, files, tree, layers: larger });
}

export function topOf(layers: readonly OpenLayer[]): OverlayDevice {
  const top = layers.at(-1);
  if (top === undefined) throw new RangeError('a disk without layers');
  return top.device;
}

async function makeDisk(options: BoardDiskOptions, folder: DiskFolder, files: LayerFiles): Promise<OpenDisk> {
  const { base, baseOf, sizeBytes } = options;
  if (base === undefined) throw new RangeError('a new disk lies on nothing');
  await folder.removeUnmade();
  const id = newLayerId();
  await folder.write(unmadeTree(id));
  const fresh = await files.make({ id, parent: undefined, base }, baseOf(base), sizeBytes);
  const tree = newTree(id, base);
  try {
    await options.fit(fresh.device);
    await fresh.device.flush();
    await folder.write(tree);
  } catch (error) {
    await files.unmake(fresh);
    throw error;
  }
  return { folder, files, tree, layers: [fresh] };
}

async function fitted({ fit }: BoardDiskOptions, disk: OpenDisk): Promise<OpenDisk> {
  try {
    await fit(topOf(disk.layers));
    await topOf(disk.layers).flush();
    return disk;
  } catch (error) {
    await closeAll(disk.layers);
    throw error;
  }
}

function tooSmall({ board, sizeBytes }: BoardDiskOptions, hasBytes: number): DiskRefused {
  return new DiskRefused(
    `the disk of ${board} has ${hasBytes} bytes, and the inventory makes it ${sizeBytes}: its end would be cut off`,
    `write \`size: ${hasBytes / 1024 ** 2}MiB\` or more, or \`brambleboot reset ${board}\` before`,
  );
}
