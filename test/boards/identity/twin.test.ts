import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseSerial } from '../../../src/base/serial.js';
import { machineIdOf, twinIdentity } from '../../../src/boards/identity/twin.js';
import { runDiskProgram } from '../../support/disk-programs.js';
import { without } from '../../support/programs.js';
import { scratchFolder } from '../../support/scratch.js';

describe('a machine id', () => {
  // Reckoned by Python's hashlib. Whoever has to change these changes the identity of every board there is.
  const ids: Readonly<Record<string, string>> = {
    '00000000': '2ecf5319f3b44a98be276b6b2c030ff8',
    bf9fed6f: 'ee9d809829634419948746cbeb729118',
    a2ef5644: 'b7c7ac05fc904d538a70861e776cbf73',
  };
  for (const [serial, id] of Object.entries(ids)) {
    test(`of serial ${serial} is ${id} for ever`, () => assert.equal(machineIdOf(parseSerial(serial)), id));
  }

  test('is a UUID of version 4, and of no two serials the same', () => {
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (number) => {
        const serial = number.toString(16).padStart(8, '0');
        const id = machineIdOf(parseSerial(serial));
        assert.match(id, /^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
        assert.equal(seen.get(id) ?? serial, serial);
        seen.set(id, serial);
      }),
      { numRuns: 1000 },
    );
  });

  test('is one to systemd', { skip: without('systemd-machine-id-setup', 'systemd') }, (context) => {
    const root = scratchFolder(context);
    const file = join(root, 'etc/machine-id');
    mkdirSync(join(root, 'etc'));
    const told = `${machineIdOf(parseSerial('bf9fed6f'))}\n`;
    writeFileSync(file, told);
    assert.equal(runDiskProgram('systemd-machine-id-setup', ['--root', root, '--print']), told);
    assert.equal(readFileSync(file, 'utf8'), told);
    // What is none is replaced.
    writeFileSync(file, 'ee9d8098296344199487\n');
    assert.notEqual(runDiskProgram('systemd-machine-id-setup', ['--root', root, '--print']), told);
  });
});

test('boards that share an image are told apart, and one with an image of its own is what that says', () => {
  const board = { name: 'node1', serial: parseSerial('10000000bf9fed6f') };
  const twin = { hostname: 'node1', machineId: 'ee9d809829634419948746cbeb729118' };
  assert.deepEqual(twinIdentity({ ...board, disk: 'overlay' }), twin);
  assert.deepEqual(twinIdentity({ ...board, disk: 'volatile' }), twin);
  assert.equal(twinIdentity({ ...board, disk: 'direct' }), undefined);
});
