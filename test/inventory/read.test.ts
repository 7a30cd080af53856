import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { INVENTORY_BYTES_MAX } from '../../src/base/limits.js';
import { renderFaults } from '../../src/inventory/fault.js';
import { readInventory } from '../../src/inventory/read.js';
import { explainSystemError } from '../../src/inventory/system-error.js';
import { scratchFolder } from '../support/scratch.js';

describe('reading an inventory file', () => {
  test('gives the inventory, with paths from the folder of the file', async (context) => {
    const path = written(context, 'images: { noble: { file: noble.img } }');
    const verdict = await readInventory(path);
    assert.equal(verdict.answer, 'inventory');
    assert.equal(verdict.inventory.images.get('noble')?.file, join(path, '../noble.img'));
  });

  test('gives faults with the name of the file as it was given', async (context) => {
    const path = written(context, 'imges: {}\n');
    assert.equal((await printed(path)).split('\n')[0], `${path}:1:1: "imges" is not a section of an inventory`);
  });

  test('of no file says how to name one', async (context) => {
    const path = join(scratchFolder(context), 'config.yaml');
    assert.equal(
      await printed(path),
      `${path}: this inventory does not exist\n      = name it with \`--config FILE\`, or begin with a copy of config.example.yaml\n`,
    );
  });

  test('of a folder says so', async (context) => {
    const path = scratchFolder(context);
    assert.equal(await printed(path), `${path}: this inventory is a folder\n      = name the file in it\n`);
  });

  test('of a link to itself says so', async (context) => {
    const path = join(scratchFolder(context), 'config.yaml');
    symlinkSync('config.yaml', path);
    assert.match(await printed(path), /this inventory is a symbolic link that leads back to itself\n/);
  });

  test('of a file below a file says so', async (context) => {
    const path = join(written(context, ''), 'config.yaml');
    assert.match(await printed(path), /something on its path is a file, not a folder\n/);
  });

  test('stops at the limit, whatever the file is', async (context) => {
    const path = written(context, '#'.repeat(INVENTORY_BYTES_MAX + 1));
    assert.match(await printed(path), /: this is larger than 256 KiB/);
    assert.match(await printed('/dev/zero'), /^\/dev\/zero: this is larger than 256 KiB/);
  });

  test('counts bytes, not characters', async (context) => {
    const path = written(context, `# ${'é'.repeat(INVENTORY_BYTES_MAX / 2)}`);
    assert.match(await printed(path), /: this is larger than 256 KiB/);
  });

  test('shows the character that is not UTF-8', async (context) => {
    const path = written(context, Buffer.from('# caf\u00e9\nimages:\n  caf\u00e9: {}\n', 'latin1'));
    assert.equal(
      await printed(path),
      [
        `${path}:1:6: a character here is not UTF-8`,
        '    1 | # caf\ufffd',
        '      |      ^',
        '      = save the file as UTF-8',
        '',
      ].join('\n'),
    );
  });

  test('knows UTF-16 when it sees it', async (context) => {
    const path = written(context, Buffer.from('\ufeffimages: {}\n', 'utf16le'));
    assert.match(await printed(path), /: this inventory is UTF-16\n {6}= save the file as UTF-8\n/);
  });

  test('takes a byte order mark of UTF-8 for nothing', async (context) => {
    assert.equal((await readInventory(written(context, '\ufeffdhcp: {}\n'))).answer, 'inventory');
  });
});

describe('an error of the kernel', () => {
  const codes = ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS', 'EISDIR', 'ELOOP', 'ENAMETOOLONG', 'ENXIO', 'EIO'];
  for (const code of codes) {
    test(`${code} has a sentence and a remedy`, () => {
      const { problem, remedy } = explainSystemError(Object.assign(new Error('no'), { code }), 'it', 'look for it');
      assert.match(problem, /^it /);
      assert.ok(remedy.length > 5);
    });
  }

  test('that is none of the kernel is thrown on: it is a bug', () => {
    assert.throws(() => explainSystemError(new TypeError('oops'), 'it', ''), /oops/);
  });
});

function written(context: TestContext, content: string | Uint8Array): string {
  const folder = join(scratchFolder(context), 'etc');
  mkdirSync(folder);
  const path = join(folder, 'config.yaml');
  writeFileSync(path, content);
  return path;
}

async function printed(path: string): Promise<string> {
  const verdict = await readInventory(path);
  assert.equal(verdict.answer, 'faults');
  return renderFaults(verdict.faults);
}
