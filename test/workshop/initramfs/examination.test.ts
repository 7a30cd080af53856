import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { INITRAMFS_PARTS_MAX } from '../../../src/base/limits.js';
import { examineInitramfs } from '../../../src/workshop/initramfs/examination.js';
import {
  cpioArchive,
  DRACUT_WITH_NBD,
  INITRAMFS_TOOLS_PLAIN,
  INITRAMFS_TOOLS_WITH_NBD,
  PACKED_INITRAMFS,
} from '../../support/initramfs-archive.js';
import { anyOf, without } from '../../support/programs.js';
import { noise } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';

type Packer = keyof typeof PACKED_INITRAMFS;
const PACKERS: readonly Packer[] = ['gzip', 'zstd', 'lz4', 'xz'];

const READY = {
  nbdModule: 'usr/lib/modules/6.12.34+rpt-rpi-v8/kernel/drivers/block/nbd.ko.xz',
  nbdClient: 'usr/sbin/nbd-client',
  nbdScript: 'scripts/local-top/nbd',
  builder: 'initramfs-tools',
  kernelVersions: ['6.12.34+rpt-rpi-v8'],
  isComplete: true,
  warnings: [],
};
const NOTHING = {
  nbdModule: undefined,
  nbdClient: undefined,
  nbdScript: undefined,
  builder: 'unknown',
  kernelVersions: [],
  isComplete: true,
  warnings: [],
};

describe('an initramfs', () => {
  for (const packer of PACKERS) {
    test(`packed with ${packer} is looked into`, async () => {
      assert.deepEqual(await examineInitramfs(golden(packer)), READY);
    });

    test(`packed with ${packer} may follow plain archives, and others may follow it`, async () => {
      const early = cpioArchive(['kernel/x86/microcode/none']);
      const gap = new Uint8Array(512);
      const last = Buffer.concat([early, gap, golden(packer)]);
      assert.deepEqual(await examineInitramfs(last), READY);
      const first = Buffer.concat([packPlain(packer), gap, cpioArchive(DRACUT_WITH_NBD.slice(1))]);
      const { nbdScript, isComplete } = await examineInitramfs(first);
      assert.deepEqual({ nbdScript, isComplete }, { nbdScript: 'usr/sbin/nbdroot', isComplete: true });
    });

    test(`packed with ${packer} and cut anywhere is told as damaged, if it does not show all before`, async () => {
      const whole = golden(packer);
      for (let length = 8; length < whole.length - 24; length += 3) {
        const { isComplete, warnings } = await examineInitramfs(whole.subarray(0, length));
        if (!isComplete) assert.equal(warnings.length, 1);
        else assert.deepEqual(warnings, []);
      }
    });

    test(`packed with ${packer} may be any bytes at all behind its magic`, async () => {
      const whole = golden(packer);
      const broken = fc
        .tuple(fc.integer({ min: 6, max: whole.length - 1 }), fc.uint8Array({ minLength: 1, maxLength: 8 }))
        .map(([at, bytes]) => Buffer.concat([whole.subarray(0, at), bytes, whole.subarray(at + bytes.length)]));
      const random = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.concat([whole.subarray(0, 6), bytes]));
      await fc.assert(
        fc.asyncProperty(fc.oneof(broken, random), async (bytes) => {
          const { warnings } = await examineInitramfs(bytes);
          assert.ok(warnings.length <= 2);
        }),
        { numRuns: 60 },
      );
    });
  }

  test('of dracut is known by its own files, and nbd may be built into its kernel', async () => {
    assert.deepEqual(await examineInitramfs(cpioArchive(DRACUT_WITH_NBD)), {
      nbdModule: 'usr/lib/modules/6.17.0-1004-raspi/modules.builtin',
      nbdClient: 'usr/bin/nbd-client',
      nbdScript: 'usr/sbin/nbdroot',
      builder: 'dracut',
      kernelVersions: ['6.17.0-1004-raspi'],
      isComplete: true,
      warnings: [],
    });
  });

  test('without nbd is seen to be without, all of it', async () => {
    assert.deepEqual(await examineInitramfs(gzipSync(cpioArchive(INITRAMFS_TOOLS_PLAIN))), {
      ...NOTHING,
      builder: 'initramfs-tools',
      kernelVersions: ['6.12.34+rpt-rpi-v8'],
    });
  });

  test('is not taken in by names that only look alike', async () => {
    const alike = [
      'usr/share/doc/nbd-client',
      'scripts/local-bottom/nbd',
      'lib/modules/6.1/kernel/drivers/block/nbd.ko.txt',
      'lib/modules/../x/kernel/nbd.ko',
      'lib/modules/\x1b[2J/kernel/drivers/block/nbd.ko',
      {
        path: 'lib/modules/6.1/modules.builtin',
        content: 'kernel/drivers/block/nbd.ko.xz\nxkernel/drivers/block/nbd.ko\n',
      },
    ];
    assert.deepEqual(await examineInitramfs(cpioArchive(alike)), { ...NOTHING, kernelVersions: ['6.1'] });
  });

  test('in a format that is not looked into says so', async () => {
    const magics = { bzip2: '425a6839', lzma: '5d000080', lzo: '894c5a4f' };
    for (const [format, magic] of Object.entries(magics)) {
      const { isComplete, warnings } = await examineInitramfs(Buffer.from(`${magic}00112233`, 'hex'));
      assert.equal(isComplete, false);
      assert.deepEqual(warnings, [{ kind: 'notLookedInto', part: 1, format }]);
    }
    const { warnings } = await examineInitramfs(Buffer.concat([cpioArchive(['a']), Buffer.from('ELF')]));
    assert.deepEqual(warnings, [{ kind: 'unknownFormat', part: 2 }]);
  });

  test('that is empty, or zeroes, is nothing', async () => {
    assert.deepEqual(await examineInitramfs(new Uint8Array(0)), NOTHING);
    assert.deepEqual(await examineInitramfs(new Uint8Array(4096)), NOTHING);
  });

  test('of very many parts is not followed for ever', async () => {
    const parts = Array.from({ length: INITRAMFS_PARTS_MAX + 5 }, () => gzipSync(cpioArchive(['x'])));
    const { isComplete, warnings } = await examineInitramfs(Buffer.concat(parts));
    assert.equal(isComplete, false);
    assert.deepEqual(warnings, [{ kind: 'tooLarge' }]);
  });

  test('may be any bytes at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        assert.ok((await examineInitramfs(bytes)).warnings.length <= 2);
      }),
    );
  });
});

