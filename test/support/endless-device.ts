import type { BlockDevice } from '../../src/block/block-device.js';

/** A disk of any size that keeps nothing. */
export function endlessDevice(sizeBytes: number): BlockDevice & { writtenBytes: number } {
  return {
    sizeBytes,
    rotational: false,
    writtenBytes: 0,
    async read() {},
    readNow: () => true,
    async prefetch() {},
    async write(_offset, source) {
      this.writtenBytes += source.length;
    },
    async flush() {},
    async discard() {},
    async zero() {},
    extents: async (offset, lengthBytes) => [{ offset, lengthBytes, kind: 'data' }],
    async close() {},
  };
}
