import assert from 'node:assert/strict';
import { statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { BlockError } from '../../../src/block/block-error.js';
import { openFileDevice } from '../../../src/block/file-device.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { fitGpt } from '../../../src/disk/partition/fit-gpt.js';
import { decodeGptHeader, headerCrcOf } from '../../../src/disk/partition/gpt.js';
import { encodeMbr, MbrType } from '../../../src/disk/partition/mbr.js';
import { readPartitions } from '../../../src/disk/partition/read-partitions.js';
import { CountingDevice } from '../../support/counting-device.js';
import { runDiskProgram } from '../../support/disk-programs.js';
import { makeVolume } from '../../support/fat-volumes.js';
import { FaultDevice } from '../../support/fault-device.js';
import { poke } from '../../support/faults.js';
import { makeGptImage, SMALL_GPT, sealHeader } from '../../support/gpt-images.js';
import { extendedDisk } from '../../support/partition-disks.js';
import { anyOf, without } from '../../support/programs.js';
import { seeded } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const SMALL_BYTES = SMALL_GPT.sectorCount * 512;

describe('a GPT on a disk that is larger than it says', () => {
  test('is moved to where the same tables made for that size would be', async () => {
    const device = grown(makeGptImage(SMALL_GPT), 1024);
    assert.deepEqual(await fitGpt(device), { answer: 'moved', fromBytes: SMALL_BYTES, toBytes: 1024 * 512 });
    const expected = makeGptImage({ ...SMALL_GPT, sectorCount: 1024 }).bytes;
    // The old backup stays in what is free now.
    expected.set(makeGptImage(SMALL_GPT).bytes.subarray(223 * 512), 223 * 512);
    assert.deepEqual(device.bytes, expected);
    const { partitions, warnings } = await readPartitions(device);
    assert.deepEqual([partitions.length, warnings], [2, []]);
  });

  test('keeps what else is in its sectors: boot code, and a header longer than ours', async () => {
    const image = makeGptImage(SMALL_GPT);
    image.bytes.fill(0xeb, 0, 440);
    image.bytes.fill(0x77, 512 + 92, 512 + 128);
    poke(image.bytes, 512 + 12, 4, 128);
    poke(image.bytes, 512 + 16, 4, headerCrcOf(image.bytes.subarray(512, 1024), 128));
    const device = grown(image, 700);
    assert.equal((await fitGpt(device)).answer, 'moved');
    assert.deepEqual(device.bytes.subarray(0, 440), new Uint8Array(440).fill(0xeb));
    for (const at of [512, 699 * 512]) {
      assert.deepEqual(device.bytes.subarray(at + 92, at + 128), new Uint8Array(36).fill(0x77));
    }
    assert.deepEqual((await readPartitions(device)).warnings, []);
  });

  test('has its protective record grown as far as that can count', async () => {
    const device = new LargeDevice(makeGptImage(SMALL_GPT), 4 * 2 ** 40);
    assert.equal((await fitGpt(device)).answer, 'moved');
    assert.deepEqual(
      device.bytes.subarray(446, 462),
      Uint8Array.of(0, 0, 2, 0, 0xee, 0xfe, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff),
    );
  });

  test('keeps a hybrid MBR as it is, and one that covers all there could be', async () => {
    const hybrid = makeGptImage(SMALL_GPT);
    hybrid.bytes.set(
      encodeMbr({
        diskSignature: 1,
        partitions: [
          { type: MbrType.GptProtective, firstSector: 1, sectorCount: 63 },
          { type: MbrType.Fat32, firstSector: 64, sectorCount: 64 },
        ],
      }),
    );
    const largest = makeGptImage(SMALL_GPT);
    poke(largest.bytes, 446 + 12, 4, 0xffff_ffff);
    for (const image of [hybrid, largest]) {
      const before = image.bytes.slice(0, 512);
      const device = grown(image, 400);
      assert.equal((await fitGpt(device)).answer, 'moved');
      assert.deepEqual(device.bytes.subarray(0, 512), before);
    }
  });

  test('is sound at any size and with any number of entries, and fits the next time', async () => {
    const more = fc.integer({ min: 1, max: 3000 });
    const count = fc.constantFrom(3, 4, 5, 127, 128, 130);
    await fc.assert(
      fc.asyncProperty(
        count,
        fc.array(more, { minLength: 1, maxLength: 3 }),
        fc.nat(511),
        async (entryCount, steps, odd) => {
          const image = makeGptImage({ ...SMALL_GPT, entryCount });
          const before = await readPartitions(image);
          let sectors = SMALL_GPT.sectorCount;
          let bytes = image.bytes;
          for (const step of steps) {
            sectors += step;
            const device = new MemoryDevice(resized(bytes, sectors * 512 + odd));
            assert.equal((await fitGpt(device)).answer, 'moved');
            const { partitions, warnings } = await readPartitions(device);
            assert.deepEqual([partitions, warnings], [before.partitions, []]);
            assert.deepEqual(await fitGpt(device), { answer: 'fits' });
            bytes = device.bytes;
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('a disk whose table is not to be moved', () => {
  test('is left as it is, and nothing is written', async () => {
    const mbr = await extendedDisk();
    const cases = [
      ['fits', makeGptImage(SMALL_GPT)],
      ['noGpt', grown(mbr, mbr.sizeBytes / 512 + 1000)],
      ['noGpt', await makeVolume(32)],
      ['noGpt', new MemoryDevice(65_536)],
      ['noGpt', new MemoryDevice(100)],
      ['noGpt', new MemoryDevice(0)],
    ] as const;
    for (const [answer, { bytes }] of cases) {
      const device = new FaultDevice(bytes);
      assert.deepEqual(await fitGpt(device), { answer });
      assert.deepEqual([device.attempts, device.flushes], [[], 0]);
    }
  });

  const damages = [
    { what: 'no primary header', damage: (bytes: Uint8Array) => bytes.fill(0, 512, 1024), says: /GPT header/ },
    { what: 'a wrong CRC', damage: (bytes: Uint8Array) => poke(bytes, 512 + 16, 4, 1), says: /CRC of the GPT header/ },
    { what: 'a wrong entry', damage: (bytes: Uint8Array) => poke(bytes, 1024 + 32, 8, 1), says: /CRC of the GPT en/ },
    { what: 'a backup behind the end', damage: header(32, 5000), says: /LBA of the backup/ },
    { what: 'a first usable LBA behind the last', damage: header(40, 5000, 48, 5001), says: /last usable LBA/ },
    { what: 'entries where the backup goes', damage: entriesAt(1000), says: /LBA of the GPT entries/ },
    { what: 'a partition where the backup goes', damage: lastLbaOf(1, 991), says: /last LBA of GPT partition 1/ },
    { what: 'a partition behind the end', damage: lastLbaOf(3, 2n ** 64n - 1n), says: /last LBA of GPT partition 3/ },
  ];
  for (const { what, damage, says } of damages) {
    test(`because its GPT has ${what} is left as it is, and that is said`, async () => {
      const { bytes } = grown(makeGptImage(SMALL_GPT), 1024);
      damage(bytes);
      const device = new FaultDevice(bytes);
      const verdict = await fitGpt(device);
      assert.equal(verdict.answer, 'damaged');
      assert.match(verdict.answer === 'damaged' ? verdict.because.structure : '', says);
      assert.deepEqual([device.attempts, device.flushes], [[], 0]);
    });
  }

  test('because the disk is too small for both tables is said', async () => {
    const image = makeGptImage(SMALL_GPT);
    poke(image.bytes, 512 + 32, 8, 40);
    poke(image.bytes, 512 + 40, 8, 2);
    poke(image.bytes, 512 + 48, 8, 3);
    sealHeader(image.bytes, 512);
    for (const sectors of [35, 40, 60, 66]) {
      const device = new FaultDevice(image.bytes.slice(0, sectors * 512));
      assert.equal((await fitGpt(device)).answer, 'damaged', `${sectors} sectors`);
      assert.deepEqual(device.attempts, []);
    }
  });

  test('whatever is in it: an answer, and the partitions are not written to', async () => {
    const change = fc.tuple(fc.oneof(fc.integer({ min: 440, max: 1200 }), fc.nat(20_000)), fc.nat(255));
    const size = fc.integer({ min: 1, max: 1200 * 512 });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 8 }), size, fc.boolean(), async (changes, sizeBytes, sealed) => {
        const { bytes } = grown(makeGptImage(SMALL_GPT), 1200);
        for (const [at, value] of changes) bytes[at] = value;
        if (sealed) sealHeader(bytes, 512);
        const device = new FaultDevice(bytes.slice(0, sizeBytes));
        const before = device.bytes.slice();
        const { answer } = await fitGpt(device);
        if (answer !== 'moved') return assert.deepEqual(device.bytes, before);
        const end = Math.min(sizeBytes, 201 * 512);
        assert.deepEqual(device.bytes.subarray(34 * 512, end), before.subarray(34 * 512, end));
        return undefined;
      }),
      { numRuns: 500 },
    );
  });

  test('reads nothing but its first sectors', async () => {
    const device = new CountingDevice(grown(makeGptImage(SMALL_GPT), 4000), { cold: true });
    assert.equal((await fitGpt(device)).answer, 'moved');
    assert.deepEqual([device.reads, device.bytesRead], [3, 512 + 512 + 16_384]);
  });
});

describe('a GPT that is being moved', () => {
  test('is sound whenever the power goes, and another call finishes', async () => {
    const random = seeded(7);
    // Less room than a table takes, so that the new backup lies on the old one; and more.
    for (const sectors of [257, 260, 280, 289, 1024]) {
      const finished = grown(makeGptImage(SMALL_GPT), sectors);
      await fitGpt(finished);
      const left = await everyPowerLoss(grown(makeGptImage(SMALL_GPT), sectors), random);
      assert.ok(left.length > 100);
      const seen = new Set<bigint>();
      for (const bytes of left) {
        const device = new MemoryDevice(bytes);
        const { partitions } = await readPartitions(device);
        assert.deepEqual(
          partitions.map(({ offset, sizeBytes }) => [offset / 512, sizeBytes / 512]),
          [
            [64, 64],
            [128, 73],
          ],
        );
        const { alternateLba, myLba } = decodeGptHeader(bytes.subarray(512));
        assert.equal(myLba, 1n);
        seen.add(alternateLba);
        if (alternateLba !== 255n) assert.deepEqual(bytes, finished.bytes, 'the primary is new: so is all else');
        assert.match((await fitGpt(device)).answer, /moved|fits/);
        assert.deepEqual(device.bytes, finished.bytes);
      }
      assert.deepEqual([...seen].sort(), [255n, BigInt(sectors - 1)].sort());
    }
  });

  for (const operation of ['read', 'write', 'flush'] as const) {
    test(`says what the device says when a ${operation} fails, and another call finishes`, async () => {
      const finished = grown(makeGptImage(SMALL_GPT), 1024);
      await fitGpt(finished);
      for (const failing of operation === 'flush' ? [0, 1] : [0, 1, 2]) {
        const device = new FaultDevice(grown(makeGptImage(SMALL_GPT), 1024).bytes);
        let count = 0;
        device.readNow = () => false;
        device.faultOf = (kind) => (kind === operation && count++ === failing ? 'EIO' : undefined);
        await assert.rejects(fitGpt(device), (error) => error instanceof BlockError && error.code === 'EIO');
        const again = new MemoryDevice(device.bytes);
        assert.equal((await readPartitions(again)).partitions.length, 2);
        await fitGpt(again);
        assert.deepEqual(again.bytes, finished.bytes);
      }
    });
  }
});

describe('on an image of 4 GiB that became a disk of 32 GiB', () => {
  const skip = anyOf(
    without('sgdisk', 'gdisk'),
    without('sfdisk', 'fdisk'),
    without('mkfs.ext4', 'e2fsprogs'),
    without('resize2fs', 'e2fsprogs'),
  );

  test('sfdisk and sgdisk find a sound GPT, and the root grows into the new space', { skip }, async (context) => {
    const path = piImage(context);
    assert.match(sgdisk('-v', path), /problem/i);
    await moved(path);
    checkedBySfdisk(path);
    assert.match(sgdisk('-v', path), /No problems found/);

    // As growpart does it: the last partition up to the end of what is usable, the rest kept.
    runDiskProgram('sfdisk', ['--no-reread', '-q', '-N', '2', path], ', +\n');
    assert.match(sgdisk('-v', path), /No problems found/);
    const [start = 0, size = 0] = placeOf(path, 2);
    assert.equal(start, 528_384);
    assert.ok((start + size) * 512 > 32 * GIB - 2 * MIB, `partition 2 ends at sector ${start + size}`);
    const root = `${path}?offset=${start * 512}`;
    runDiskProgram('e2fsck', ['-fy', root]);
    runDiskProgram('resize2fs', [root, `${size}s`]);
    runDiskProgram('e2fsck', ['-fn', root]);
    const superblock = runDiskProgram('dumpe2fs', ['-h', root]);
    const blocks = Number(/Block count: *(\d+)/.exec(superblock)?.[1]);
    const blockBytes = Number(/Block size: *(\d+)/.exec(superblock)?.[1]);
    assert.ok(blocks * blockBytes > 31.7 * GIB, `${blocks} blocks`);
    assert.ok(statSync(path).blocks * 512 < 300 * MIB, 'it stayed sparse');
  });

  test('sgdisk -e on the same image makes the same tables', { skip }, async (context) => {
    const [ours, theirs] = [piImage(context), piImage(context)];
    await moved(ours);
    runDiskProgram('sgdisk', ['-e', theirs]);
    assert.equal(tablesOf(ours), tablesOf(theirs));
  });

  test('one with 4 entries, or 256, is as sound', { skip }, async (context) => {
    for (const entries of ['4', '256']) {
      const path = piImage(context, ['-S', entries]);
      await moved(path);
      checkedBySfdisk(path);
      assert.match(sgdisk('-v', path), /No problems found|partition table size/i);
      const table = sgdisk('-p', path);
      assert.match(table, new RegExp(`holds up to ${entries} entries`));
    }
  });
});

/** The same disk with zeroes behind it. */
function grown(image: MemoryDevice, sectorCount: number): MemoryDevice {
  return new MemoryDevice(resized(image.bytes, sectorCount * 512));
}

function resized(bytes: Uint8Array, sizeBytes: number): Uint8Array {
  const other = new Uint8Array(sizeBytes);
  other.set(bytes.subarray(0, sizeBytes));
  return other;
}

/** Fields of the primary header by their place, with its CRC made right. */
function header(...fields: readonly number[]): (bytes: Uint8Array) => void {
  return (bytes) => {
    for (let index = 0; index < fields.length; index += 2)
      poke(bytes, 512 + (fields[index] ?? 0), 8, fields[index + 1] ?? 0);
    sealHeader(bytes, 512);
  };
}

/** Where the primary says its entries are; they are copied there. */
function entriesAt(lba: number): (bytes: Uint8Array) => void {
  return (bytes) => {
    bytes.copyWithin(lba * 512, 1024, 1024 + 16_384);
    header(72, lba)(bytes);
  };
}

/** Of a partition of the primary table, with both CRCs made right. */
function lastLbaOf(number: number, lba: number | bigint): (bytes: Uint8Array) => void {
  return (bytes) => {
    poke(bytes, 1024 + (number - 1) * 128 + 40, 8, lba);
    poke(bytes, 512 + 88, 4, crc32(bytes.subarray(1024, 1024 + 16_384)));
    sealHeader(bytes, 512);
  };
}

/** What is left of a disk whose power went at some step of a move, with many choices of what had reached the medium. */
async function everyPowerLoss(image: MemoryDevice, random: ReturnType<typeof seeded>): Promise<readonly Uint8Array[]> {
  const device = new SectorDevice(image.bytes);
  const left: Uint8Array[] = [];
  const look = () => {
    for (const share of [0, 0.1, 0.5, 0.9, 1]) left.push(device.afterPowerLoss(() => random.fraction() < share));
  };
  device.pause = () => {
    look();
    return undefined;
  };
  assert.equal((await fitGpt(device)).answer, 'moved');
  look();
  return left;
}

/** Takes a write apart into sectors, any of which the power may spare. */
class SectorDevice extends FaultDevice {
  override async write(offset: number, source: Uint8Array): Promise<void> {
    for (let at = 0; at < source.length; at += 512) await super.write(offset + at, source.subarray(at, at + 512));
  }
}

/** Its first sectors are there, the rest is nothing. */
class LargeDevice extends MemoryDevice {
  readonly #sizeBytes: number;

  constructor(front: MemoryDevice, sizeBytes: number) {
    super(front.bytes);
    this.#sizeBytes = sizeBytes;
  }

  override get sizeBytes(): number {
    return this.#sizeBytes;
  }

  override async write(offset: number, source: Uint8Array): Promise<void> {
    if (offset < this.bytes.length) this.bytes.set(source, offset);
  }
}

/** A sparse image as Ubuntu's: a GPT, a boot partition, a root with ext4 at the end. Its file is grown to 32 GiB. */
function piImage(context: TestContext, table: readonly string[] = []): string {
  const path = join(scratchFolder(context), 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, 4 * GIB);
  const guids = ['-U', GUID(0), '-n', '1:4096:528383', '-t', '1:0700', '-u', `1:${GUID(1)}`];
  runDiskProgram('sgdisk', ['-a', '1', ...table, ...guids, '-n', '2:528384:0', '-u', `2:${GUID(2)}`, path]);
  const size = placeOf(path, 2)[1] ?? 0;
  runDiskProgram('mkfs.ext4', ['-q', '-E', `offset=${528_384 * 512}`, path, `${Math.floor(size / 2)}k`]);
  truncateSync(path, 32 * GIB);
  return path;
}

const GUID = (digit: number) => `${`${digit}`.repeat(8)}-2222-3333-4444-555555555555`;

async function moved(path: string): Promise<void> {
  const device = await openFileDevice(path, { access: 'readWrite', lock: 'exclusive' });
  try {
    assert.deepEqual(await fitGpt(device), { answer: 'moved', fromBytes: 4 * GIB, toBytes: 32 * GIB });
    assert.deepEqual((await readPartitions(device)).warnings, []);
  } finally {
    await device.close();
  }
}

/** What it complains of goes to stderr, and is no failure. */
function checkedBySfdisk(path: string): void {
  const said = runDiskProgram('sh', ['-c', 'sfdisk --verify "$0" 2>&1', path]);
  assert.match(said, /No errors detected/);
  assert.doesNotMatch(said, /mismatch|backup/);
}

function sgdisk(...values: readonly string[]): string {
  return runDiskProgram('sgdisk', values);
}

/** What sgdisk and sfdisk say of all that is in both headers. */
function tablesOf(path: string): string {
  return [sgdisk('-p', path), sgdisk('-v', path), sgdisk('-O', path)].join('\n').replaceAll(path, 'DISK');
}

/** First sector and sector count. */
function placeOf(path: string, number: number): readonly number[] {
  const found = new RegExp(`img${number} : start= *(\\d+), size= *(\\d+)`).exec(runDiskProgram('sfdisk', ['-d', path]));
  return (found ?? []).slice(1).map(Number);
}
