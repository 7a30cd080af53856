import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isRotational } from '../../src/os/rotational.js';
import { scratchFolder } from '../support/scratch.js';

/** sysfs of a machine with a disk that turns (8:0, partition 8:1), one that doesn't (259:0), and one with a large number. */
function sysfs(context: TestContext): string {
  const root = scratchFolder(context);
  mkdirSync(join(root, 'dev/block'), { recursive: true });
  for (const [name, number, says] of [
    ['sda', '8:0', '1\n'],
    ['nvme0n1', '259:0', '0\n'],
    ['sdxyz', '4095:1048575', '1\n'],
  ] as const) {
    mkdirSync(join(root, 'devices', name, 'queue'), { recursive: true });
    writeFileSync(join(root, 'devices', name, 'queue/rotational'), says);
    symlinkSync(`../../devices/${name}`, join(root, 'dev/block', number));
  }
  mkdirSync(join(root, 'devices/sda/sda1'));
  symlinkSync('../../devices/sda/sda1', join(root, 'dev/block/8:1'));
  return root;
}

test('a disk says whether it turns, a partition says what its disk says, and what is no device does not turn', (context) => {
  const root = sysfs(context);
  assert.equal(isRotational(0x800n, root), true);
  assert.equal(isRotational(0x801n, root), true);
  assert.equal(isRotational(0x10300n, root), false);
  assert.equal(isRotational(0x802n, root), false);
  assert.equal(isRotational(0x2an, root), false, 'btrfs: 0:42');
  assert.equal(isRotational(0xffffffffn, root), true);
});
