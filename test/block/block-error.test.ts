import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { blockErrorFrom } from '../../src/block/block-error.js';

describe('what a system call threw', () => {
  const thrown = (code: string, message: string) => Object.assign(new Error(`${code}: ${message}`), { code });

  test('says its code once, and the kernel’s word where the code is not ours', () => {
    const failed = { file: 'one.img', detail: 'fdatasync failed: written data may be lost' };
    const sync = thrown('EIO', 'i/o error, fdatasync');
    assert.equal(blockErrorFrom(sync, failed).message, 'one.img: EIO: fdatasync failed: written data may be lost');
    assert.equal(blockErrorFrom(sync, { file: 'one.img' }).message, 'one.img: EIO: i/o error, fdatasync');
    const other = thrown('ENXIO', 'no such device or address, read');
    assert.equal(
      blockErrorFrom(other, failed).message,
      'one.img: EIO: fdatasync failed: written data may be lost (ENXIO: no such device or address, read)',
    );
    assert.equal(blockErrorFrom('odd', { file: 'one.img' }).message, 'one.img: EIO: odd');
  });
});
