import type { BigIntStats } from 'node:fs';

/** What stat(2) says of an image, as far as its content shows in that. */
export interface ImageFacts {
  readonly sizeBytes: number;
  readonly sight: Sight;
}

export interface Sight {
  readonly kind: 'file' | 'blockDevice';
  /** Of a block device 0, as the inode: what changes there is the node in /dev, if anything. */
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  /** The kernel's number: of what a file lies on, or of the block device itself. */
  readonly device: bigint;
}

/** With the size told apart: stat(2) says 0 for that of a block device. */
export function factsOf(status: BigIntStats, sizeBytes: number): ImageFacts {
  const { mtimeNs, ctimeNs, ino, dev, rdev } = status;
  return status.isBlockDevice()
    ? { sizeBytes, sight: { kind: 'blockDevice', mtimeNs: 0n, ctimeNs: 0n, inode: 0n, device: rdev } }
    : { sizeBytes, sight: { kind: 'file', mtimeNs, ctimeNs, inode: ino, device: dev } };
}

export type FastCheck =
  /** Size, time and inode are as they were. */
  | 'same'
  /** As far as can be seen, and enough to serve it; but its digest should be looked at again. */
  | 'likely'
  /** Of the same size: only the content tells. */
  | 'open'
  | 'different';

/**
 * Whether it is what it was. Not by the number of the device that a file lies on: LVM, btrfs and NFS give other ones after a reboot.
 *
 * A file whose ctime alone differs is *likely* the same: so it is after chmod, a rename or a hard link, but also if another file has got
 * the same inode and the same time, such as one out of an archive whose files all have one date. Of a block device nothing can be seen
 * but size and number, so it is likely the same at best, and read at each start; where the number is another one (LVM gives them
 * in the order of activation), it is read before it is served.
 */
export function fastCheck(
  pinned: { readonly sizeBytes: number; readonly seen: Sight | undefined },
  { sizeBytes, sight }: ImageFacts,
): FastCheck {
  const { seen } = pinned;
  if (pinned.sizeBytes !== sizeBytes) return 'different';
  if (seen === undefined || seen.kind !== sight.kind) return 'open';
  if (sight.kind === 'blockDevice') return seen.device === sight.device ? 'likely' : 'open';
  if (!isSameSight(seen, sight)) return 'open';
  return seen.ctimeNs === sight.ctimeNs ? 'same' : 'likely';
}

/** Of one opening: whether its content may have been changed since. ctime does not count, a backup that makes hard links every night changes that. */
export function isUntouched(before: ImageFacts, now: ImageFacts): boolean {
  return before.sizeBytes === now.sizeBytes && isSameSight(before.sight, now.sight);
}

function isSameSight(one: Sight, other: Sight): boolean {
  return one.mtimeNs === other.mtimeNs && one.inode === other.inode;
}
