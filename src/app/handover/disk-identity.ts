import type { Board } from '../../boards/board.js';
import { descriptorIdentity } from '../../os/file-identity.js';

/**
 * The file that takes a board's writes, and how large its disk is: a kernel goes on with what it knows of its disk, so another one in
 * its place would be destroyed. Undefined where its disk can't be used.
 */
export function diskIdentity({ disk }: Board): string | undefined {
  const { shared, sizeBytes } = disk;
  const file = shared && descriptorIdentity(shared.descriptor);
  return file === undefined ? undefined : `${file}, ${sizeBytes} bytes`;
}
