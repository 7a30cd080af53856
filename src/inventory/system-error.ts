import { codeOf } from '../base/errors.js';
import { whoWeAre } from '../base/own-user.js';
import type { Complaint } from './fault.js';

/** Why the kernel would not let us at a file, for somebody who did not write the program. */
export function explainSystemError(error: unknown, what: string, ifMissing: string): Complaint {
  const code = codeOf(error);
  switch (code) {
    case 'ENOENT':
      return { problem: `${what} does not exist`, remedy: ifMissing };
    case 'ENOTDIR':
      return { problem: `${what} does not exist: something on its path is a file, not a folder`, remedy: ifMissing };
    case 'EACCES':
    case 'EPERM':
      return {
        problem: `${what} may not be opened by ${whoWeAre()}`,
        remedy: 'give the file to that user (`chown`), and look at the folders above it: `namei -l`',
      };
    case 'EROFS':
      return {
        problem: `${what} is on a file system that is mounted read-only`,
        remedy: 'mount it for writing, or move the file',
      };
    case 'EISDIR':
      return { problem: `${what} is a folder`, remedy: 'name the file in it' };
    case 'ELOOP':
      return { problem: `${what} is a symbolic link that leads back to itself`, remedy: 'look at it with `namei -l`' };
    case 'ENAMETOOLONG':
      return { problem: `${what} has a name longer than Linux allows`, remedy: 'choose a shorter path' };
    case 'ENODEV':
    case 'ENXIO':
      return { problem: `${what} is a device that is not there`, remedy: 'is it plugged in? Look with `lsblk`' };
    case undefined:
      // Not from the kernel: a bug of ours, which must not look like the user's mistake.
      throw error;
    default:
      return { problem: `${what} can't be opened: ${code}`, remedy: 'look into the kernel log: `dmesg`' };
  }
}
