import assert from 'node:assert/strict';
import { linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { renderFaults } from '../../src/inventory/fault.js';
import { checkImageFiles } from '../../src/inventory/files.js';
import { parseInventory } from '../../src/inventory/parse.js';
import { scratchFolder } from '../support/scratch.js';

describe('image files', () => {
  test('that are there have no fault', async (context) => {
    const folder = scratchFolder(context);
    writeFileSync(join(folder, 'noble.img'), 'x');
    symlinkSync('noble.img', join(folder, 'link.img'));
    assert.equal(await printed(folder, 'images: { noble: { file: noble.img }, link: { file: link.img } }'), '');
  });

  test('that are not there are faults, with the nearest name in that folder', async (context) => {
    const folder = scratchFolder(context);
    writeFileSync(join(folder, 'noble.img'), 'x');
    assert.equal(
      await printed(folder, 'images:\n  noble:\n    file: nobel.img\n  trixie: { file: no/such/folder.img }\n'),
      [
        'config.yaml:3:11: "FOLDER/nobel.img" does not exist',
        '    3 |     file: nobel.img',
        '      |           ^^^^^^^^^',
        '      = did you mean `FOLDER/noble.img`?',
        '',
        'config.yaml:4:19: "FOLDER/no/such/folder.img" does not exist',
        '    4 |   trixie: { file: no/such/folder.img }',
        '      |                   ^^^^^^^^^^^^^^^^^^',
        '      = put the image there, or write its path; a relative one begins at the folder of the inventory',
        '',
      ].join('\n'),
    );
  });

  test('that are folders, empty, or something else are faults', async (context) => {
    const folder = scratchFolder(context);
    mkdirSync(join(folder, 'a.img'));
    writeFileSync(join(folder, 'b.img'), '');
    assert.equal(
      await printed(folder, 'images:\n  a: { file: a.img }\n  b: { file: b.img }\n  c: { file: /dev/null }\n'),
      [
        'config.yaml:2:14: "FOLDER/a.img" is a folder',
        '    2 |   a: { file: a.img }',
        '      |              ^^^^^',
        '      = name the image file in it',
        '',
        'config.yaml:3:14: "FOLDER/b.img" is empty',
        '    3 |   b: { file: b.img }',
        '      |              ^^^^^',
        '      = copy the image there again',
        '',
        'config.yaml:4:14: "/dev/null" is neither a file nor a block device',
        '    4 |   c: { file: /dev/null }',
        '      |              ^^^^^^^^^',
        '      = name an image file, or a disk that `lsblk` shows',
        '',
      ].join('\n'),
    );
  });

  for (const [kind, link] of [
    ['symbolic', symlinkSync],
    ['hard', linkSync],
  ] as const) {
    test(`that are one file through a ${kind} link can't have a board each`, async (context) => {
      const folder = scratchFolder(context);
      writeFileSync(join(folder, 'noble.img'), 'x');
      link(join(folder, 'noble.img'), join(folder, 'copy.img'));
      const yaml = [
        'images: { noble: { file: noble.img }, copy: { file: copy.img } }',
        'boards:',
        '  node1: { serial: 1, image: noble }',
        '  node2: { serial: 2, image: copy }',
        '',
      ].join('\n');
      assert.equal(
        await printed(folder, yaml),
        [
          'config.yaml:4:30: "node1" writes to image "noble" (the same file as "copy") already, and two boards writing to one disk destroy it',
          '    4 |   node2: { serial: 2, image: copy }',
          '      |                              ^^^^',
          '      = copy the file, list the copy under `images:` and name that here',
          '',
        ].join('\n'),
      );
    });
  }
});

describe('an image that boards have disks over', () => {
  test('may be read-only, and one file under two names', async (context) => {
    const folder = scratchFolder(context);
    writeFileSync(join(folder, 'noble.img'), 'x', { mode: 0o444 });
    symlinkSync('noble.img', join(folder, 'copy.img'));
    const yaml = [
      'images: { noble: { file: noble.img }, copy: { file: copy.img } }',
      'boards:',
      '  node1: { serial: 1, image: noble, disk: overlay }',
      '  node2: { serial: 2, image: copy, disk: volatile }',
    ].join('\n');
    assert.equal(await printed(folder, yaml), '');
  });

  test('is no direct disk under another name, for the board that would change it', async (context) => {
    const folder = scratchFolder(context);
    writeFileSync(join(folder, 'noble.img'), 'x');
    symlinkSync('noble.img', join(folder, 'copy.img'));
    const yaml = [
      'images: { noble: { file: noble.img }, copy: { file: copy.img } }',
      'boards:',
      '  node1: { serial: 1, image: noble, disk: overlay }',
      '  node2: { serial: 2, image: copy, disk: direct }',
      '',
    ].join('\n');
    assert.equal(
      await printed(folder, yaml),
      [
        'config.yaml:4:42: a direct disk changes the image itself, which destroys the disk that "node1" has over image "noble" (the same file as "copy")',
        '    4 |   node2: { serial: 2, image: copy, disk: direct }',
        '      |                                          ^^^^^^',
        '      = write `disk: overlay` for "node2" too, or give it a copy of the file, listed under `images:`',
        '',
      ].join('\n'),
    );
  });

  test('is no larger than the disks', async (context) => {
    const folder = scratchFolder(context);
    writeFileSync(join(folder, 'noble.img'), '');
    truncateSync(join(folder, 'noble.img'), 3 * 2 ** 30 + 100);
    const yaml = [
      'images: { noble: { file: noble.img } }',
      'boards:',
      '  node1: { serial: 1, image: noble, disk: overlay, size: 3GiB }',
      '  node2: { serial: 2, image: noble, disk: overlay, size: 4GiB }',
      '',
    ].join('\n');
    assert.equal(
      await printed(folder, yaml),
      [
        'config.yaml:3:58: 3GiB is less than image "noble" has, and would cut off its end',
        '    3 |   node1: { serial: 1, image: noble, disk: overlay, size: 3GiB }',
        '      |                                                          ^^^^',
        '      = write `3221225984B` or more, or remove the line',
        '',
      ].join('\n'),
    );
  });
});

async function printed(folder: string, yaml: string): Promise<string> {
  const verdict = parseInventory(yaml, join(folder, 'config.yaml'));
  assert.equal(verdict.answer, 'inventory');
  const faults = await checkImageFiles(verdict.inventory, verdict.source);
  return renderFaults(faults).replaceAll(`${folder}/config.yaml`, 'config.yaml').replaceAll(folder, 'FOLDER');
}
