import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { BOOT_FILE_PIECE_BYTES } from '../../../src/base/limits.js';
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
  file.addUser();
  /** As the watched device does: the file is asked first, then the bytes change. */
  const overwrite = async (offset: number, lengthBytes: number) => {
    await file.saveBefore(offset, lengthBytes);
    device.bytes.fill(0xee, offset, offset + lengthBytes);
  };
  const readAll = async (from = 0) => {
    const target = new Uint8Array(sizeBytes - from);
    for (let at = 0; at < target.length; at += 1468) await file.read(from + at, target.subarray(at, at + 1468));
    return target;
  };
  return { device, file, content, kept, saved, overwrite, readAll, unusedCount: () => unused };
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
    const { device, file } = fixture(6);
    assert.equal(file.readNow(0, new Uint8Array(1468)), true);
    await turnOfTheLoop();
    assert.equal(device.bytesRead, 1468);
    device.warm = false;
    await file.read(0, new Uint8Array(512));
    await turnOfTheLoop();
    assert.equal(device.bytesRead, 1468 + 512);
  });

  test('is read ahead once it is being read', async () => {
    const { device, file, kept, content } = fixture(6);
    assert.equal(file.readNow(1468, new Uint8Array(1468)), true);
    for (let turn = 0; turn < 20; turn += 1) await turnOfTheLoop();
    assert.equal(kept.usedBytes, 6 * PIECE);
    device.failing = true;
    device.warm = false;
    assert.equal(file.readNow(content.length - 10, new Uint8Array(10)), true);
  });

  test('keeps its bytes when the disk is overwritten, at once or half-way', async () => {
    for (const progress of [0, 1, 3 * PIECE + 7]) {
      const { overwrite, file, readAll, content, device } = fixture(6, { keptBytes: PIECE });
      if (progress > 0) await file.read(0, new Uint8Array(progress));
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
    const { device, file, overwrite, content } = fixture(2, { keptBytes: 0 });
    device.warm = false;
    device.slow = true;
    const target = new Uint8Array(1000);
    const reading = file.read(100, target);
    const writing = overwrite(0, content.length);
    await turnOfTheLoop();
    assert.notEqual(device.bytes[0], 0xee);
    device.release();
    await Promise.all([reading, writing]);
    assert.deepEqual(target, content.subarray(100, 1100));
    assert.equal(device.bytes[0], 0xee);
  });

  test('without memory for old content the transfer is lost, and the change goes on', async () => {
    const { overwrite, file, content } = fixture(4, { keptBytes: 0, savedBytes: PIECE });
    await overwrite(0, content.length);
    const reads = [0, 1, 2, 3].map((piece) => file.read(piece * PIECE + 1, new Uint8Array(10)));
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
    const { device, file, kept, content } = fixture(2);
    device.warm = false;
    device.failing = true;
    await assert.rejects(file.read(5, new Uint8Array(5)), BootFileLost);
    await assert.rejects(file.read(0, new Uint8Array(5)), BootFileLost);
    assert.equal(kept.usedBytes, 0);
    device.failing = false;
    const target = new Uint8Array(5);
    await file.read(5, target);
    assert.deepEqual(target, content.subarray(5, 10));
  });

  test('gives all memory back with its last user, even in the middle of reading', async () => {
    const { device, file, kept, saved, overwrite, unusedCount } = fixture(4);
    await overwrite(0, 10);
    device.warm = false;
    device.slow = true;
    const reading = file.read(2 * PIECE - 3, new Uint8Array(5)).catch((error: unknown) => error);
    file.addUser();
    file.removeUser();
    assert.equal(unusedCount(), 0);
    file.removeUser();
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
    file.addUser();
    assert.equal(file.readNow(0, new Uint8Array(0)), true);
    assert.equal(file.saveBefore(0, 10), undefined);
  });
});
