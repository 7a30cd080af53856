import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeRevisionCode } from '../../../src/boards/identity/pi-models.js';

test('revision codes are decoded as the published table has them', () => {
  const rows: readonly [number, string, string, string, string][] = [
    [0xa02042, 'Pi 2 Model B', '1 GB', '1.2', 'BCM2837'],
    [0xa22082, 'Pi 3 Model B', '1 GB', '1.2', 'BCM2837'],
    [0xa020d3, 'Pi 3 Model B+', '1 GB', '1.3', 'BCM2837'],
    [0xa03111, 'Pi 4 Model B', '1 GB', '1.1', 'BCM2711'],
    [0xd03114, 'Pi 4 Model B', '8 GB', '1.4', 'BCM2711'],
    [0xc03130, 'Pi 400', '4 GB', '1.0', 'BCM2711'],
    [0xb03140, 'Compute Module 4', '2 GB', '1.0', 'BCM2711'],
    [0xe04171, 'Pi 5', '16 GB', '1.1', 'BCM2712'],
    [0xd04190, 'Pi 500', '8 GB', '1.0', 'BCM2712'],
    [0xb041a0, 'Compute Module 5 Lite', '2 GB', '1.0', 'BCM2712'],
    [0x902120, 'Pi Zero 2 W', '512 MB', '1.0', 'BCM2837'],
  ];
  for (const [code, model, memory, boardRevision, processor] of rows) {
    assert.deepEqual(decodeRevisionCode(code), { model, memory, boardRevision, processor });
  }
});

test('the bits above the new-style flag (warranty, overvoltage, OTP) change nothing', () => {
  assert.deepEqual(decodeRevisionCode(0xe2d0_3114), decodeRevisionCode(0xd03114));
});

test('a type, memory size or processor newer than the table is named as such', () => {
  assert.deepEqual(decodeRevisionCode(0x00f0_f2f0), {
    ...{ model: 'Pi of type 0x2f', memory: undefined, boardRevision: '1.0', processor: undefined },
  });
});

test('codes of the old style are not decoded', () => {
  for (const code of [0, 0x0002, 0x0015, 0x0100_000e, 0x34695052])
    assert.equal(decodeRevisionCode(code & ~0x80_0000), undefined);
});
