// What FileDevice says of its space, on the filesystems that servers have, with filefrag as the witness.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import type { BlockDevice, Extent } from '../../src/block/block-device.js';
import { openFileDevice } from '../../src/block/file-device.js';
import { whenOver } from '../support/cleanup.js';
import { anyOf, without, withoutRoot } from '../support/programs.js';
import { seeded } from '../support/random.js';
import {
  type DiskFilesystemKind,
  diskFilesystem,
  smallFilesystem,
  withoutDiskFilesystem,
  withoutMounts,
} from '../support/small-filesystem.js';

const MIB = 1024 * 1024;
const BLOCK = 4096;

/** Without a lock: who has it is looked up by path, and these lie in another mount namespace. */
async function opened(context: TestContext, file: string): Promise<BlockDevice> {
  const device = await openFileDevice(file, { access: 'readWrite', lock: 'none' });
  whenOver(context, () => device.close());
  return device;
}

interface Subject {
  readonly device: BlockDevice;
  readonly file: string;
}

/** An empty, sparse image on a filesystem of its own. */
async function sparse(context: TestContext, kind: DiskFilesystemKind, sizeBytes: number): Promise<Subject> {
  const disk = await diskFilesystem(context, kind);
  const file = disk.reach('disk.img');
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  return { device: await opened(context, file), file };
}

const plain = { durable: false } as const;
const reserved = { keepAllocated: true, durable: false } as const;

/** `data 0+4096`. */
function said(extents: readonly Extent[]): readonly string[] {
  return extents.map(({ kind, offset, lengthBytes }) => `${kind} ${offset}+${lengthBytes}`);
}

/** The whole file as filefrag tells it: "   0:   16..  17:  9864720.. 9864721:  2:  unwritten,eof". */
function witnessed({ device, file }: Subject): readonly string[] {
  const text = execFileSync('filefrag', ['-s', '-v', `-b${BLOCK}`, file], { encoding: 'latin1' });
  const rows = text.matchAll(/^ *\d+: +(\d+)\.\. +(\d+): .*: *(\S*)$/gm);
  const list: Extent[] = [];
  const add = (end: number, kind: Extent['kind']) => {
    const offset = (list.at(-1)?.offset ?? 0) + (list.at(-1)?.lengthBytes ?? 0);
    const lengthBytes = Math.min(end, device.sizeBytes) - offset;
    const last = list.at(-1);
    if (lengthBytes <= 0) return;
    if (last?.kind === kind) list[list.length - 1] = { ...last, lengthBytes: last.lengthBytes + lengthBytes };
    else list.push({ offset, lengthBytes, kind });
  };
  for (const [, first, last, flags] of rows) {
    add(Number(first) * BLOCK, 'hole');
    add((Number(last) + 1) * BLOCK, flags?.includes('unwritten') ? 'zero' : 'data');
  }
  add(device.sizeBytes, 'hole');
  return said(list);
}

