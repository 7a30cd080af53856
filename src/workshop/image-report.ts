import { bytesText } from '../base/amounts.js';
import { Budget } from '../base/budget.js';
import type { Clock } from '../base/clock.js';
import { BlockError } from '../block/block-error.js';
import { openFileDevice } from '../block/file-device.js';
import { watched } from '../block/watched-device.js';
import { BootPartition, readFrom } from '../boards/boot-files/boot-partition.js';
import { type ImageLayout, locateBoot, type PartitionWishes, readLayout } from '../boards/boot-files/image-layout.js';
import { PieceStore } from '../boards/boot-files/piece-store.js';
import { DiskFault } from '../disk/disk-fault.js';
import { bootDescriptionLines, describeBoot } from './initramfs/boot-description.js';

export type ImageReport =
  /** Sentences for people, one a line; `bootsNothing` if no kind of board gets as far as its disk with what is there. */
  | { readonly answer: 'bootable'; readonly lines: readonly string[]; readonly bootsNothing: boolean }
  | { readonly answer: 'unbootable'; readonly because: string; readonly remedy: string };

/** What an image can boot, looked at without a lock and without writing: a board may be running on it. */
export async function reportImage(file: string, wishes: PartitionWishes, clock: Clock): Promise<ImageReport> {
  const device = await openFileDevice(file, { access: 'readOnly', lock: 'none' }).catch(blockErrorOnly);
  if (device instanceof BlockError) return { answer: 'unbootable', because: device.message, remedy: NAME_ANOTHER };
  const disk = watched(device);
  const nothing = { kept: new PieceStore(0), saved: new PieceStore(0), remembered: new Budget(0) };
  const partition = new BootPartition(disk, () => locateBoot(disk, wishes), nothing);
  try {
    const verdict = await readLayout(disk, wishes);
    if (verdict.answer === 'unbootable') return verdict;
    const description = await partition.look((view) =>
      describeBoot((path, bytesMax) => readFrom(view, path, bytesMax), clock),
    );
    const lines = [...layoutLines(verdict.layout), ...bootDescriptionLines(description)];
    const bootsNothing = !description.models.some(({ answer }) => answer === 'boots');
    return { answer: 'bootable', lines, bootsNothing };
  } catch (error) {
    if (error instanceof DiskFault || error instanceof BlockError)
      return { answer: 'unbootable', because: error.message, remedy: NAME_ANOTHER };
    throw error;
  } finally {
    partition.close();
    await device.close();
  }
}

const NAME_ANOTHER = 'copy the image there anew, or name another file';

function layoutLines({ table, boot, root, rootless }: ImageLayout): readonly string[] {
  const scheme = { mbr: 'MBR', gpt: 'GPT', hybrid: 'GPT with a hybrid MBR', none: 'no partition table' }[table.scheme];
  const rootText =
    root === undefined
      ? `no root partition: ${rootless ?? ''}`
      : `root from partition ${root.number} (/dev/nbd0p${root.number})`;
  return [
    `${scheme}; boots from partition ${boot.number} (${bytesText(boot.sizeBytes)}), ${rootText}`,
    ...table.warnings.map((fault) => `warning: ${fault.message}`),
  ];
}

function blockErrorOnly(error: unknown): BlockError {
  if (error instanceof BlockError) return error;
  throw error;
}
