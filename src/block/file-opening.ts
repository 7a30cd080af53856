import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { replaceDescriptor } from '../os/descriptor-replacement.js';
import { lockFile, lockHolder, loopDeviceOf, passLock } from '../os/file-lock.js';
import { sizeOf } from '../os/file-space.js';
import { findsFullLate } from '../os/filesystem.js';
import { isRotational } from '../os/rotational.js';
import { BlockError, blockErrorFrom } from './block-error.js';

export interface FileDeviceOptions {
  readonly access: 'readWrite' | 'readOnly';
  /** `exclusive` for a disk that is written, `shared` for a base that several read, `none` for a look at what others may be writing. */
  readonly lock: 'exclusive' | 'shared' | 'none';
}

export interface OpenFile extends FileDeviceOptions {
  readonly file: string;
  readonly handle: FileHandle;
  readonly sizeBytes: number;
  /** Otherwise it is a block device. */
  readonly isFile: boolean;
  readonly rotational: boolean;
  /** On NFS an error of one write may be told to another, and only once. */
  readonly failsLate: boolean;
  /** The kernel's number of what it lies on. */
  readonly disk: bigint;
}

/** A regular file or a block device under its lock. Throws BlockError, as `openFileDevice` says. */
export async function openUnderLock(file: string, options: FileDeviceOptions): Promise<OpenFile> {
  const handle = await openFile(file, options);
  try {
    const status = await handle.stat({ bigint: true });
    if (!status.isFile() && !status.isBlockDevice()) {
      throw new BlockError('EINVAL', { file, detail: 'neither a regular file nor a block device' });
    }
    if (options.lock !== 'none' && !lockFile(handle.fd, options.lock)) {
      throw new BlockError('EBUSY', { file, detail: `in use by ${lockHolder(file) ?? 'another program'}` });
    }
    const loop = options.lock === 'exclusive' ? loopDeviceOf(file) : undefined;
    if (loop !== undefined) throw new BlockError('EBUSY', { file, detail: `in use by ${loop} (see \`losetup\`)` });
    const isFile = status.isFile();
    const disk = isFile ? status.dev : status.rdev;
    const { access, lock } = options;
    const failsLate = isFile && (await findsFullLate(file));
    const sizeBytes = sizeOf(handle.fd);
    return { access, lock, file, handle, sizeBytes, isFile, disk, rotational: isRotational(disk), failsLate };
  } catch (error) {
    await handle.close();
    throw blockErrorFrom(error, { file });
  }
}

/**
 * Opens the file anew behind the same descriptor, so that nobody who uses it has to know. The lock is never let go of to another
 * who would write. Throws BlockError where it is gone, or another file lies there now: then all is as before.
 */
export async function reopenInPlace({ file, handle, sizeBytes, isFile, ...options }: OpenFile): Promise<void> {
  const fresh = await openFile(file, options);
  try {
    if (!(await isSame(handle, fresh, isFile)) || sizeOf(fresh.fd) < sizeBytes) {
      throw new BlockError('EINVAL', {
        file,
        detail: 'another file lies there now, or a smaller one: restart the server',
      });
    }
    if (options.lock !== 'none' && !passLock(handle.fd, fresh.fd, options.lock)) {
      throw new BlockError('EBUSY', {
        file,
        detail: 'another program has just locked it to read it: end that, and try again',
      });
    }
    await replaceDescriptor(handle.fd, fresh.fd);
  } catch (error) {
    throw blockErrorFrom(error, { file });
  } finally {
    await fresh.close();
  }
}

async function openFile(file: string, { access }: FileDeviceOptions): Promise<FileHandle> {
  try {
    // O_NONBLOCK: opening a FIFO that somebody put there would wait for ever.
    return await open(file, (access === 'readOnly' ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK);
  } catch (error) {
    throw blockErrorFrom(error, { file });
  }
}

/** A block device is its number, whatever node leads to it; a file is its inode. */
async function isSame(one: FileHandle, other: FileHandle, isFile: boolean): Promise<boolean> {
  const [a, b] = await Promise.all([one.stat({ bigint: true }), other.stat({ bigint: true })]);
  return isFile ? b.isFile() && a.dev === b.dev && a.ino === b.ino : b.isBlockDevice() && a.rdev === b.rdev;
}