for (const kind of ['ext4', 'xfs'] as const) {
  const skip = anyOf(withoutDiskFilesystem(kind), without('filefrag', 'e2fsprogs'));
  describe(`allocation on ${kind}`, { skip }, () => {
    test('tells what was never written from what was reserved, zeroed and given back', async (context) => {
      const subject = await sparse(context, kind, 8 * MIB);
      const { device, file } = subject;
      assert.deepEqual(said(await device.extents(0, 8 * MIB)), ['hole 0+8388608']);
      execFileSync('fallocate', ['-o', '1MiB', '-l', '1MiB', file]);
      await device.write(3 * MIB, new Uint8Array(2 * MIB).fill(1), plain);
      await device.zero(3 * MIB, MIB / 2, reserved);
      await device.discard(4 * MIB, MIB / 2);
      const expected = [
        `hole 0+${MIB}`,
        `zero ${MIB}+${MIB}`,
        `hole ${2 * MIB}+${MIB}`,
        `zero ${3 * MIB}+${MIB / 2}`,
        `data ${3.5 * MIB}+${MIB / 2}`,
        `hole ${4 * MIB}+${MIB / 2}`,
        `data ${4.5 * MIB}+${MIB / 2}`,
        `hole ${5 * MIB}+${3 * MIB}`,
      ];
      assert.deepEqual(said(await device.extents(0, 8 * MIB)), expected);
      assert.deepEqual(witnessed(subject), expected);
    });

    test('sees what was just written and has no place on the disk yet', async (context) => {
      const { device, file } = await sparse(context, kind, MIB);
      execFileSync('fallocate', ['-o', '64KiB', '-l', '64KiB', file]);
      await device.write(0, Buffer.from('delayed'), plain);
      await device.write(20 * BLOCK, Buffer.from('into reserved space'), plain);
      assert.deepEqual(said(await device.extents(0, 32 * BLOCK)), [
        `data 0+${BLOCK}`,
        `hole ${BLOCK}+${15 * BLOCK}`,
        `zero ${16 * BLOCK}+${4 * BLOCK}`,
        `data ${20 * BLOCK}+${BLOCK}`,
        `zero ${21 * BLOCK}+${11 * BLOCK}`,
      ]);
    });

    test('answers for exactly the range asked for', async (context) => {
      const { device } = await sparse(context, kind, MIB + 100);
      await device.write(BLOCK, new Uint8Array(2 * BLOCK).fill(1), plain);
      assert.deepEqual(said(await device.extents(BLOCK + 7, 10)), [`data ${BLOCK + 7}+10`]);
      assert.deepEqual(said(await device.extents(BLOCK - 1, 3)), [`hole ${BLOCK - 1}+1`, `data ${BLOCK}+2`]);
      assert.deepEqual(said(await device.extents(MIB, 100)), [`hole ${MIB}+100`]);
      assert.deepEqual(await device.extents(MIB + 100, 0), []);
      await assert.rejects(device.extents(MIB, 101), RangeError);
    });

    test('goes on where one call does not tell all, and tells neighbours of one kind as one', async (context) => {
      const subject = await sparse(context, kind, 16 * MIB);
      const { device } = subject;
      for (let block = 0; block < 4096; block += 2) {
        await device.write(block * BLOCK, new Uint8Array(BLOCK).fill(1), plain);
      }
      const extents = await device.extents(0, 16 * MIB);
      assert.equal(extents.length, 4096);
      assert.ok(extents.every(({ offset, lengthBytes }, block) => offset === block * BLOCK && lengthBytes === BLOCK));
      // The blocks between lie elsewhere on the disk: many extents of the filesystem, one of ours.
      for (let block = 1; block < 4096; block += 2) {
        await device.write(block * BLOCK, new Uint8Array(BLOCK).fill(2), plain);
      }
      assert.deepEqual(said(await device.extents(0, 16 * MIB)), [`data 0+${16 * MIB}`]);
    });

    test('whatever was done in whatever order, it is as filefrag sees it, and only data is not zero', async (context) => {
      const subject = await sparse(context, kind, 4 * MIB + 1000);
      const { device } = subject;
      const model = new Uint8Array(device.sizeBytes);
      const { below } = seeded(7);
      for (let round = 0; round < 200; round += 1) {
        const offset = below(device.sizeBytes);
        const lengthBytes = 1 + below(Math.min(96 * 1024, device.sizeBytes - offset));
        const change = below(4);
        if (change === 0) await device.write(offset, new Uint8Array(lengthBytes).fill(round + 1), plain);
        else if (change === 1) await device.zero(offset, lengthBytes, reserved);
        else if (change === 2) await device.zero(offset, lengthBytes, { ...reserved, keepAllocated: false });
        else await device.flush();
        if (change < 3) model.fill(change === 0 ? (round + 1) & 0xff : 0, offset, offset + lengthBytes);
        if (round % 10 === 0) {
          const extents = await device.extents(0, device.sizeBytes);
          for (const extent of extents.filter((one) => one.kind !== 'data')) assertZeroes(model, extent);
          assert.deepEqual(said(extents), witnessed(subject), `round ${round}`);
        }
      }
    });
  });
}

function assertZeroes(content: Uint8Array, { offset, lengthBytes }: Extent): void {
  const at = content.subarray(offset, offset + lengthBytes).findIndex((byte) => byte !== 0);
  assert.equal(at, -1, `a byte at ${offset + at} that is not zero`);
}

describe('allocation where FIEMAP is missing', () => {
  test('is told by SEEK_DATA and SEEK_HOLE on tmpfs', { skip: withoutMounts() }, async (context) => {
    const disk = await smallFilesystem(context, 8 * MIB);
    const file = disk.reach('disk.img');
    writeFileSync(file, '');
    truncateSync(file, 4 * MIB);
    const device = await opened(context, file);
    await device.write(MIB, new Uint8Array(MIB).fill(1), plain);
    for (let again = 0; again < 2; again += 1) {
      assert.deepEqual(said(await device.extents(10, 3 * MIB)), [
        `hole 10+${MIB - 10}`,
        `data ${MIB}+${MIB}`,
        `hole ${2 * MIB}+${MIB + 10}`,
      ]);
    }
    truncateSync(file, 0);
    assert.deepEqual(said(await device.extents(0, 4 * MIB)), [`hole 0+${4 * MIB}`], 'cut short under us');
  });

  const loop = anyOf(withoutRoot(), without('losetup', 'util-linux'));
  test('a block device is data all over', { skip: loop }, async (context) => {
    const disk = await smallFilesystem(context, 8 * MIB);
    const file = disk.reach('backing.img');
    writeFileSync(file, '');
    truncateSync(file, MIB);
    const node = execFileSync('losetup', ['-f', '--show', file]).toString().trim();
    whenOver(context, () => void execFileSync('losetup', ['-d', node]));
    const device = await opened(context, node);
    assert.deepEqual(said(await device.extents(512, 1024)), ['data 512+1024']);
    assert.deepEqual(await device.extents(512, 0), []);
  });
});
