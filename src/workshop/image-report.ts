import { bytesText } from '../base/amounts.js';
import type { Clock } from '../base/clock.js';
import { BlockError } from '../block/block-error.js';
import { openFileDevice } from '../block/file-device.js';
import { watched } from '../block/watched-device.js';
import { BootPartition, readFrom } from '../boards/boot-partition.js';
import { Budget } from '../boards/budget.js';
import { type ImageLayout, locateBoot, type PartitionWishes, readLayout } from '../boards/image-layout.js';
import { DiskFault } from '../disk/disk-fault.js';
import { bootDescriptionLines, describeBoot } from './initramfs/boot-description.js';

export type ImageReport =
  /** Sentences for people, one a line. */
  | { readonly answer: 'bootable'; readonly lines: readonly string[] }
  | { readonly answer: 'unbootable'; readonly because: string };

/** What an image can boot, looked at without a lock and without writing: a board may be running on it. */
export async function reportImage(file: string, wishes: PartitionWishes, clock: Clock): Promise<ImageReport> {
  const device = await openFileDevice(file, { access: 'readOnly', lock: 'none' }).catch(blockErrorOnly);
  if (device instanceof BlockError) return { answer: 'unbootable', because: device.message };
  const disk = watched(device);
  const nothing = new Budget(0);
  const partition = new BootPartition(disk, () => locateBoot(disk, wishes), {
    kept: nothing,
    saved: nothing,
    remembered: nothing,
  });
  try {
    const verdict = await readLayout(disk, wishes);
    if (verdict.answer === 'unbootable') return verdict;
    const description = await partition.look((view) =>
      describeBoot((path, bytesMax) => readFrom(view, path, bytesMax), clock),
    );
    return { answer: 'bootable', lines: [...layoutLines(verdict.layout), ...bootDescriptionLines(description)] };
  } catch (error) {
    if (error instanceof DiskFault || error instanceof BlockError)
      return { answer: 'unbootable', because: error.message };
    throw error;
  } finally {
    partition.close();
    await device.close();
  }
}

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
