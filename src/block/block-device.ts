import type { DiskPart } from './overlay/shared-layers.js';
import type { SharedFile } from './shared-file.js';

/**
 * A disk as bytes. Whatever touches an image does it through one of these. Offsets and lengths are in bytes; a range
 * that does not lie within `sizeBytes` is a bug of the caller (RangeError), not an input: who takes a range from a peer
 * or an image checks it first. Failures of the medium are `BlockError`.
 */
export interface BlockDevice {
  readonly sizeBytes: number;
  /** As other threads may use it: they leave to this object what it has to know of. Undefined where every change has to go through it: what is read-only, or on NFS, which tells the error of one write to another. */
  readonly shared?: SharedFile | undefined;
  /** The files that its bytes come from, the uppermost first, as other threads may read them. Undefined where they can't. */
  readonly parts?: readonly DiskPart[] | undefined;
  /** It lies on a disk that turns, as far as that is known: far seeks cost (NBD ROTATIONAL). */
  readonly rotational: boolean;
  /** Fills `target`. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** Fills `target` at once if the bytes are in memory already; false if that would have to wait for the disk. */
  readNow(offset: number, target: Uint8Array): boolean;
  /** Brings the bytes into memory if they are not there, so that a read soon after need not wait (NBD CACHE). A hint. */
  prefetch(offset: number, lengthBytes: number): Promise<void>;
  /** With `durable`, on stable storage when it resolves (NBD's FUA). `source` may not change until then. */
  write(offset: number, source: Uint8Array, options: { readonly durable: boolean }): Promise<void>;
  /** Every write answered before this call is on stable storage after it. */
  flush(): Promise<void>;
  /** A hint (NBD TRIM): content afterwards is undefined. */
  discard(offset: number, lengthBytes: number): Promise<void>;
  /** Reads as zeroes afterwards. `keepAllocated`: the space stays reserved (NBD's NO_HOLE). */
  zero(offset: number, lengthBytes: number, options: ZeroOptions): Promise<void>;
  /**
   * What lies where, in order, without gaps, covering exactly the range asked for; neighbours differ in kind. A badly fragmented
   * image has one extent for each of its blocks: who takes the range from a peer bounds its length.
   */
  extents(offset: number, lengthBytes: number): Promise<readonly Extent[]>;
  close(): Promise<void>;
}

export interface ZeroOptions {
  readonly keepAllocated: boolean;
  readonly durable: boolean;
  /** Only if that is quicker than writing zeroes; ENOTSUP at once, and nothing changed, where it isn't (NBD's FAST_ZERO). */
  readonly fast?: boolean;
}

export interface Extent {
  readonly offset: number;
  readonly lengthBytes: number;
  /** `zero` is allocated and reads as zeroes; `hole` takes no space. */
  readonly kind: 'data' | 'zero' | 'hole';
}

/** Throws RangeError where a caller asks for bytes that the device does not have. */
export function assertInside(device: { readonly sizeBytes: number }, offset: number, lengthBytes: number): void {
  const inside =
    Number.isSafeInteger(offset) && offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= device.sizeBytes;
  if (!inside) throw new RangeError(`${lengthBytes} bytes at ${offset} of a device of ${device.sizeBytes}`);
}
