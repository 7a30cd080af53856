import { BlockError } from '../../block/block-error.js';
import { openFileDevice } from '../../block/file-device.js';
import { watched } from '../../block/watched-device.js';
import type { BoardEntry, ImageEntry } from '../../inventory/inventory.js';
import { fileIdentity } from '../../os/file-identity.js';
import { BootPartition } from '../boot-files/boot-partition.js';
import { locateBoot, readLayout } from '../boot-files/image-layout.js';
import { layoutWarnings, type OpenBoard, type Opening } from './opening.js';

/** A board whose disk is the image file itself. */
export async function openDirectBoard(
  opening: Opening,
  entry: BoardEntry,
  image: ImageEntry,
): Promise<OpenBoard | { readonly problem: string; readonly remedy: string }> {
  const { disks, memory } = opening;
  let device: Awaited<ReturnType<typeof openFileDevice>> | undefined;
  try {
    device = await openFileDevice(image.file, { access: 'readWrite', lock: 'exclusive', disks });
    const verdict = await readLayout(device, image);
    if (verdict.answer === 'unbootable') {
      await device.close();
      return { problem: `${image.file} can't be booted from: ${verdict.because}`, remedy: verdict.remedy };
    }
    const { waits, warnings } = await opening.waitsForSpace(image.file);
    const disk = watched(device);
    const partition = new BootPartition(disk, () => locateBoot(disk, image), memory);
    // Whoever writes elsewhere need not tell from now on. A damaged one is told about when it is asked for.
    await partition.look(async () => {}).catch(() => {});
    const lasting = opening.lasting({ disk, medium: device, own: undefined }, waits);
    const common = {
      image,
      identity: await fileIdentity(image.file),
      openFiles: lasting.openFiles,
      warnings: [
        ...layoutWarnings(image, verdict.layout),
        ...warnings.map((because) => ({ image: image.name, because })),
      ],
      close: async () => {
        partition.close();
        await disk.close();
      },
    };
    const openAs = (now: BoardEntry): OpenBoard => ({
      ...common,
      entry: now,
      board: opening.board(now, lasting, opening.bootFiles(partition, now)),
      amended: openAs,
    });
    return openAs(entry);
  } catch (error) {
    await device?.close();
    if (error instanceof BlockError) return { problem: error.message, remedy: remedyFor(error) };
    throw error;
  }
}

function remedyFor(error: BlockError): string {
  switch (error.code) {
    case 'EBUSY':
      return 'stop that program: a disk that two write to is lost';
    case 'ENOENT':
      return 'correct the path; it is relative to the inventory';
    case 'EACCES':
    case 'EPERM':
      return 'make the file readable and writable for the user that the server runs as';
    case 'EROFS':
      return 'the filesystem is mounted read-only: a direct disk is written to';
    default:
      return "see the host's kernel log (dmesg) for the disk under it";
  }
}
