import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { TFTP_WINDOW_BYTES_MAX } from '../../src/base/limits.js';
import { negotiate } from '../../src/tftp/options.js';

const LIMITS = { blockBytesMax: 1468, windowBlocksMax: 64 };
const SIZE = 1_234_567;

function agreed(asked: Readonly<Record<string, string>>, mode = 'octet', limits = LIMITS) {
  const { acknowledged, ...terms } = negotiate(new Map(Object.entries(asked)), mode, SIZE, limits);
  return { ...terms, acknowledged: Object.fromEntries(acknowledged) };
}

describe('negotiation', () => {
  test('without options there is nothing to acknowledge, and RFC 1350 holds', () => {
    assert.deepEqual(agreed({}), { blockBytes: 512, windowBlocks: 1, resendMs: 1000, acknowledged: {} });
  });

  test('a Pi 4 of 2022 gets its block size and the true size', () => {
    const { blockBytes, acknowledged } = agreed({ tsize: '0', blksize: '1468' });
    assert.equal(blockBytes, 1468);
    assert.deepEqual(Object.entries(acknowledged), [
      ['tsize', String(SIZE)],
      ['blksize', '1468'],
    ]);
  });

  test('a block size is never larger than asked, nor than the inventory allows', () => {
    const rows: readonly [asked: string, given: number][] = [
      ['8', 8],
      ['512', 512],
      ['1024', 1024],
      ['1469', 1468],
      ['65464', 1468],
      ['65465', 1468],
    ];
    for (const [asked, given] of rows) {
      assert.deepEqual(agreed({ blksize: asked }).acknowledged, { blksize: String(given) });
    }
    assert.equal(agreed({ blksize: '65465' }, 'octet', { ...LIMITS, blockBytesMax: 65464 }).blockBytes, 65464);
  });

  test('a value that makes no sense is left out and changes nothing', () => {
    const nonsense = [
      '',
      '-1',
      '0',
      '7',
      ' 8',
      '8 ',
      '0x8',
      '1e3',
      '１２',
      '100000000000000000000',
      'NaN',
      '+9',
      '8.0',
    ];
    for (const value of nonsense) assert.deepEqual(agreed({ blksize: value }), agreed({}), JSON.stringify(value));
    for (const value of ['', '0', '-1', 'x']) {
      assert.deepEqual(agreed({ windowsize: value }), agreed({}), JSON.stringify(value));
    }
    for (const value of ['', '0', '256', '-1', '1.5']) {
      assert.deepEqual(agreed({ timeout: value }), agreed({}), JSON.stringify(value));
    }
    for (const value of ['9999', '255000001', '']) {
      assert.deepEqual(agreed({ utimeout: value }), agreed({}), JSON.stringify(value));
    }
    for (const value of ['', '-1', 'x']) assert.deepEqual(agreed({ tsize: value }), agreed({}), JSON.stringify(value));
  });

  test('a window is bounded by count and by bytes', () => {
    assert.equal(agreed({ windowsize: '16' }).windowBlocks, 16);
    assert.equal(agreed({ windowsize: '65535' }).windowBlocks, 64);
    assert.equal(agreed({ windowsize: '16' }, 'octet', { ...LIMITS, windowBlocksMax: 4 }).windowBlocks, 4);
    const large = agreed({ windowsize: '64', blksize: '65464' }, 'octet', { ...LIMITS, blockBytesMax: 65464 });
    assert.equal(large.windowBlocks, Math.floor(TFTP_WINDOW_BYTES_MAX / 65464));
    assert.deepEqual(large.acknowledged, { windowsize: '4', blksize: '65464' });
  });

  test('a timeout is acknowledged as it is, in seconds or in microseconds', () => {
    assert.equal(agreed({ timeout: '1' }).resendMs, 1_000);
    assert.equal(agreed({ timeout: '255' }).resendMs, 255_000);
    assert.equal(agreed({ utimeout: '10000' }).resendMs, 10);
    assert.deepEqual(agreed({ utimeout: '250000' }).acknowledged, { utimeout: '250000' });
  });

  test('of timeout and utimeout the first sound one counts: there is one wait', () => {
    assert.deepEqual(agreed({ utimeout: '500000', timeout: '3' }).acknowledged, { utimeout: '500000' });
    assert.deepEqual(agreed({ utimeout: '1', timeout: '3' }).acknowledged, { timeout: '3' });
  });

  test('tsize is answered with the truth whatever number was asked, but not in netascii', () => {
    assert.deepEqual(agreed({ tsize: '77' }).acknowledged, { tsize: String(SIZE) });
    assert.deepEqual(agreed({ tsize: '0', blksize: '1024' }, 'netascii').acknowledged, { blksize: '1024' });
  });

  test('unknown options are left out', () => {
    assert.deepEqual(agreed({ multicast: '', rollover: '1', blksize2: '1024' }).acknowledged, {});
  });

  test('whatever is asked, the terms are within bounds', () => {
    const name = fc.constantFrom('blksize', 'windowsize', 'timeout', 'utimeout', 'tsize', 'multicast');
    const value = fc.oneof(fc.string({ maxLength: 12 }), fc.nat().map(String), fc.bigInt().map(String));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 8 }), (asked) => {
        const { blockBytes, windowBlocks, resendMs, acknowledged } = negotiate(new Map(asked), 'octet', SIZE, LIMITS);
        assert.ok(blockBytes >= 8 && blockBytes <= 1468);
        assert.ok(windowBlocks >= 1 && windowBlocks <= 64);
        assert.ok(resendMs >= 10 && resendMs <= 255_000);
        for (const answered of acknowledged.keys()) assert.ok(asked.some(([option]) => option === answered));
      }),
    );
  });
});
