import assert from 'node:assert/strict';
import { PIN_BYTES_MAX } from '../../../src/base/limits.js';
import { decodePin, encodePin } from '../../../src/boards/images/pin-wire.js';
import type { FuzzTarget } from '../target.js';

const ID = '0123456789abcdef0123456789abcdef';
const SEEN = { kind: 'file', mtimeNs: 1_700_000_000_123_456_789n, ctimeNs: -1n, inode: 131n, device: 65_024n } as const;
const PIN = { id: ID, file: '/srv/noble.img', sizeBytes: 16_013_942_784, pinnedAt: new Date(Date.UTC(2026, 10, 20)) };

/** state/images/ID.json: any text is a pin or faulty, and what was read is what is written. */
export const pin: FuzzTarget = {
  name: 'pin',
  good: async () => [
    Buffer.from(encodePin({ ...PIN, seen: SEEN, digest: 'ab'.repeat(32) })),
    Buffer.from(encodePin({ ...PIN, seen: undefined, digest: undefined })),
  ],
  words: ['"version":2', '"seen":null', 'null', '-1', '1e999', '"__proto__"', '{}'].map((word) => Buffer.from(word)),
  inputBytesMax: PIN_BYTES_MAX,
  caseCpuMsMax: 1000,
  start: async () => ({
    check(input) {
      const verdict = decodePin(ID, Buffer.from(input).toString('utf8'));
      if (verdict.answer === 'faulty') return assert.ok(verdict.because.length > 0);
      assert.deepEqual(decodePin(ID, encodePin(verdict.pin)), verdict);
    },
  }),
};
