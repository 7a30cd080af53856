import assert from 'node:assert/strict';
import { type Clock, systemClock } from '../../../src/base/clock.js';
import { KERNEL_VERSIONS_MAX } from '../../../src/base/limits.js';
import { examineInitramfs, type InitramfsFindings } from '../../../src/workshop/initramfs/examination.js';
import { inspectInitramfs } from '../../../src/workshop/initramfs/inspection.js';
import { STEERS_A_TERMINAL } from '../../support/hostile-words.js';
import {
  cpioArchive,
  DRACUT_WITH_NBD,
  INITRAMFS_TOOLS_WITH_NBD,
  PACKED_INITRAMFS,
} from '../../support/initramfs-archive.js';
import type { FuzzTarget } from '../target.js';

const packed = (name: keyof typeof PACKED_INITRAMFS) => Buffer.from(PACKED_INITRAMFS[name], 'base64');
const ZSTD = Buffer.from('28b52ffd', 'hex');

/** cpio, gzip, lz4 and xz, one behind the other: always findings, whatever the bytes. */
export const initramfs: FuzzTarget = {
  name: 'initramfs',
  good: async () => [
    ...[cpioArchive(INITRAMFS_TOOLS_WITH_NBD.slice(0, 4)), cpioArchive(DRACUT_WITH_NBD)],
    ...[packed('gzip'), packed('lz4'), packed('xz')],
    Buffer.concat([cpioArchive(['early']), packed('gzip'), new Uint8Array(100), packed('xz')]),
  ],
  words: ['303730373031', '1f8b08', '02214c18', '04224d18', 'fd377a585a00', '545241494c4552212121', '595a'].map(
    (text) => Buffer.from(text, 'hex'),
  ),
  inputBytesMax: 8000,
  caseCpuMsMax: 4000,
  start: async () => ({
    async check(input) {
      // Of zstd alone the time is not bounded from within: the other target has it.
      if (Buffer.from(input).indexOf(ZSTD) < 0) judge(await examineInitramfs(input));
    },
  }),
};

/** zstd, in a thread that is ended when it takes too long, as `check` has it. */
export const initramfsZstd: FuzzTarget = {
  name: 'initramfs-zstd',
  good: async () => [packed('zstd'), Buffer.concat([packed('zstd'), packed('zstd')])],
  words: [ZSTD, Buffer.from('502a4d18', 'hex'), Buffer.from('2b000000', 'hex')],
  inputBytesMax: 2000,
  caseCpuMsMax: 10_000,
  start: async () => ({
    check: async (input) => judge(await inspectInitramfs(input, impatientClock)),
  }),
};

const impatientClock: Clock = { ...systemClock, after: (ms, action) => systemClock.after(Math.min(ms, 2000), action) };

function judge({ kernelVersions, warnings, nbdModule, nbdClient, nbdScript }: InitramfsFindings): void {
  assert.ok(kernelVersions.length <= KERNEL_VERSIONS_MAX);
  assert.ok(warnings.length <= 65);
  const texts = [...kernelVersions, nbdModule ?? '', nbdClient ?? '', nbdScript ?? ''];
  assert.doesNotMatch(texts.join(''), STEERS_A_TERMINAL, 'paths out of an archive are fit for a terminal');
}
