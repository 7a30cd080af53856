import { LAYER_COPY_BYTES } from '../../base/limits.js';
import { BlockState } from '../../block/overlay/block-states.js';
import type { OverlayDevice } from '../../block/overlay/overlay-device.js';

/**
 * Brings into `target` what only `source` has, of two layers that lie on each other: either what the lower one has and the upper one
 * has not, or all that the upper one has, over what the lower one has. Whoever reads through both sees the same at every moment, so
 * that it may break off anywhere and be begun again. On stable storage when it resolves. Throws BlockError.
 */
export async function mergeInto(
  target: OverlayDevice,
  source: OverlayDevice,
  how: 'whatTargetLacks' | 'allOfSource',
): Promise<void> {
  for (const { state, offset, lengthBytes } of source.ownRuns()) {
    for (let at = offset; at < offset + lengthBytes; at += LAYER_COPY_BYTES) {
      const length = Math.min(LAYER_COPY_BYTES, offset + lengthBytes - at);
      if (how === 'allOfSource') await copy(target, source, state, at, length);
      else
        for (const gap of target.baseRuns(at, length)) await copy(target, source, state, gap.offset, gap.lengthBytes);
    }
  }
  await target.flush();
}

async function copy(
  target: OverlayDevice,
  source: OverlayDevice,
  state: BlockState,
  offset: number,
  lengthBytes: number,
): Promise<void> {
  if (state === BlockState.Zero) {
    await target.zero(offset, lengthBytes, { keepAllocated: false, durable: false });
    return;
  }
  for (const extent of await source.extents(offset, lengthBytes)) {
    if (extent.kind === 'data') {
      const bytes = new Uint8Array(extent.lengthBytes);
      await source.read(extent.offset, bytes);
      await target.write(extent.offset, bytes, { durable: false });
    } else {
      await target.zero(extent.offset, extent.lengthBytes, { keepAllocated: false, durable: false });
    }
  }
}
