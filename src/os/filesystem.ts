import { readdir, readFile, realpath, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/** What a filesystem has, and has left for us. */
export interface FilesystemSpace {
  /** 0 where it has no size of its own (some FUSE filesystems). */
  readonly sizeBytes: number;
  /** What a process without privileges may still take, as `df` shows it. */
  readonly freeBytes: number;
}

export interface FileAllocation {
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  /** Another one for another file that has taken its path. */
  readonly identity: string;
}

/** Which filesystem a path lies on: two paths on the same one have the same `device`. */
export interface FilesystemPlace {
  readonly device: number;
  readonly mountPoint: string;
  /** False for a block device and the like, whose space is not the filesystem's. */
  readonly holdsIt: boolean;
}

/** statfs(2)'s f_type of NFS (include/uapi/linux/magic.h). */
const NFS_SUPER_MAGIC = 0x6969;

/** Each of these may wait for as long as the filesystem does, and holds one thread meanwhile. They reject with Node's error. */
export async function spaceOf(path: string): Promise<FilesystemSpace> {
  const { blocks, bavail, bsize } = await statfs(path);
  return { sizeBytes: blocks * bsize, freeBytes: bavail * bsize };
}

/** What a file takes of its filesystem (st_blocks, which counts in 512 bytes whatever the filesystem's blocks are); a sparse one less than its size. */
export async function allocationOf(file: string): Promise<FileAllocation> {
  const { size, blocks, dev, ino } = await stat(file);
  return { sizeBytes: size, allocatedBytes: blocks * 512, identity: `${dev} ${ino}` };
}

/** What the files in a folder take together. One that goes away meanwhile takes nothing; one after the other, so that no more than one thread may hang. */
export async function folderAllocationOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder)) {
    const allocation = await allocationOf(join(folder, name)).catch(() => undefined);
    bytes += allocation?.allocatedBytes ?? 0;
  }
  return bytes;
}

export async function filesystemOf(path: string): Promise<FilesystemPlace> {
  const real = await realpath(path);
  const status = await stat(real);
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  const mountPoint = mountPointIn(table, real);
  return { device: status.dev, mountPoint, holdsIt: status.isFile() || status.isDirectory() };
}

/** Whether a write there is answered before it is known whether there is space for it. */
export async function findsFullLate(path: string): Promise<boolean> {
  return (await statfs(path)).type === NFS_SUPER_MAGIC;
}

/**
 * The mount point that a path without links lies under, by the table of proc_pid_mountinfo(5):
 *
 *     36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
 *                      └ where it is mounted; blanks and the like as \040
 */
export function mountPointIn(table: string, path: string): string {
  const mountPoints = table
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, digits) => octalCharacter(digits)))
    .filter((point) => point === '/' || point === path || (point !== '' && path.startsWith(`${point}/`)));
  return mountPoints.reduce((longest, point) => (point.length > longest.length ? point : longest), '/');
}

function octalCharacter(digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 8));
}
