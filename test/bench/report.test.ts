import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { table, withSection } from '../../bench/report.js';

const SECTION = '<!-- bench:tftp -->\nnew\n<!-- /bench:tftp -->';

describe('a section that a bench writes', () => {
  test('is added at the end if it is not there', () => {
    assert.equal(withSection('# Measured\n', 'tftp', '\nnew\n'), `# Measured\n\n${SECTION}\n`);
  });

  test('replaces the old one and nothing else', () => {
    const old =
      'above\n<!-- bench:tftp -->\nold $& text\n<!-- /bench:tftp -->\nbelow\n<!-- bench:rack -->\n<!-- /bench:rack -->\n';
    const replaced = withSection(old, 'tftp', 'new');
    assert.equal(replaced, `above\n${SECTION}\nbelow\n<!-- bench:rack -->\n<!-- /bench:rack -->\n`);
    assert.equal(withSection(replaced, 'tftp', 'new'), replaced);
  });

  test('is refused when its marks are not a pair', () => {
    for (const broken of [
      '<!-- bench:tftp -->',
      '<!-- /bench:tftp -->',
      '<!-- /bench:tftp --><!-- bench:tftp -->',
      `${SECTION}${SECTION}`,
    ]) {
      assert.throws(() => withSection(broken, 'tftp', 'new'), /once each/, broken);
    }
  });

  test('may hold a table', () => {
    assert.equal(table(['', 'a'], [['b', '1']]), '|  | a |\n|---|---:|\n| b | 1 |');
  });
});
