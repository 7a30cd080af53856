import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { foreignFormat } from '../../src/disk/foreign-format.js';

describe('an image that is none', () => {
  test('is named, with how to make one of it', async () => {
    const packed = await foreignFormat(new MemoryDevice(gzipSync('disk')));
    assert.deepEqual([packed?.name, packed?.remedy], ['gzip', 'unpack it with `gunzip`']);
    // QCOW magic: 'Q', 'F', 'I', 0xfb (qemu docs/interop/qcow2).
    assert.equal((await foreignFormat(new MemoryDevice(Buffer.from('514649fb00000003', 'hex'))))?.name, 'qcow2');
    // .xz file format 1.1.0, 2.1.1.1: header magic bytes.
    assert.equal((await foreignFormat(new MemoryDevice(Buffer.from('fd377a585a000004', 'hex'))))?.name, 'xz');
  });

  test('a disk, a short file and an empty one are not taken for one', async () => {
    for (const content of [new Uint8Array(512), new Uint8Array(1), new Uint8Array(0)]) {
      assert.equal(await foreignFormat(new MemoryDevice(content)), undefined);
    }
  });
});
