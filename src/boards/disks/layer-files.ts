import { randomBytes } from 'node:crypto';
import type { Allowance } from '../../block/allowance.js';
import type { BlockDevice } from '../../block/block-device.js';
import { BlockError } from '../../block/block-error.js';
import type { Disks } from '../../block/disks.js';
import { openFileDevice } from '../../block/file-device.js';
import { grown } from '../../block/grown-device.js';
import { OverlayDevice } from '../../block/overlay/overlay-device.js';
import { OverlayDamaged, OverlayFile } from '../../block/overlay/overlay-file.js';
import { capacityFor, fileBytes, type OverlayHeader } from '../../block/overlay/overlay-format.js';
import { type DiskFolder, DiskRefused, putBackOrReset } from './disk-folder.js';
import type { Layer } from './layer-tree.js';

export interface LayerFilesOptions {
  readonly board: string;
  readonly folder: DiskFolder;
  readonly disks: Disks;
  /** Undefined: layers may take what their filesystem has. */
  readonly allowance: Allowance | undefined;
  /** Finds the image that a layer lies on, by the name of its pin. Throws DiskRefused where it is not there any more. */
  readonly baseOf: (id: string) => BlockDevice;
}

export interface OpenLayer {
  readonly layer: Layer;
  readonly device: OverlayDevice;
}

/** Makes and opens the layers of one board. The lock of `state/` is theirs too: nobody else has any business with them. */
export class LayerFiles {
  readonly #options: LayerFilesOptions;

  constructor(options: LayerFilesOptions) {
    this.#options = options;
  }

  /** A layer of which nothing is its own yet, over that device. Nothing of it is left where that fails. Throws BlockError, and what Node says of the disk. */
  async make(layer: Layer, below: BlockDevice, sizeBytes: number): Promise<OpenLayer> {
    const { board, folder, disks, allowance } = this.#options;
    const header: OverlayHeader = {
      id: layer.id,
      board,
      base: layer.base,
      sizeBytes,
      capacityBytes: capacityFor(sizeBytes),
    };
    try {
      const path = await folder.makeLayer(layer.id, fileBytes(header));
      const file = await openFileDevice(path, { access: 'readWrite', lock: 'none', disks });
      try {
        return {
          layer,
          device: new OverlayDevice(grown(below, sizeBytes), await OverlayFile.make(file, header, allowance)),
        };
      } catch (error) {
        await file.close();
        throw error;
      }
    } catch (error) {
      await folder.removeLayer(layer.id).catch(() => {});
      throw error;
    }
  }

  async unmake({ layer, device }: OpenLayer): Promise<void> {
    await device.close();
    await this.#options.folder.removeLayer(layer.id).catch(() => {});
  }

  /** All of them, the lowest first. Nothing is open where one of them is refused. Throws DiskRefused. */
  async openChain(chain: readonly Layer[], access: 'readWrite' | 'readOnly'): Promise<OpenLayer[]> {
    const open: OpenLayer[] = [];
    try {
      for (const layer of chain) {
        const below = open.at(-1)?.device ?? this.#options.baseOf(layer.base);
        open.push({ layer, device: await this.openOn(layer, below, layer === chain.at(-1) ? access : 'readOnly') });
      }
      return open;
    } catch (error) {
      await closeAll(open);
      throw error;
    }
  }

  /** Makes a layer as large as that; nobody has it open. Throws DiskRefused. */
  async grow(layer: Layer, sizeBytes: number): Promise<void> {
    const { folder, board, disks } = this.#options;
    const path = folder.layerFile(layer.id);
    const file = await openFileDevice(path, { access: 'readOnly', lock: 'none', disks });
    const { header } = await OverlayFile.open(file).finally(() => file.close());
    if (sizeBytes > header.capacityBytes) {
      throw new DiskRefused(
        `the disk of ${board} has room to grow to ${header.capacityBytes} bytes, and \`size\` is ${sizeBytes}`,
        `take a smaller \`size\`, or make an image of the disk (\`brambleboot promote ${board} FILE\`) and begin anew with that`,
      );
    }
    await folder.growLayer(layer.id, { ...header, sizeBytes });
  }

  /** One over what is open already. Throws DiskRefused. */
  async openOn(layer: Layer, below: BlockDevice, access: 'readWrite' | 'readOnly'): Promise<OverlayDevice> {
    const { folder, disks, allowance } = this.#options;
    const path = folder.layerFile(layer.id);
    try {
      const device = await openFileDevice(path, { access, lock: 'none', disks });
      try {
        const file = await OverlayFile.open(device, allowance);
        this.#mustBe(layer, file.header, below);
        return new OverlayDevice(grown(below, file.header.sizeBytes), file);
      } catch (error) {
        await device.close();
        throw error;
      }
    } catch (error) {
      if (error instanceof OverlayDamaged) throw this.#refused(layer, error.message);
      if (error instanceof BlockError) throw this.#refused(layer, whyNot(error));
      throw error;
    }
  }

  #mustBe(layer: Layer, header: OverlayHeader, below: BlockDevice): void {
    if (header.board !== this.#options.board) throw this.#refused(layer, `it is of the board ${header.board}`);
    if (header.id !== layer.id) throw this.#refused(layer, 'it is another layer, under a wrong name');
    if (header.base !== layer.base) throw this.#refused(layer, 'it lies over another version of the image');
    if (header.sizeBytes < below.sizeBytes) {
      throw this.#refused(layer, `it is a disk of ${header.sizeBytes} bytes, and lies over one of ${below.sizeBytes}`);
    }
  }

  #refused(layer: Layer, because: string): DiskRefused {
    const { folder, board } = this.#options;
    return new DiskRefused(`${folder.layerFile(layer.id)} can't be used: ${because}`, putBackOrReset(board));
  }
}

export function newLayerId(): string {
  return randomBytes(16).toString('hex');
}

export async function closeAll(layers: readonly OpenLayer[]): Promise<void> {
  for (const { device } of layers) await device.close();
}

/** Whoever tells it names the file himself. */
function whyNot({ code, facts }: BlockError): string {
  return code === 'ENOENT' ? 'it is missing' : (facts.detail ?? code);
}
