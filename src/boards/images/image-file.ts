import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { codeOf } from '../../base/errors.js';
import type { BlockDevice } from '../../block/block-device.js';
import { BlockError, blockErrorFrom } from '../../block/block-error.js';
import type { Disk, Disks } from '../../block/disks.js';
import { openFileDevice } from '../../block/file-device.js';
import type { Medium } from '../../block/flush-queue.js';
import { sizeOf } from '../../os/file-space.js';
import { factsOf, type ImageFacts } from './image-facts.js';

/** Whether the path still leads to what was opened by it. */
export type Whereabouts = 'inPlace' | 'replaced' | 'gone';

/**
 * An image that is only read: once as a device under its shared lock, and once more to be looked at. Both are the same file for as
 * long as they are open, whatever is put in its place.
 */
export class ImageFile {
  readonly path: string;
  readonly device: BlockDevice & Medium;
  readonly #handle: FileHandle;
  readonly #disk: Disk;
  readonly #opened: BigIntStats;

  private constructor(path: string, device: BlockDevice & Medium, handle: FileHandle, opened: BigIntStats, disk: Disk) {
    this.path = path;
    this.device = device;
    this.#handle = handle;
    this.#opened = opened;
    this.#disk = disk;
  }

  /** Throws BlockError as `openFileDevice` does, and EBUSY where something else is put in its place at this moment. */
  static async open(path: string, disks: Disks): Promise<ImageFile> {
    const device = await openFileDevice(path, { access: 'readOnly', lock: 'shared', disks });
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const opened = await handle.stat({ bigint: true });
      const disk = disks.of(opened.isBlockDevice() ? opened.rdev : opened.dev);
      const file = new ImageFile(path, device, handle, opened, disk);
      const isOne = (await file.whereabouts()) === 'inPlace' && sizeOf(handle.fd) === device.sizeBytes;
      if (!isOne) throw new BlockError('EBUSY', { file: path, detail: 'it is being written or replaced' });
      return file;
    } catch (error) {
      await handle?.close();
      await device.close();
      throw blockErrorFrom(error, { file: path });
    }
  }

  /** For who reads it through, with an opening of its own; open until `close`. */
  get descriptor(): number {
    return this.#handle.fd;
  }

  /** What it is now. Throws BlockError. */
  async facts(): Promise<ImageFacts> {
    try {
      const status = await this.#disk.take(this, () => this.#handle.stat({ bigint: true }));
      return factsOf(status, sizeOf(this.#handle.fd));
    } catch (error) {
      throw blockErrorFrom(error, { file: this.path });
    }
  }

  /** Throws likewise, but not where there is nothing. */
  async whereabouts(): Promise<Whereabouts> {
    try {
      const there = await this.#disk.take(this, () => stat(this.path, { bigint: true }));
      return isSame(there, this.#opened) ? 'inPlace' : 'replaced';
    } catch (error) {
      const code = codeOf(error);
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return 'gone';
      throw blockErrorFrom(error, { file: this.path });
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
    await this.device.close();
  }
}

function isSame(one: BigIntStats, other: BigIntStats): boolean {
  if (one.isBlockDevice()) return other.isBlockDevice() && one.rdev === other.rdev;
  return other.isFile() && one.dev === other.dev && one.ino === other.ino;
}
