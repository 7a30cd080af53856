import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { BOOT_FILE_PIECE_BYTES, BOOT_FILE_PIECES_AHEAD } from '../../../src/base/limits.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { BootFileLost } from '../../../src/boards/boot-files/boot-file.js';
import { HeldFile } from '../../../src/boards/boot-files/held-file.js';
import { PieceStore } from '../../../src/boards/boot-files/piece-store.js';

const PIECE = BOOT_FILE_PIECE_BYTES;

/** A device that can be cold (readNow answers false), slow (reads wait for `release`) or failing, and counts its reads. */
class TestDevice extends MemoryDevice {
  warm = true;
  failing = false;
  reads = 0;
  bytesRead = 0;
  #waiting: (() => void)[] = [];
  slow = false;

  override readNow(offset: number, target: Uint8Array): boolean {
    if (this.warm) this.#count(target.length);
    return this.warm && super.readNow(offset, target);
  }

  override async read(offset: number, target: Uint8Array): Promise<void> {
    this.#count(target.length);
    if (this.slow) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.failing) throw new Error('the medium is gone');
    super.readNow(offset, target);
  }

  release(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #count(bytes: number): void {
    this.reads += 1;
    this.bytesRead += bytes;
  }
}

/** A file in two runs, the second before the first on the disk; its bytes are the number of their piece plus one. */
function fixture(pieces: number, memory: { keptBytes?: number; savedBytes?: number } = {}) {
  const sizeBytes = pieces * PIECE - 100;
  const half = PIECE * Math.floor(pieces / 2);
  const device = new TestDevice(sizeBytes + 1000);
  const runs = [
    { offset: sizeBytes - half, lengthBytes: half },
    { offset: 0, lengthBytes: sizeBytes - half },
  ];
  const content = Uint8Array.from({ length: sizeBytes }, (_, index) => Math.floor(index / PIECE) + 1);
  device.bytes.set(content.subarray(0, half), sizeBytes - half);
  device.bytes.set(content.subarray(half), 0);
  const kept = new PieceStore(memory.keptBytes ?? 64 * PIECE);
  const saved = new PieceStore(memory.savedBytes ?? 64 * PIECE);
  let unused = 0;
  const file = new HeldFile(device, { sizeBytes, runs }, { kept, saved }, () => {
    unused += 1;
  });
  const reader = file.newReader();
  /** As the watched device does: the file is asked first, then the bytes change. */
  const overwrite = async (offset: number, lengthBytes: number) => {
    await file.saveBefore(offset, lengthBytes);
    device.bytes.fill(0xee, offset, offset + lengthBytes);
  };
  const readAll = async (from = 0) => {
    const target = new Uint8Array(sizeBytes - from);
    for (let at = 0; at < target.length; at += 1468) {
      await reader.read(from + at, target.subarray(at, at + 1468));
      reader.progress(from + at - 64 * 1468, from + at);
    }
    return target;
  };
  return { device, file, reader, content, kept, saved, overwrite, readAll, unusedCount: () => unused };
}

