import { fdatasync, read, write } from 'node:fs';
import { CachedReader } from '../os/cached-read.js';
import { type FileMap, mapFile, unmapFile } from '../os/file-residency.js';
import { dropCached, readAhead } from '../os/file-space.js';
import { assertInside, type BlockDevice, type Extent, type ZeroOptions } from './block-device.js';
import { BlockError, blockErrorFrom } from './block-error.js';
import { type Disk, Disks, type InTurn } from './disks.js';
import { FileAllocation } from './file-allocation.js';
import { type FileDeviceOptions, type OpenFile, openUnderLock, reopenInPlace } from './file-opening.js';
import { FileZeroing } from './file-zeroing.js';
import { FlushQueue, type Medium } from './flush-queue.js';
import type { DiskPart } from './overlay/shared-layers.js';
import { SharedFile } from './shared-file.js';

/** Zeroes are written from a buffer of this size where the filesystem can't zero by itself. */
const ZERO_PIECE_BYTES = 1024 * 1024;

/**
 * Opens a regular file or a block device as a disk. Its size is what it was at opening. Throws BlockError: EBUSY with who
 * has the lock, EACCES, ENOENT, EINVAL for what is neither file nor block device. `disks` of a process that opens several.
 */
export async function openFileDevice(
  file: string,
  { disks = new Disks(), ...options }: FileDeviceOptions & { readonly disks?: Disks },
): Promise<BlockDevice & Medium> {
  const open = await openUnderLock(file, options);
  return new FileDevice(open, disks.of(open.disk));
}

class FileDevice implements BlockDevice, Medium {
  readonly sizeBytes: number;
  readonly rotational: boolean;
  readonly #open: OpenFile;
  readonly #file: string;
  readonly #descriptor: number;
  readonly #inTurn: InTurn;
  readonly #cached: CachedReader;
  readonly #zeroing: FileZeroing;
  readonly #allocation: FileAllocation | undefined;
  readonly shared: SharedFile | undefined;
  readonly parts: readonly DiskPart[] | undefined;
  readonly #mapped: FileMap | undefined;
  readonly #flushes = new FlushQueue(() => this.#sync());
  #isClosed = false;

