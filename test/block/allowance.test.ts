import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Allowance } from '../../src/block/allowance.js';
import { BlockError } from '../../src/block/block-error.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { OverlayDevice } from '../../src/block/overlay/overlay-device.js';
import { OverlayFile } from '../../src/block/overlay/overlay-file.js';
import { fileBytes } from '../../src/block/overlay/overlay-format.js';
import { FakeClock } from '../support/fake-clock.js';
import { FaultDevice } from '../support/fault-device.js';

const MEBI = 1024 * 1024;
const SIZE = 96 * MEBI;
const HEADER = { id: '00'.repeat(16), base: '11'.repeat(16), board: 'node1', sizeBytes: SIZE, capacityBytes: SIZE };

async function overlay(allowance: Allowance): Promise<OverlayDevice> {
  const file = await OverlayFile.make(new FaultDevice(fileBytes(HEADER)), HEADER, allowance);
  return new OverlayDevice(new MemoryDevice(SIZE), file);
}

/** Several under one limit, of which what they take is measured as it is. */
function together(limitBytes: number) {
  const clock = new FakeClock();
  const disks: OverlayDevice[] = [];
  const takenBytes = () => disks.reduce((sum, { ownBytes }) => sum + ownBytes, 0);
  const allowance = new Allowance(limitBytes, async () => takenBytes(), clock);
  const add = async () => {
    const disk = await overlay(allowance);
    disks.push(disk);
    return disk;
  };
  return { clock, allowance, takenBytes, add };
}

/** From there on, as much as it may; answers how much that was. */
async function fill(disk: OverlayDevice, fromBytes: number): Promise<number> {
  let at = fromBytes;
  try {
    for (; at < SIZE; at += MEBI) await disk.write(at, new Uint8Array(MEBI), { durable: false });
  } catch (error) {
    assert.ok(error instanceof BlockError && /state_limit/.test(error.message));
  }
  return at - fromBytes;
}

function grantee() {
  let unusedBytes = 0;
  return {
    get unusedBytes() {
      return unusedBytes;
    },
    granted: (bytes: number) => {
      unusedBytes += bytes;
    },
    giveBack: () => {
      const back = unusedBytes;
      unusedBytes = 0;
      return back;
    },
  };
}

describe('what disks may take together', () => {
  test('a disk takes, and not a block more', async () => {
    const clock = new FakeClock();
    let measured = 10 * MEBI;
    const disk = await overlay(new Allowance(80 * MEBI, async () => measured, clock));
    assert.equal(await fill(disk, 0), 70 * MEBI);
    await assert.rejects(disk.write(80 * MEBI, new Uint8Array(1), { durable: false }), /state_limit.*83\.9 MB/);
    // What it has may be written again, and zeroed, but zeroes that become data count anew.
    await disk.write(0, new Uint8Array(MEBI), { durable: true });
    await disk.discard(0, 16 * MEBI);
    assert.equal(await fill(disk, 0), 0);
    measured = 64 * MEBI;
    assert.equal(await fill(disk, 0), 0); // it was looked at a moment ago
    clock.advance(1000);
    assert.equal(await fill(disk, 0), 70 * MEBI); // all it had
  });

  test('is what they have taken and what they were granted, however often it is measured', async () => {
    const { clock, takenBytes, add } = together(100 * MEBI);
    const disks = [await add(), await add(), await add()];
    for (const disk of disks) {
      await disk.write(0, new Uint8Array(MEBI), { durable: false });
      clock.advance(1000);
    }
    for (const disk of disks) {
      await fill(disk, MEBI);
      clock.advance(1000);
    }
    assert.equal(takenBytes(), 100 * MEBI);
  });

  test('is not held back by who was granted more than it uses', async () => {
    const { takenBytes, add } = together(70 * MEBI);
    const [idle, busy] = [await add(), await add()];
    await idle.write(0, new Uint8Array(MEBI), { durable: false });
    assert.equal(await fill(busy, 0), 69 * MEBI);
    assert.equal(await fill(idle, MEBI), 0);
    assert.equal(takenBytes(), 70 * MEBI);
  });

  test('is there again when one is closed, or takes no more', async () => {
    const { allowance, add } = together(90 * MEBI);
    const [first, second, third] = [await add(), await add(), await add()];
    for (const [disk, over] of [
      [first, () => first.close()],
      [second, async () => second.returnUnused()],
    ] as const) {
      await disk.write(0, new Uint8Array(MEBI), { durable: false });
      assert.ok(allowance.leftBytes < 32 * MEBI);
      await over();
    }
    assert.equal(allowance.leftBytes, 88 * MEBI);
    assert.equal(await fill(third, 0), 88 * MEBI);
  });

  test('counts what was granted while it was measured, and what is given back then', async () => {
    const clock = new FakeClock();
    const measures: ((bytes: number) => void)[] = [];
    const allowance = new Allowance(200 * MEBI, () => new Promise((resolve) => measures.push(resolve)), clock);
    const [one, other] = [grantee(), grantee()];
    const first = allowance.grant(one, MEBI);
    measures.shift()?.(0);
    assert.ok(await first);
    assert.equal(allowance.leftBytes, 136 * MEBI);
    clock.advance(1000);
    const tooMuch = allowance.grant(other, 150 * MEBI); // it is measured for that
    assert.ok(await allowance.grant(one, MEBI));
    measures.shift()?.(3 * MEBI);
    await tooMuch;
    assert.equal(one.unusedBytes, 0); // it was needed elsewhere
    assert.equal(other.unusedBytes, 150 * MEBI);
    assert.equal(allowance.leftBytes, 47 * MEBI);
  });

  test('is what was known before where it can not be measured', async () => {
    const clock = new FakeClock();
    const answers = [() => 10 * MEBI, () => assert.fail('EMFILE')];
    const allowance = new Allowance(80 * MEBI, async () => answers.shift()?.() ?? 0, clock);
    const disk = await overlay(allowance);
    assert.equal(await fill(disk, 0), 70 * MEBI);
    clock.advance(1000);
    assert.equal(await fill(disk, 70 * MEBI), 0);
  });
});

test('another limit counts from then on; what is taken stays taken', async () => {
  const allowance = new Allowance(100 * MEBI, async () => 90 * MEBI, new FakeClock());
  assert.equal(await allowance.grant(grantee(), 64 * MEBI), false);
  allowance.limitTo(200 * MEBI);
  assert.equal(await allowance.grant(grantee(), 1), true);
  allowance.limitTo(10 * MEBI);
  assert.equal(await allowance.grant(grantee(), 1), false);
  allowance.limitTo(Number.MAX_SAFE_INTEGER);
  assert.equal(await allowance.grant(grantee(), 1024 * MEBI), true);
});
