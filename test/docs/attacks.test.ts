import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { projectFile } from '../support/project.js';

const text = readFileSync(projectFile('docs', 'attacks.md'), 'utf8');
const rows = text
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| attack |'))
  .map((line) => line.slice(2, -2).split(' | '));

describe('docs/attacks.md', () => {
  test('is a table of attacks, where they were, what happens here and what shows it', () => {
    assert.ok(rows.length >= 30);
    for (const row of rows) assert.equal(row.length, 4, row[0]);
  });

  for (const [attack = '', , , shownBy = ''] of rows) {
    test(`${attack}: the tests that show it exist`, () => {
      const files = [...shownBy.matchAll(/`(test\/[^`]+\.test\.ts)`((?: ?,? ?"[^"]+")*)/g)];
      assert.ok(files.length > 0, 'a row names a test');
      for (const [, file = '', names = ''] of files) {
        assert.ok(existsSync(projectFile(file)), `${file} is not there`);
        const source = readFileSync(projectFile(file), 'utf8');
        for (const [, name = ''] of names.matchAll(/"([^"]+)"/g)) {
          assert.ok(source.includes(name), `${file} has no test "${name}"`);
        }
      }
      const rest = shownBy.replaceAll(/`test\/[^`]+\.test\.ts`|"[^"]+"|[;, ]/g, '');
      assert.equal(rest, '', 'nothing else stands in that column');
    });
  }
});