describe('gzip', () => {
  test('may name its file, have extra fields, a comment and a checksum of its header', async () => {
    const plain = golden('gzip');
    const extras = Buffer.concat([
      Buffer.from([2, 0, 1, 2]),
      Buffer.from('name\0comment\0', 'latin1'),
      Buffer.from([9, 9]),
    ]);
    const header = Buffer.from([0x1f, 0x8b, 8, 0x02 | 0x04 | 0x08 | 0x10, 0, 0, 0, 0, 0, 3]);
    assert.deepEqual(await examineInitramfs(Buffer.concat([header, extras, plain.subarray(10)])), READY);
  });
});

describe('zstd', () => {
  test('may have skippable frames, and frames that repeat a byte', async () => {
    const skippable = Buffer.from('502a4d1803000000616263', 'hex');
    assert.deepEqual(await examineInitramfs(Buffer.concat([skippable, golden('zstd')])), READY);
    // One repeated block of five zeroes: an archive may not begin yet.
    const zeroes = Buffer.from('28b52ffd2005' + '2b000000', 'hex');
    assert.deepEqual(await examineInitramfs(Buffer.concat([zeroes, golden('zstd')])), READY);
  });

  test('that asks for more memory than Linux would give is refused before any is taken', async () => {
    for (const header of ['28b52ffd00ff', '28b52ffde0000000000000f07f']) {
      const { warnings } = await examineInitramfs(Buffer.from(`${header}010000`, 'hex'));
      assert.match(JSON.stringify(warnings), /damaged.*window of \d+ bytes/);
    }
  });
});

