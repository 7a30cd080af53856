import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../../src/base/clock.js';
import { INITRAMFS_BYTES_MAX, INITRAMFS_PATIENCE_MS } from '../../../src/base/limits.js';
import { examineInitramfs } from '../../../src/workshop/initramfs/examination.js';
import { inspectInitramfs } from '../../../src/workshop/initramfs/inspection.js';
import { initramfsWarningText, nbdVerdict } from '../../../src/workshop/initramfs/nbd-verdict.js';
import { FakeClock } from '../../support/fake-clock.js';
import {
  cpioArchive,
  DRACUT_WITH_NBD,
  INITRAMFS_TOOLS_PLAIN,
  INITRAMFS_TOOLS_WITH_NBD,
} from '../../support/initramfs-archive.js';

describe('inspecting an initramfs', () => {
  test('finds in its own thread what is found here, and leaves the bytes alone', async () => {
    const bytes = cpioArchive(DRACUT_WITH_NBD);
    const before = Uint8Array.from(bytes);
    assert.deepEqual(await inspectInitramfs(bytes, systemClock), await examineInitramfs(bytes));
    assert.deepEqual(Uint8Array.from(bytes), before);
  });

  test('is given up when its time is over, however busy the decoder is', async () => {
    const clock = new FakeClock();
    const verdict = inspectInitramfs(endlessZstd(), clock);
    clock.advance(INITRAMFS_PATIENCE_MS);
    const { isComplete, warnings } = await verdict;
    assert.equal(isComplete, false);
    assert.deepEqual(warnings, [{ kind: 'gaveUp', because: 'it was not through after 60 s' }]);
  });

  test('is not begun on more than the limit', async () => {
    const { warnings } = await inspectInitramfs(new Uint8Array(INITRAMFS_BYTES_MAX + 1), systemClock);
    assert.deepEqual(warnings, [{ kind: 'tooLarge' }]);
  });
});

describe('the verdict on an initramfs', () => {
  test('is ready with module, client and script', async () => {
    assert.deepEqual(await verdictOn(cpioArchive(INITRAMFS_TOOLS_WITH_NBD)), { answer: 'ready' });
    assert.deepEqual(await verdictOn(cpioArchive(DRACUT_WITH_NBD)), { answer: 'ready' });
  });

  test('says what is lacking and what to do, in the words of its builder', async () => {
    const plain = await verdictOn(cpioArchive(INITRAMFS_TOOLS_PLAIN));
    assert.equal(plain.answer, 'lacks');
    assert.match(
      JSON.stringify(plain),
      /module.*nbd-client.*script.*install nbd-client in the image and run update-initramfs -u; see docs/,
    );

    const jammy = INITRAMFS_TOOLS_WITH_NBD.filter((member) => !String(member).endsWith('nbd.ko.xz'));
    assert.match(JSON.stringify(await verdictOn(cpioArchive(jammy))), /linux-modules-extra-raspi/);

    const dracut = cpioArchive(['usr/lib/dracut/build-parameter.txt']);
    assert.match(JSON.stringify(await verdictOn(dracut)), /dracut --force --add nbd/);
  });

  test('is unclear where a part stayed unseen', async () => {
    const verdict = await verdictOn(Buffer.concat([cpioArchive(['x']), Buffer.from('BZh9')]));
    assert.deepEqual(verdict, { answer: 'unclear', because: 'part 2 is packed with bzip2, which is not looked into' });
  });

  test('has a sentence for each warning', () => {
    const kinds = [
      { kind: 'notLookedInto', part: 1, format: 'lzo' },
      { kind: 'unknownFormat', part: 2 },
      { kind: 'damaged', part: 1, because: 'cut' },
      { kind: 'tooLarge' },
      { kind: 'gaveUp', because: 'late' },
      { kind: 'kernelCannotUnpack', part: 1, format: 'lz4 in its frame format' },
    ] as const;
    assert.equal(new Set(kinds.map(initramfsWarningText)).size, kinds.length);
  });
});

async function verdictOn(bytes: Uint8Array) {
  return nbdVerdict(await examineInitramfs(bytes));
}

/**
 * Blocks of eleven bytes that each claim 98,303 sequences of 65,539 bytes: fzstd writes them all past the end of its memory,
 * more than a minute for each block.
 */
function endlessZstd(): Uint8Array {
  const body = Buffer.from([0x00, 0xff, 0xff, 0xff, 0x54, 0x00, 0x02, 0x34, 0x00, 0x00, 0x01]);
  const header = Buffer.alloc(3);
  header.writeUIntLE((body.length << 3) | (2 << 1), 0, 3);
  const last = Buffer.from([0x01, 0x00, 0x00]);
  return Buffer.concat([
    Buffer.from('28b52ffd0058', 'hex'),
    ...Array.from({ length: 50 }, () => [header, body]).flat(),
    last,
  ]);
}
