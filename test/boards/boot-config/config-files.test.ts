import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CONFIG_INCLUDE_DEPTH_MAX, CONFIG_INCLUDES_MAX } from '../../../src/base/limits.js';
import { foldPath, readBootConfig } from '../../../src/boards/boot-config/config-files.js';
import { bootPartition } from '../../support/boot-partitions.js';

describe('config.txt with what it includes', () => {
  test('is one text: filters flow into an included file and out of it', async () => {
    const read = bootPartition({
      'config.txt': '[pi4]\ninclude sub.txt\nafter=1\n[all]\nlast=1\n',
      'sub.txt': 'inside=1\n[gpio4=1]\n',
    });
    const { settings, files } = await readBootConfig('config.txt', read);
    assert.deepEqual(
      settings.map(({ key, file, line, filters }) => [key, file, line, [...filters.values()].join('&')]),
      [
        ['inside', 'sub.txt', 1, 'pi4'],
        ['after', 'config.txt', 3, 'pi4&gpio4=1'],
        ['last', 'config.txt', 5, ''],
      ],
    );
    assert.deepEqual(files, ['config.txt', 'sub.txt']);
  });

  test('a model filter replaces another one, and [none] stands beside them', async () => {
    const read = bootPartition({ 'config.txt': '[pi3]\n[pi4]\na=1\n[none]\nb=1\n[all]\nc=1\n' });
    const { settings } = await readBootConfig('config.txt', read);
    assert.deepEqual(
      settings.map(({ filters }) => [...filters.values()]),
      [['pi4'], ['pi4', 'none'], []],
    );
  });

  test('that includes itself ends, and says so', async () => {
    const read = bootPartition({ 'config.txt': 'a=1\ninclude B.TXT\n', 'b.txt': 'include Config.txt\nb=1\n' });
    const { settings, warnings } = await readBootConfig('config.txt', read);
    assert.deepEqual(
      settings.map(({ key }) => key),
      ['a', 'b'],
    );
    assert.match(warnings.join(), /b\.txt:1 includes Config\.txt within itself/);
  });

  test('may include a file twice, but not without end', async () => {
    const twice = bootPartition({
      'config.txt': '[pi3]\ninclude k.txt\n[pi4]\ninclude k.txt\n',
      'k.txt': 'kernel=k\n',
    });
    assert.equal((await readBootConfig('config.txt', twice)).settings.length, 2);

    const wide = bootPartition({
      'config.txt': 'include k.txt\n'.repeat(CONFIG_INCLUDES_MAX + 5),
      'k.txt': 'kernel=k\n',
    });
    assert.equal((await readBootConfig('config.txt', wide)).settings.length, CONFIG_INCLUDES_MAX);

    const chain = Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`${index}.txt`, `include ${index + 1}.txt\nx=1\n`]),
    );
    const deep = await readBootConfig('0.txt', bootPartition(chain));
    assert.equal(deep.settings.length, CONFIG_INCLUDE_DEPTH_MAX + 1);
    assert.match(deep.warnings.join(), /too many includes/);
  });

  test('a bomb of includes stays small', async () => {
    let reads = 0;
    const files = Object.fromEntries(
      Array.from({ length: 8 }, (_, index) => [`${index}.txt`, `include ${index + 1}.txt\n`.repeat(1000)]),
    );
    const read = bootPartition(files);
    await readBootConfig('0.txt', (path, maxBytes) => {
      reads += 1;
      return read(path, maxBytes);
    });
    assert.ok(reads <= CONFIG_INCLUDES_MAX + 1);
  });

  test('names what is not there', async () => {
    const missing = await readBootConfig('config.txt', bootPartition({}));
    assert.equal(missing.present, false);
    const included = await readBootConfig('config.txt', bootPartition({ 'config.txt': 'include gone.txt\n' }));
    assert.match(included.warnings.join(), /config\.txt:1 includes gone\.txt, which is not there/);
  });
});

test('a path has one spelling', () => {
  assert.equal(foldPath('/Current//./CMDLINE.TXT'), 'current/cmdline.txt');
  assert.equal(foldPath('../x'), '../x');
  fc.assert(fc.property(fc.string(), (path) => assert.equal(foldPath(foldPath(path)), foldPath(path))));
});
