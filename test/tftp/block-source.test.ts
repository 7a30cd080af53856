import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { BOOT_FILE_PROGRESS_BYTES, TFTP_WINDOW_BLOCKS_MAX } from '../../src/base/limits.js';
import { blockSource } from '../../src/tftp/block-source.js';
import { fakeFile } from '../support/fake-board.js';
import { noise } from '../support/random.js';

/** The whole file as its blocks carry it. */
async function allBlocks(bytes: Uint8Array, mode: string, blockBytes: number, inMemory = true): Promise<Uint8Array[]> {
  const source = blockSource(fakeFile({ bytes, inMemory }), mode, blockBytes);
  const blocks: Uint8Array[] = [];
  for (let block = 1; ; block += 1) {
    const target = new Uint8Array(blockBytes).fill(0xa5);
    const length = source.fillNow(block, target) ?? (await source.fill(block, target));
    assert.ok(
      target.subarray(length).every((byte) => byte === 0xa5),
      'nothing behind the block is written',
    );
    blocks.push(target.subarray(0, length));
    if (length < blockBytes) return blocks;
  }
}

describe('octet', () => {
  test('a file of whole blocks ends with an empty one, an empty file is one empty block', async () => {
    const lengths = async (size: number) => (await allBlocks(noise(size), 'octet', 512)).map((block) => block.length);
    assert.deepEqual(await lengths(0), [0]);
    assert.deepEqual(await lengths(1), [1]);
    assert.deepEqual(await lengths(512), [512, 0]);
    assert.deepEqual(await lengths(1025), [512, 512, 1]);
  });

  test('the blocks together are the file, in memory or not', async () => {
    for (const inMemory of [true, false]) {
      const bytes = noise(5_000);
      assert.deepEqual(Buffer.concat(await allBlocks(bytes, 'octet', 1468, inMemory)), Buffer.from(bytes));
    }
  });
});

describe('netascii', () => {
  const converted = (text: string): string => text.replace(/[\r\n]/g, (end) => (end === '\n' ? '\r\n' : '\r\0'));

  test('a line feed becomes CR LF and a carriage return CR NUL, also across blocks', async () => {
    const text = 'a\nb\rc\r\nd\n\n';
    for (const blockBytes of [8, 9, 512]) {
      const blocks = await allBlocks(Buffer.from(text), 'netascii', blockBytes);
      assert.equal(Buffer.concat(blocks).toString(), converted(text));
    }
  });

  test('any text in blocks of any size, in memory or not', async () => {
    const text = fc.array(fc.constantFrom('\r', '\n', 'x'), { maxLength: 100 }).map((parts) => parts.join(''));
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 8, max: 40 }), fc.boolean(), async (value, blockBytes, inMemory) => {
        const blocks = await allBlocks(Buffer.from(value), 'netascii', blockBytes, inMemory);
        assert.equal(Buffer.concat(blocks).toString(), converted(value));
      }),
    );
  });

  test('a block of the window can be built again', () => {
    const source = blockSource(fakeFile({ bytes: Buffer.from('\n'.repeat(400)) }), 'netascii', 9);
    const build = (block: number): string => {
      const target = new Uint8Array(9);
      return Buffer.from(target.subarray(0, source.fillNow(block, target) ?? 0)).toString();
    };
    const first = Array.from({ length: 64 }, (_, index) => build(index + 1));
    assert.deepEqual(
      Array.from({ length: 64 }, (_, index) => build(index + 1)),
      first,
    );
  });
});

describe('how far a transfer is', () => {
  for (const mode of ['octet', 'netascii']) {
    test(`${mode}: is told time and again, and never past what a window may ask for again`, () => {
      const blockBytes = 1000;
      const bytes = noise(3 * BOOT_FILE_PROGRESS_BYTES + 5000);
      const told: { readonly from: number; readonly at: number }[] = [];
      let from = 0;
      const file = fakeFile({ bytes });
      const source = blockSource(
        {
          ...file,
          readNow(offset, target) {
            assert.ok(offset >= from, `${offset} is read again, and ${from} was told`);
            return file.readNow(offset, target);
          },
          progress(newFrom, at) {
            from = newFrom;
            told.push({ from, at });
          },
        },
        mode,
        blockBytes,
      );
      const target = new Uint8Array(blockBytes);
      for (let block = 1, length = blockBytes; length === blockBytes; block += 1) {
        length = source.fillNow(block, target) ?? 0;
        // As after a timeout: the whole window again.
        if (block % 50 !== 0) continue;
        for (let again = Math.max(1, block - TFTP_WINDOW_BLOCKS_MAX + 1); again <= block; again += 1) {
          source.fillNow(again, target);
        }
      }
      const times = told.map(({ at }) => Math.floor(at / BOOT_FILE_PROGRESS_BYTES));
      assert.deepEqual(times, [1, 2, 3]);
      assert.ok(told.every((each) => each.from > each.at - (TFTP_WINDOW_BLOCKS_MAX + 1) * blockBytes));
    });
  }
});
