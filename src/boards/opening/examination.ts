import { BlockError } from '../../block/block-error.js';
import { openFileDevice } from '../../block/file-device.js';
import type { ImageEntry } from '../../inventory/inventory.js';
import { readLayout } from '../boot-files/image-layout.js';

/** Looks at an image without a lock: a board may be running on it. Undefined if it could be booted from. */
export async function whyUnbootable(
  image: ImageEntry,
): Promise<{ readonly problem: string; readonly remedy: string } | undefined> {
  try {
    const device = await openFileDevice(image.file, { access: 'readOnly', lock: 'none' });
    try {
      const verdict = await readLayout(device, image);
      if (verdict.answer === 'layout') return undefined;
      return { problem: `${image.file} can't be booted from: ${verdict.because}`, remedy: verdict.remedy };
    } finally {
      await device.close();
    }
  } catch (error) {
    if (error instanceof BlockError) return { problem: error.message, remedy: 'name another file, or mend this one' };
    throw error;
  }
}