describe('a file that is held', () => {
  test('is read as it lies, warm or cold', async () => {
    for (const warm of [true, false]) {
      const { device, readAll, content } = fixture(6);
      device.warm = warm;
      assert.deepEqual(await readAll(), content);
    }
  });

  test('takes one read of the disk for each piece and run, not one for each block', async () => {
    const { device, readAll } = fixture(6);
    await readAll();
    assert.ok(device.reads <= 10, `${device.reads} reads`);
  });

  test('costs no more than the first block as long as nothing was acknowledged', async () => {
    const { device, reader } = fixture(6);
    assert.equal(reader.readNow(0, new Uint8Array(1468)), true);
    await turnOfTheLoop();
    assert.equal(device.bytesRead, 1468);
    device.warm = false;
    await reader.read(0, new Uint8Array(512));
    await turnOfTheLoop();
    assert.equal(device.bytesRead, 1468 + 512);
  });

  test('is read ahead once it is being read, so far and no further', async () => {
    const { device, reader, kept } = fixture(BOOT_FILE_PIECES_AHEAD + 5);
    assert.equal(reader.readNow(1468, new Uint8Array(1468)), true);
    for (let turn = 0; turn < 20; turn += 1) await turnOfTheLoop();
    assert.equal(kept.usedBytes, (BOOT_FILE_PIECES_AHEAD + 1) * PIECE);
    device.failing = true;
    device.warm = false;
    assert.equal(reader.readNow((BOOT_FILE_PIECES_AHEAD + 1) * PIECE - 10, new Uint8Array(10)), true);
    assert.equal(reader.readNow((BOOT_FILE_PIECES_AHEAD + 1) * PIECE, new Uint8Array(10)), false);
  });

  test('gives up what its reader is past when memory is short, and goes on in large reads', async () => {
    const { device, readAll, content, kept } = fixture(40, { keptBytes: (BOOT_FILE_PIECES_AHEAD + 2) * PIECE });
    assert.deepEqual(await readAll(), content);
    assert.ok(device.reads <= 42, `${device.reads} reads`);
    assert.ok(kept.usedBytes <= (BOOT_FILE_PIECES_AHEAD + 2) * PIECE);
  });

  test('keeps the pieces behind while there is memory, for those who come later', async () => {
    const { device, file, readAll, content } = fixture(10);
    await readAll();
    const reads = device.reads;
    const later = file.newReader();
    const target = new Uint8Array(content.length);
    await later.read(0, target);
    assert.deepEqual(target, content);
    assert.equal(device.reads, reads);
  });

  test('who comes later reads again what was given up', async () => {
    const { file, readAll, content } = fixture(10, { keptBytes: 3 * PIECE });
    await readAll();
    const later = file.newReader();
    const target = new Uint8Array(content.length);
    for (let at = 0; at < target.length; at += 1000) await later.read(at, target.subarray(at, at + 1000));
    assert.deepEqual(target, content);
  });

  test('nothing is given up that a reader may still ask for', async () => {
    const { file, reader, content, overwrite, device } = fixture(10, { keptBytes: 6 * PIECE });
    const slow = file.newReader();
    const byte = new Uint8Array(1);
    for (let at = 1; at < content.length; at += PIECE) {
      await reader.read(at, byte);
      reader.progress(at, at);
    }
    slow.progress(4 * PIECE + 7, 4 * PIECE + 7);
    await overwrite(0, device.sizeBytes);
    for (let at = 4 * PIECE + 7; at < content.length; at += PIECE) {
      await slow.read(at, byte);
      assert.equal(byte[0], content[at]);
    }
  });

  test('a change does not wait for pieces that its reader is past, and they are never read as they are then', async () => {
    const { reader, saved, overwrite } = fixture(10, { keptBytes: 0 });
    reader.progress(8 * PIECE, 8 * PIECE);
    const half = 5 * PIECE; // the fixture's second run, which is the file's second half, lies in front on the disk
    await overwrite(10 * PIECE - 100 - half, half);
    assert.equal(saved.usedBytes, 0);
    await assert.rejects(reader.read(0, new Uint8Array(10)), BootFileLost);
    await reader.read(9 * PIECE, new Uint8Array(10));
  });

  test('keeps its bytes when the disk is overwritten, at once or half-way', async () => {
    for (const progress of [0, 1, 3 * PIECE + 7]) {
      const { overwrite, reader, readAll, content, device } = fixture(6, { keptBytes: PIECE });
      if (progress > 0) await reader.read(0, new Uint8Array(progress));
      await overwrite(0, device.sizeBytes);
      assert.deepEqual(await readAll(), content);
    }
  });

  test('a small change saves only the piece it touches', async () => {
    const { overwrite, saved, readAll, content } = fixture(6);
    await overwrite(10, 20);
    assert.equal(saved.usedBytes, PIECE);
    assert.deepEqual(await readAll(), content);
  });

  test('a change of other bytes does not wait', () => {
    const { file, content } = fixture(4);
    assert.equal(file.saveBefore(content.length, 500), undefined);
  });

  test('a change waits for a read that has begun, so that no block is half old and half new', async () => {
    const { device, reader, overwrite, content } = fixture(2, { keptBytes: 0 });
    device.warm = false;
    device.slow = true;
    const target = new Uint8Array(1000);
    const reading = reader.read(100, target);
    const writing = overwrite(0, content.length);
    await turnOfTheLoop();
    assert.notEqual(device.bytes[0], 0xee);
    device.release();
    await Promise.all([reading, writing]);
    assert.deepEqual(target, content.subarray(100, 1100));
    assert.equal(device.bytes[0], 0xee);
  });

  test('a change waits for a first block that is still on its way, although its piece is kept by now', async () => {
    const { device, file, reader, overwrite, content } = fixture(2);
    device.warm = false;
    device.slow = true;
    const target = new Uint8Array(1000);
    const reading = reader.read(0, target);
    device.slow = false;
    await file.newReader().read(100, new Uint8Array(10));
    const start = content.length - PIECE; // where the first run lies
    const writing = overwrite(start, 1000);
    await turnOfTheLoop();
    assert.notEqual(device.bytes[start], 0xee);
    device.release();
    await Promise.all([reading, writing]);
    assert.deepEqual(target, content.subarray(0, 1000));
  });

  test('without memory for old content the transfer is lost, and the change goes on', async () => {
    const { overwrite, reader, content } = fixture(4, { keptBytes: 0, savedBytes: PIECE });
    await overwrite(0, content.length);
    const reads = [0, 1, 2, 3].map((piece) => reader.read(piece * PIECE + 1, new Uint8Array(10)));
    const outcomes = await Promise.allSettled(reads);
    assert.deepEqual(outcomes.map((outcome) => outcome.status).sort(), [
      'fulfilled',
      'rejected',
      'rejected',
      'rejected',
    ]);
    assert.ok(outcomes.every((outcome) => outcome.status === 'fulfilled' || outcome.reason instanceof BootFileLost));
  });

  test('beyond the memory for reading it is read block by block', async () => {
    const { readAll, content, kept } = fixture(6, { keptBytes: 2 * PIECE });
    assert.deepEqual(await readAll(), content);
    assert.ok(kept.usedBytes <= 2 * PIECE);
  });

  test('a failing disk is told to whoever needs the bytes, and may recover', async () => {
    const { device, reader, kept, content } = fixture(2);
    device.warm = false;
    device.failing = true;
    await assert.rejects(reader.read(5, new Uint8Array(5)), BootFileLost);
    await assert.rejects(reader.read(0, new Uint8Array(5)), BootFileLost);
    assert.equal(kept.usedBytes, 0);
    device.failing = false;
    const target = new Uint8Array(5);
    await reader.read(5, target);
    assert.deepEqual(target, content.subarray(5, 10));
  });

  test('gives all memory back with its last user, even in the middle of reading', async () => {
    const { device, file, kept, saved, overwrite, unusedCount, reader } = fixture(4);
    await overwrite(0, 10);
    device.warm = false;
    device.slow = true;
    const reading = reader.read(2 * PIECE - 3, new Uint8Array(5)).catch((error: unknown) => error);
    file.newReader().close();
    assert.equal(unusedCount(), 0);
    reader.close();
    reader.close();
    assert.equal(unusedCount(), 1);
    device.release();
    assert.ok((await reading) instanceof BootFileLost);
    assert.deepEqual([kept.usedBytes, saved.usedBytes], [0, 0]);
  });

  test('an empty file has nothing to keep', async () => {
    const file = new HeldFile(
      new MemoryDevice(10),
      { sizeBytes: 0, runs: [] },
      { kept: new PieceStore(0), saved: new PieceStore(0) },
      () => {},
    );
    const reader = file.newReader();
    assert.equal(reader.readNow(0, new Uint8Array(0)), true);
    assert.equal(file.saveBefore(0, 10), undefined);
  });
});
