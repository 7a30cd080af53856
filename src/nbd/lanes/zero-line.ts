import { NBD_LANE_ZERO_BYTES_MAX } from '../../base/limits.js';
import type { SharedFile } from '../../block/shared-file.js';
import { zeroFile } from '../../os/stream-calls.js';
import { CommandFlag } from '../wire/constants.js';

/** A TRIM or WRITE_ZEROES, with its flags. */
export interface Zeroing {
  readonly isTrim: boolean;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Does it where the filesystem can at once, and answers whether it has. If not, nothing is lost by doing it once more where it can
 * be waited for, written out, or told why not.
 */
export function zeroHere(file: SharedFile, { isTrim, flags, offset, length }: Zeroing): boolean {
  const plain = isTrim ? 0 : CommandFlag.NoHole | CommandFlag.FastZero;
  if (file.layers !== undefined) return false;
  if ((flags & ~plain) !== 0 || length === 0 || length > NBD_LANE_ZERO_BYTES_MAX) return false;
  const pot = file.beginChange(offset, length);
  if (pot === undefined) return false;
  const done = zeroFile(file.descriptor, offset, length, (flags & CommandFlag.NoHole) !== 0) === 0;
  file.endChange(pot);
  return done;
}
