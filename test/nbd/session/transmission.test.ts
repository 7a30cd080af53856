import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NBD_PAYLOAD_BYTES_MAX, NBD_UNFRAGMENTED_BYTES_MAX } from '../../../src/base/limits.js';
import { commandName, errnoOf, refusal } from '../../../src/nbd/session/transmission.js';
import { Command, CommandFlag } from '../../../src/nbd/wire/constants.js';
import { requestOf } from '../../support/nbd-bytes.js';

const SIZE = 2 ** 33; // 8 GiB: beyond 32 bits
const size = BigInt(SIZE);
const ranged = [Command.Read, Command.Write, Command.Trim, Command.WriteZeroes, Command.Cache];

function judge(parts: Parameters<typeof requestOf>[0]): string | undefined {
  return refusal(requestOf(parts), { sizeBytes: SIZE, inChunks: false, flagsPayload: false, tellsAllocation: false })
    ?.errno;
}

function judgeInChunks(parts: Parameters<typeof requestOf>[0]): string | undefined {
  return refusal(requestOf(parts), { sizeBytes: SIZE, inChunks: true, flagsPayload: false, tellsAllocation: true })
    ?.errno;
}

function beyond(command: number): string {
  return command === Command.Write || command === Command.WriteZeroes ? 'ENOSPC' : 'EINVAL';
}

