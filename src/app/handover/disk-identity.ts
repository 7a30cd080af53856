import type { Board } from '../../boards/board.js';
import { descriptorIdentity, descriptorModified } from '../../os/file-identity.js';

/**
 * The file that takes a board's writes, and how large its disk is: a kernel goes on with what it knows of its disk, so another one in
 * its place would be destroyed. Undefined where its disk can't be used.
 */
export function diskIdentity({ disk }: Board): string | undefined {
  const { shared, sizeBytes } = disk;
  const file = shared && descriptorIdentity(shared.descriptor);
  return file === undefined ? undefined : `${file}, ${sizeBytes} bytes`;
}

/**
 * When the file of a direct disk was written last: who has put another one in its place may have got the same inode for it. Undefined
 * for a disk of layers, which writes as it is closed, and has names of its own; and for a block device, which has no such time.
 */
export function diskModified({ disk, own }: Board): string | undefined {
  return disk.shared === undefined || own !== undefined ? undefined : descriptorModified(disk.shared.descriptor);
}
