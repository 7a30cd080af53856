import { libcFunction, SystemCallError } from './libc.js';

/**
 * ioctl(2) with FS_IOC_FIEMAP (Linux, Documentation/filesystems/fiemap.rst). It waits for the disk: worker threads only. Its third
 * parameter is `...`, which koffi has for no thread but this one; the calling conventions of both of our platforms pass it alike.
 */
const ioctl = libcFunction('ioctl', 'int ioctl(int fd, unsigned long request, void *argument)');

/** _IOWR('f', 11, struct fiemap): the same number on x86-64 and arm64. */
const FS_IOC_FIEMAP = 0xc020660b;
const FIEMAP_FLAG_SYNC = 0x01;
const FIEMAP_EXTENT_LAST = 0x01;
const FIEMAP_EXTENT_UNWRITTEN = 0x800;

const HEADER_BYTES = 32;
const EXTENT_BYTES = 56;

/** Of one call, which fills 28 KiB: an ordinary image is told in one to three calls, and a fragmented one costs no more memory at a time. */
const EXTENTS_PER_CALL = 512;

/** A run of a file that has space of its filesystem. It may begin before the range that was asked for, and end behind it. */
export interface MappedExtent {
  readonly offset: number;
  readonly lengthBytes: number;
  /** False for space that is reserved, and reads as zeroes (fallocate). */
  readonly isWritten: boolean;
}

export interface MappedExtents {
  /** In order; what lies between them is holes. */
  readonly extents: readonly MappedExtent[];
  /** There may be more behind the last one: ask again from its end. */
  readonly goesOn: boolean;
}

/**
 * Where a file has space. With `sync`, what was written before the call is brought to the disk first: until then it may have no
 * place yet (delayed allocation), or be told as not written. Undefined where the filesystem can't tell (tmpfs, NFS, FUSE).
 */
export async function mappedExtents(
  descriptor: number,
  offset: number,
  lengthBytes: number,
  { sync }: { readonly sync: boolean },
): Promise<MappedExtents | undefined> {
  const bytes = new Uint8Array(HEADER_BYTES + EXTENTS_PER_CALL * EXTENT_BYTES);
  const view = new DataView(bytes.buffer);
  encodeQuestion(view, offset, lengthBytes, sync ? FIEMAP_FLAG_SYNC : 0);
  try {
    await ioctl.later(descriptor, FS_IOC_FIEMAP, bytes);
  } catch (error) {
    if (error instanceof SystemCallError && MISSING.has(error.code)) return undefined;
    throw error;
  }
  return decodeAnswer(view);
}

// What has no ioctl at all (some FUSE filesystems) says ENOTTY.
const MISSING: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'ENOTSUP', 'ENOTTY', 'ENOSYS']);

/**
 * struct fiemap, in the machine's order, which is little-endian on both of our platforms:
 *
 *   start (8) | length (8) | flags (4) | mapped extents (4, out) | extent count (4, room for so many) | reserved (4) | extents
 */
function encodeQuestion(view: DataView, offset: number, lengthBytes: number, flags: number): void {
  view.setBigUint64(0, BigInt(offset), true);
  view.setBigUint64(8, BigInt(lengthBytes), true);
  view.setUint32(16, flags, true);
  view.setUint32(24, EXTENTS_PER_CALL, true);
}

function decodeAnswer(view: DataView): MappedExtents {
  const count = view.getUint32(20, true);
  const all = Array.from({ length: count }, (_, index) => decodeExtent(view, HEADER_BYTES + index * EXTENT_BYTES));
  return {
    extents: all.map(({ flags, ...place }) => ({ ...place, isWritten: (flags & FIEMAP_EXTENT_UNWRITTEN) === 0 })),
    goesOn: count === EXTENTS_PER_CALL && ((all.at(-1)?.flags ?? 0) & FIEMAP_EXTENT_LAST) === 0,
  };
}

/** struct fiemap_extent: logical (8) | physical (8) | length (8) | reserved (16) | flags (4) | reserved (12) */
function decodeExtent(view: DataView, at: number) {
  return {
    offset: Number(view.getBigUint64(at, true)),
    lengthBytes: Number(view.getBigUint64(at + 16, true)),
    flags: view.getUint32(at + 40, true),
  };
}