describe('what is refused', () => {
  test('a range that ends beyond the export, by one byte or by 2⁶⁴', () => {
    const ranges: [bigint, number][] = [
      [size, 1],
      [size - 1n, 2],
      [size + 1n, 0],
      [size - 0xffff_fffen, 0xffff_ffff],
      [2n ** 63n, 1],
      [2n ** 64n - 1n, 1],
      [2n ** 64n - 1n, 0xffff_ffff],
      [2n ** 64n - 512n, 512],
      [2n ** 64n - 1n, 0],
    ];
    for (const command of ranged) {
      for (const [offset, lengthBytes] of ranges) {
        assert.equal(
          judge({ command, offset, lengthBytes }),
          beyond(command),
          `${command}: ${lengthBytes} at ${offset}`,
        );
      }
    }
  });
  test('nothing that lies inside, also around 2³² and at the very end', () => {
    for (const command of ranged) {
      for (const offset of [0n, 1n, 2n ** 32n - 1n, 2n ** 32n, size - 1n]) {
        assert.equal(judge({ command, offset, lengthBytes: 1 }), undefined);
      }
      assert.equal(judge({ command, offset: size - 512n, lengthBytes: 512 }), undefined);
    }
  });
  test('no length of 0 inside the export or at its end: it does nothing', () => {
    for (const command of ranged) {
      for (const offset of [0n, 7n, size]) assert.equal(judge({ command, offset, lengthBytes: 0 }), undefined);
    }
  });
  test('a payload of more than 64 MiB, while TRIM, WRITE_ZEROES and CACHE may cover nearly 4 GiB', () => {
    for (const command of [Command.Read, Command.Write]) {
      assert.equal(judge({ command, lengthBytes: NBD_PAYLOAD_BYTES_MAX }), undefined);
      assert.equal(judge({ command, lengthBytes: NBD_PAYLOAD_BYTES_MAX + 1 }), 'EINVAL');
    }
    for (const command of [Command.Trim, Command.WriteZeroes, Command.Cache]) {
      assert.equal(judge({ command, lengthBytes: 0xffff_ffff }), undefined);
    }
  });
  test('every command that was not offered', () => {
    for (const command of [Command.BlockStatus, 8, 9, 0x7fff, 0xffff]) {
      assert.equal(judge({ command }), 'EINVAL');
    }
  });
  test('every flag that does not belong to its command, and FUA with none', () => {
    for (const command of [...ranged, Command.Flush]) {
      for (let bit = 0; bit < 16; bit += 1) {
        const flags = 1 << bit;
        const ofZeroes = flags === CommandFlag.NoHole || flags === CommandFlag.FastZero;
        const allowed = flags === CommandFlag.Fua || (ofZeroes && command === Command.WriteZeroes);
        assert.equal(judge({ command, flags }), allowed ? undefined : 'EINVAL', `command ${command}, flag ${bit}`);
      }
    }
  });
  test('a READ that may not be fragmented, where there are no chunks or it is too long for one', () => {
    const unfragmented = { command: Command.Read, flags: CommandFlag.Df };
    assert.equal(judge({ ...unfragmented, lengthBytes: 512 }), 'EINVAL');
    for (const lengthBytes of [0, 65_536, NBD_UNFRAGMENTED_BYTES_MAX]) {
      assert.equal(judgeInChunks({ ...unfragmented, lengthBytes }), undefined);
    }
    assert.equal(judgeInChunks({ ...unfragmented, lengthBytes: NBD_UNFRAGMENTED_BYTES_MAX + 1 }), 'EOVERFLOW');
    assert.equal(judgeInChunks({ ...unfragmented, offset: size, lengthBytes: 2 ** 31 }), 'EINVAL', 'beyond the end');
    for (const command of [Command.Write, Command.Trim, Command.WriteZeroes, Command.Flush]) {
      assert.equal(judgeInChunks({ command, flags: CommandFlag.Df }), 'EINVAL');
    }
  });
  test('a BLOCK_STATUS without a context, of nothing, or beyond the end', () => {
    const status = { command: Command.BlockStatus, lengthBytes: 512 };
    assert.equal(judge(status), 'EINVAL');
    assert.equal(judgeInChunks(status), undefined);
    assert.equal(judgeInChunks({ ...status, flags: CommandFlag.ReqOne | CommandFlag.Fua }), undefined);
    assert.equal(judgeInChunks({ ...status, flags: CommandFlag.Df }), 'EINVAL');
    assert.equal(judgeInChunks({ ...status, lengthBytes: 0 }), 'EINVAL');
    assert.equal(judgeInChunks({ ...status, offset: size - 511n }), 'EINVAL');
    assert.equal(judgeInChunks({ ...status, offset: size - 0xffff_ffffn, lengthBytes: 0xffff_ffff }), undefined);
    for (const offset of [2n ** 63n, 2n ** 64n - 1n]) assert.equal(judgeInChunks({ ...status, offset }), 'EINVAL');
  });
  test('with extended headers a WRITE that does not say so, and a payload of anything else', () => {
    const serving = { sizeBytes: SIZE, inChunks: true, flagsPayload: true, tellsAllocation: true };
    const because = (parts: Parameters<typeof requestOf>[0]) => refusal(requestOf(parts), serving)?.because;
    const flags = CommandFlag.PayloadLen;
    assert.equal(because({ command: Command.Write, flags, lengthBytes: 512 }), undefined);
    assert.equal(because({ command: Command.Write, flags: flags | CommandFlag.Fua, lengthBytes: 512 }), undefined);
    assert.equal(because({ command: Command.Write, lengthBytes: 512 }), 'noPayload');
    for (const command of [Command.Read, Command.Trim, Command.WriteZeroes, Command.Cache, Command.BlockStatus]) {
      assert.equal(because({ command, flags, lengthBytes: 512 }), 'unknownFlags');
      for (const lengthBytes of [SIZE + 1, 2 ** 53, 2 ** 63, 2 ** 64]) {
        assert.equal(because({ command, lengthBytes }), 'beyondEnd');
        assert.equal(because({ command, lengthBytes, offset: 2n ** 64n - 1n }), 'beyondEnd');
      }
      const whole = because({ command, lengthBytes: SIZE });
      assert.equal(whole, command === Command.Read ? 'tooLong' : undefined);
    }
  });
  test('a FLUSH with a range: its fields are reserved', () => {
    assert.equal(judge({ command: Command.Flush }), undefined);
    assert.equal(judge({ command: Command.Flush, lengthBytes: 1 }), 'EINVAL');
    assert.equal(judge({ command: Command.Flush, offset: 1n }), 'EINVAL');
  });
  test('never a DISC: nobody waits for its reply', () => {
    assert.equal(judge({ command: Command.Disc, flags: 0xffff, offset: 2n ** 64n - 1n, lengthBytes: 7 }), undefined);
  });
});

test('a full disk is told as such, a read-only one as forbidden, the rest as failed', () => {
  assert.deepEqual(
    (['ENOSPC', 'EFBIG', 'EROFS', 'EPERM', 'EACCES', 'EIO', 'ENOENT', 'EBUSY', 'EINVAL', 'ENOTSUP'] as const).map(
      errnoOf,
    ),
    ['ENOSPC', 'ENOSPC', 'EPERM', 'EPERM', 'EPERM', 'EIO', 'EIO', 'EIO', 'EIO', 'EINVAL'],
  );
});

test('a command that nobody knows has one name, whatever its number', () => {
  assert.deepEqual([0, 1, 3, 4, 6, 7, 5, 0xffff].map(commandName), [
    'read',
    'write',
    'flush',
    'trim',
    'write_zeroes',
    'block_status',
    'cache',
    'unknown',
  ]);
});