  constructor(open: OpenFile, disk: Disk) {
    const { file, handle, isFile } = open;
    this.#open = open;
    this.#file = file;
    this.#descriptor = handle.fd;
    this.#inTurn = (operation) => disk.take(this, operation);
    this.#cached = new CachedReader(handle.fd);
    this.#zeroing = new FileZeroing(file, handle.fd, this.#inTurn);
    this.#allocation = isFile ? new FileAllocation(handle.fd, this.#inTurn) : undefined;
    this.sizeBytes = open.sizeBytes;
    this.rotational = open.rotational;
    // What another thread tried and left to us would be tried here once more, and the error of the first time be lost.
    const isShared = this.#isWritable && !open.failsLate;
    this.shared = isShared ? SharedFile.create(this.#descriptor, this.sizeBytes, disk.underWay) : undefined;
    const isOnlyRead = !this.#isWritable && !open.failsLate;
    this.#mapped = isOnlyRead ? mapFile(this.#descriptor, this.sizeBytes) : undefined;
    const part = { descriptor: this.#descriptor, at: 0, sizeBytes: this.sizeBytes, blocks: undefined };
    this.parts = isShared || isOnlyRead ? [{ ...part, map: this.shared?.map ?? this.#mapped }] : undefined;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    assertInside(this, offset, target.length);
    let done = 0;
    while (done < target.length) {
      const count = await this.#readSome(offset + done, target.subarray(done));
      // The file became shorter than at opening: somebody truncated it under a running board.
      if (count === 0)
        throw new BlockError('EIO', {
          file: this.#file,
          offset: offset + done,
          detail: 'the file ends before its size',
        });
      done += count;
    }
  }

  readNow(offset: number, target: Uint8Array): boolean {
    assertInside(this, offset, target.length);
    return this.#cached.readNow(offset, target);
  }

  async prefetch(offset: number, lengthBytes: number): Promise<void> {
    assertInside(this, offset, lengthBytes);
    const ahead = this.#inTurn(() => readAhead(this.#descriptor, offset, lengthBytes));
    await this.#at(offset, lengthBytes, ahead);
  }

  async write(offset: number, source: Uint8Array, options: { readonly durable: boolean }): Promise<void> {
    assertInside(this, offset, source.length);
    this.#mustBeWritable();
    let done = 0;
    while (done < source.length) done += await this.#writeSome(offset + done, source.subarray(done));
    if (options.durable) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#isWritable) await this.#flushes.flush();
  }

  async discard(offset: number, lengthBytes: number): Promise<void> {
    assertInside(this, offset, lengthBytes);
    this.#mustBeWritable();
    if (lengthBytes > 0) await this.#zeroing.punched(offset, lengthBytes);
  }

  async zero(offset: number, lengthBytes: number, options: ZeroOptions): Promise<void> {
    assertInside(this, offset, lengthBytes);
    this.#mustBeWritable();
    if (lengthBytes > 0) {
      const done = options.keepAllocated
        ? await this.#zeroing.zeroed(offset, lengthBytes)
        : (await this.#zeroing.punched(offset, lengthBytes)) || (await this.#zeroing.zeroed(offset, lengthBytes));
      if (!done && options.fast) {
        throw new BlockError('ENOTSUP', {
          file: this.#file,
          offset,
          lengthBytes,
          detail: 'zeroes would have to be written',
        });
      }
      if (!done) await this.#writeZeroes(offset, lengthBytes);
    }
    if (options.durable) await this.flush();
  }

  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    assertInside(this, offset, lengthBytes);
    // A block device does not say what it has space for.
    const whole = lengthBytes === 0 ? [] : [{ offset, lengthBytes, kind: 'data' } as const];
    return this.#allocation === undefined
      ? whole
      : this.#at(offset, lengthBytes, this.#allocation.extents(offset, lengthBytes));
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.shared?.close();
    if (this.#mapped !== undefined) unmapFile(this.#mapped);
    await this.#open.handle.close();
  }

  get failure(): BlockError | undefined {
    return this.#flushes.failure;
  }

  listen(listener: (failure: BlockError | undefined) => void): void {
    this.#flushes.listen(listener);
  }

  async reopen(): Promise<void> {
    await this.#flushes.recover(async () => {
      await reopenInPlace(this.#open);
      if (this.shared !== undefined) this.shared.hasLostWrites = false;
    });
    // What was lost is still in memory, and would be read until it is needed for something else: better what is on the disk, at once.
    const dropped = this.#inTurn(() => dropCached(this.#descriptor));
    await this.#at(0, this.sizeBytes, dropped);
  }

  get #isWritable(): boolean {
    return this.#open.access === 'readWrite';
  }

  /** One at a time, also of those that other threads do: of two at once only one is told what was lost. */
  async #sync(): Promise<void> {
    const { shared } = this;
    await shared?.takeSync();
    try {
      if (shared?.hasLostWrites) throw this.#lostWrites('in another thread');
      await this.#syncNow();
    } catch (error) {
      if (shared !== undefined) shared.hasLostWrites = true;
      throw error;
    } finally {
      shared?.giveSync();
    }
  }

  #syncNow(): Promise<void> {
    return this.#inTurn(
      () =>
        new Promise((resolve, reject) => {
          fdatasync(this.#descriptor, (error) => (error === null ? resolve() : reject(this.#lostWrites(error))));
        }),
    );
  }

  #lostWrites(error: unknown): BlockError {
    return blockErrorFrom(error, { file: this.#file, detail: 'fdatasync failed: written data may be lost' });
  }

  #readSome(offset: number, target: Uint8Array): Promise<number> {
    return this.#inTurn(
      () =>
        new Promise((resolve, reject) => {
          read(this.#descriptor, target, 0, target.length, offset, (error, count) => {
            if (error === null) resolve(count);
            else reject(blockErrorFrom(error, { file: this.#file, offset, lengthBytes: target.length }));
          });
        }),
    );
  }

  #writeSome(offset: number, source: Uint8Array): Promise<number> {
    return this.#inTurn(
      () =>
        new Promise((resolve, reject) => {
          write(this.#descriptor, source, 0, source.length, offset, (error, count) => {
            if (error === null) resolve(count);
            else reject(blockErrorFrom(error, { file: this.#file, offset, lengthBytes: source.length }));
          });
        }),
    );
  }

  async #writeZeroes(offset: number, lengthBytes: number): Promise<void> {
    const zeroes = new Uint8Array(Math.min(lengthBytes, ZERO_PIECE_BYTES));
    for (let done = 0; done < lengthBytes; ) {
      const piece = zeroes.subarray(0, Math.min(zeroes.length, lengthBytes - done));
      await this.write(offset + done, piece, { durable: false });
      done += piece.length;
    }
  }

  async #at<T>(offset: number, lengthBytes: number, call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      throw blockErrorFrom(error, { file: this.#file, offset, lengthBytes });
    }
  }

  #mustBeWritable(): void {
    if (!this.#isWritable) throw new BlockError('EROFS', { file: this.#file, detail: 'opened read-only' });
  }
}