describe('what real programs pack', () => {
  const content = noise(300_000);
  const members = [
    { path: 'early', content },
    ...INITRAMFS_TOOLS_PLAIN,
    { path: 'late', content: 'x'.repeat(3_000_000) },
    ...DRACUT_WITH_NBD,
  ];
  const archive = cpioArchive(members);
  const commands: readonly (readonly [string, string, ...string[]])[] = [
    ['gzip', 'gzip', '-6'],
    ['zstd', 'zstd', '-q', '-9', '-T0'],
    ['zstd', 'zstd', '-q', '-19', '--no-check'],
    ['zstd', 'zstd', '-q', '--ultra', '--long=27', '-3'],
    ['lz4', 'lz4', '-q', '-l', '-2'],
    ['xz-utils', 'xz', '-1', '--check=crc32'],
    ['xz-utils', 'xz', '-1', '--check=crc64', '--block-size=1MiB', '-T2'],
  ];
  for (const [debianPackage, program, ...options] of commands) {
    test(`${program} ${options.join(' ')}`, { skip: without(program, debianPackage) }, async () => {
      const packed = execFileSync(program, [...options, '-c'], { input: archive, maxBuffer: 2 ** 26 });
      const found = await examineInitramfs(Buffer.concat([cpioArchive(['early']), new Uint8Array(100), packed]));
      assert.equal(found.nbdScript, 'usr/sbin/nbdroot');
      assert.equal(found.nbdModule, 'usr/lib/modules/6.17.0-1004-raspi/modules.builtin');
      assert.deepEqual(found.warnings, []);
    });
  }

  test('lz4 without -l, which Linux does not unpack', { skip: without('lz4', 'lz4') }, async () => {
    for (const options of [['-B4', '-BD'], ['-B7', '-BI', '-BX'], ['--content-size']]) {
      const packed = execFileSync('lz4', ['-q', ...options, '-c'], { input: archive, maxBuffer: 2 ** 26 });
      const found = await examineInitramfs(packed);
      assert.equal(found.nbdClient, 'usr/bin/nbd-client');
      assert.deepEqual(found.warnings, [{ kind: 'kernelCannotUnpack', part: 1, format: 'lz4 in its frame format' }]);
    }
  });

  test('bzip2, told plainly', { skip: without('bzip2', 'bzip2') }, async () => {
    const found = await examineInitramfs(execFileSync('bzip2', ['-c'], { input: archive }));
    assert.deepEqual(found.warnings, [{ kind: 'notLookedInto', part: 1, format: 'bzip2' }]);
  });

  test('cpio and zstd, of files on a disk', {
    skip: anyOf(without('cpio', 'cpio'), without('zstd', 'zstd')),
  }, async (context) => {
    const folder = scratchFolder(context);
    for (const member of INITRAMFS_TOOLS_WITH_NBD) {
      const path = join(folder, String(member));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, noise(1000));
    }
    const script = 'find . | sort | cpio --quiet -o -H newc | zstd -q -9 -c';
    const packed = execFileSync('/bin/sh', ['-c', script], { cwd: folder, maxBuffer: 2 ** 26 });
    assert.deepEqual(await examineInitramfs(packed), READY);
  });
});

function golden(packer: Packer): Uint8Array {
  return Buffer.from(PACKED_INITRAMFS[packer], 'base64');
}

/** An archive with nothing of interest, packed so that it can be told where it ends. */
function packPlain(packer: Packer): Uint8Array {
  const plain = cpioArchive(['usr/lib/dracut/first']);
  if (packer === 'gzip') return gzipSync(plain);
  if (packer === 'lz4') return lz4Stored(plain);
  if (packer === 'zstd') return zstdStored(plain);
  return Buffer.from(XZ_OF_FIRST, 'base64');
}

/** `cpioArchive(['usr/lib/dracut/first'])` packed by xz 5.4.1. */
const XZ_OF_FIRST =
  '/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4AD/AEJdABgN3QRjnHIbdqG6wB1176dStHUXxNxC/FDcF9zNVuysrI+cPn+QX2+2tsDg2vIX' +
  'gLDjTr6q3EmSU7Gc/deKBXwAAAAAALsAR0YAAVqAAgAAAFWHr3U+MA2LAgAAAAABWVo=';

/** One legacy block of nothing but literals. */
function lz4Stored(bytes: Uint8Array): Uint8Array {
  const extra = bytes.length - 15;
  const lengths = [...Array.from({ length: Math.floor(extra / 255) }, () => 255), extra % 255];
  const block = Buffer.concat([Buffer.from([0xf0, ...lengths]), bytes]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(block.length);
  return Buffer.concat([Buffer.from('02214c18', 'hex'), length, block]);
}

/** One frame with one raw block (RFC 8878): window of 1 KiB, no checksum. */
function zstdStored(bytes: Uint8Array): Uint8Array {
  const header = Buffer.alloc(3);
  header.writeUIntLE((bytes.length << 3) | 1, 0, 3);
  return Buffer.concat([Buffer.from('28b52ffd0000', 'hex'), header, bytes]);
}
