import { PARTITION_TABLE_BYTES } from '../../base/limits.js';
import { BlockError } from '../../block/block-error.js';
import { watched } from '../../block/watched-device.js';
import { fitGpt } from '../../disk/partition/fit-gpt.js';
import type { BoardEntry, ImageEntry } from '../../inventory/inventory.js';
import { sizeText } from '../../inventory/size-scalar.js';
import { fileIdentity } from '../../os/file-identity.js';
import type { BootFiles } from '../boot-files/boot-file.js';
import { BootPartition, type DiskLayout } from '../boot-files/boot-partition.js';
import { CommonBootFiles } from '../boot-files/common-boot-files.js';
import { type ImageLayout, locateBoot, readLayout } from '../boot-files/image-layout.js';
import { DiskRefused } from '../disks/disk-folder.js';
import { OwnDisk, type PinnedBase } from '../disks/own-disk.js';
import type { PinnedImage } from '../images/pinned-image.js';
import { layoutWarnings, type OpenBoard, type Opening } from './opening.js';

/** An image that several boards' disks lie over, open once for all of them. */
export interface CommonImage {
  readonly entry: ImageEntry;
  readonly pinned: PinnedImage;
  readonly layout: ImageLayout;
  /** Of its file (`fileIdentity`). */
  readonly identity: string | undefined;
  /** Its boot partition, which nobody writes to: what was read of it is for all boards. */
  readonly partition: BootPartition;
}

type Complaint = { readonly problem: string; readonly remedy: string };

/** Answers a complaint where nobody could boot from it. */
export async function openCommonImage(
  opening: Opening,
  entry: ImageEntry,
  pinned: PinnedImage,
): Promise<CommonImage | Complaint> {
  try {
    const verdict = await readLayout(pinned.device, entry);
    if (verdict.answer === 'unbootable') {
      return { problem: `${entry.file} can't be booted from: ${verdict.because}`, remedy: verdict.remedy };
    }
    const disk = watched(pinned.device);
    const partition = new BootPartition(disk, () => locateBoot(disk, entry), opening.memory);
    return { entry, pinned, layout: verdict.layout, identity: await fileIdentity(entry.file), partition };
  } catch (error) {
    if (error instanceof BlockError) return { problem: error.message, remedy: "see the host's kernel log (dmesg)" };
    throw error;
  }
}

/** A board whose disk is its own, over an image that others may lie over too. One that can't be used now is there all the same, and says why. */
export async function openLayeredBoard(
  opening: Opening,
  entry: BoardEntry,
  image: CommonImage,
): Promise<OpenBoard | Complaint> {
  const { disksPath, disks, allowance, options } = opening;
  const imageBytes = image.pinned.device.sizeBytes;
  const sizeBytes = entry.sizeBytes ?? imageBytes;
  if (sizeBytes < imageBytes) return tooSmall(entry, sizeBytes, imageBytes);
  const own = new OwnDisk({
    ...{ board: entry.name, disksPath, disks, allowance, sizeBytes, clock: options.clock },
    ...{ image: baseOf(image.pinned), isVolatile: entry.disk === 'volatile' },
    fit: async (device) => void (await fitGpt(device)),
  });
  await own.open();
  const partition = new BootPartition(own.device, () => locateBoot(own.device, image.entry), opening.memory);
  if (own.unusable === undefined) await partition.look(async () => {}).catch(() => {});
  const { waits, warnings } = await opening.waitsForSpace(disksPath);
  const strangers = await own.strangers();
  const because = [
    ...warnings,
    ...(own.unusable === undefined ? [] : [`${entry.name} can't have its disk: ${own.unusable}`]),
    ...strangers.map(
      (name) =>
        `${disksPath}/${entry.name}/${name} is no layer of the disk of ${entry.name}, nor of a snapshot: it is left alone`,
    ),
  ];
  const lasting = opening.lasting({ disk: own.device, medium: own.medium, own }, waits);
  const common = {
    image: image.entry,
    identity: image.identity,
    openFiles: lasting.openFiles,
    warnings: because.map((text) => ({ image: image.entry.name, because: text })),
    close: async () => {
      partition.close();
      await own.close();
    },
  };
  const openAs = (now: BoardEntry): OpenBoard => ({
    ...common,
    entry: now,
    board: opening.board(now, lasting, bootFilesOf(opening, now, { image, own, partition })),
    amended: openAs,
  });
  return openAs(entry);
}

export function commonWarnings({ entry, layout }: CommonImage): ReturnType<typeof layoutWarnings> {
  return layoutWarnings(entry, layout);
}

interface Disk {
  readonly image: CommonImage;
  readonly own: OwnDisk;
  readonly partition: BootPartition;
}

function bootFilesOf(opening: Opening, entry: BoardEntry, { image, own, partition }: Disk): BootFiles {
  const common = opening.bootFiles(image.partition, entry);
  // Whoever asks for boot files begins a boot, and what it had is thrown away then.
  const files = own.isVolatile
    ? common
    : new CommonBootFiles(common, opening.bootFiles(partition, entry), () => isCommon({ image, own, partition }));
  return {
    open: async (path, request) => {
      const { unusable } = own;
      return unusable === undefined ? files.open(path, request) : { answer: 'failed', because: unusable };
    },
  };
}

/** Whether the board has its boot partition where the image has it, and has written nothing to it. */
async function isCommon({ image, own, partition }: Disk): Promise<boolean> {
  const { boot, root } = image.layout;
  if (!own.isUntouched(boot.offset, boot.sizeBytes)) return false;
  if (own.isUntouched(0, Math.min(PARTITION_TABLE_BYTES, boot.offset))) return true;
  const layout = await partition.look(async (view) => view.layout).catch(() => undefined);
  const isWhereItWas = layout !== undefined && isSame(layout, { boot, rootPartition: root?.number });
  return isWhereItWas && own.isUntouched(boot.offset, boot.sizeBytes);
}

function isSame(one: DiskLayout, other: DiskLayout): boolean {
  const { boot, rootPartition } = one;
  const isSameBoot = boot.offset === other.boot.offset && boot.sizeBytes === other.boot.sizeBytes;
  return isSameBoot && rootPartition === other.rootPartition;
}

function baseOf(image: PinnedImage): PinnedBase {
  return {
    device: image.device,
    async version() {
      const verdict = await image.base();
      if (verdict.answer === 'version') return verdict.id;
      throw new DiskRefused(verdict.problem, verdict.remedy);
    },
    mustBe(version) {
      const verdict = image.verdict(version);
      if (verdict.answer !== 'same') throw new DiskRefused(verdict.problem, verdict.remedy);
    },
  };
}

function tooSmall({ name }: BoardEntry, sizeBytes: number, imageBytes: number): Complaint {
  return {
    problem: `the disk of ${name} would have ${sizeText(sizeBytes)}, and its image has ${imageBytes} bytes`,
    remedy: `write a \`size\` of that or more, or leave it out: then the disk is as large as the image`,
  };
}
