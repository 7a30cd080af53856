import { NBD_STATUS_LOOKUPS_MAX, NBD_STATUS_WINDOW_BYTES_MAX, NBD_STATUS_WINDOW_BYTES_MIN } from '../../base/limits.js';
import type { BlockDevice, Extent } from '../../block/block-device.js';

/**
 * What lies where from `offset` on: one extent at least, `extentsMax` at most, nothing beyond the range. The device is asked for
 * a window at a time, which grows where there is little in it, so that neither a fragmented image nor a huge hole takes
 * memory or time without bound; what is left out the client asks for next.
 */
export async function allocationAt(
  device: BlockDevice,
  range: { readonly offset: number; readonly lengthBytes: number },
  extentsMax: number,
): Promise<readonly Extent[]> {
  const end = range.offset + range.lengthBytes;
  const found: Extent[] = [];
  let windowBytes = NBD_STATUS_WINDOW_BYTES_MIN;
  let at = range.offset;
  // One more than wanted: only then is the last one known to end there.
  for (let lookups = 0; lookups < NBD_STATUS_LOOKUPS_MAX && at < end && found.length <= extentsMax; lookups += 1) {
    const lengthBytes = Math.min(windowBytes, end - at);
    const extents = await device.extents(at, lengthBytes);
    for (const extent of extents) append(found, extent);
    at += lengthBytes;
    if (extents.length <= FEW) windowBytes = Math.min(4 * windowBytes, NBD_STATUS_WINDOW_BYTES_MAX);
  }
  return found.slice(0, extentsMax);
}

const FEW = 64;

function append(found: Extent[], extent: Extent): void {
  const last = found.at(-1);
  if (last === undefined || last.kind !== extent.kind) found.push(extent);
  else found[found.length - 1] = { ...last, lengthBytes: last.lengthBytes + extent.lengthBytes };
}
