// Every message that a mistake in the inventory can lead to, word by word: the cases are texts beside this file.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { renderFaults } from '../../src/inventory/fault.js';
import { parseInventory } from '../../src/inventory/parse.js';
import { projectFile } from '../support/project.js';

interface Case {
  readonly title: string;
  readonly yaml: string;
  readonly printed: string;
}

for (const file of ['syntax-faults.txt', 'shape-faults.txt']) {
  describe(`what is printed for ${file}`, () => {
    const cases = casesOf(file);
    for (const { title, yaml, printed } of cases) {
      test(title, () => {
        const verdict = parseInventory(yaml, 'config.yaml');
        assert.equal(verdict.answer, 'faults');
        assert.equal(renderFaults(verdict.faults), printed);
      });
    }

    test('the cases were found', () => assert.ok(cases.length > 30));
  });
}

function casesOf(file: string): readonly Case[] {
  const [, ...blocks] = readFileSync(projectFile('test/inventory', file), 'utf8').split(/^=== /m);
  return blocks.map((block, index) => {
    const [head = '', printed = ''] = block.split('>>>\n');
    const titleEnd = head.indexOf('\n');
    // An empty line separates two cases.
    return {
      title: head.slice(0, titleEnd),
      yaml: head.slice(titleEnd + 1),
      printed: index === blocks.length - 1 ? printed : printed.slice(0, -1),
    };
  });
}
