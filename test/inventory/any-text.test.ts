// Whatever the file holds, reading it gives an inventory or faults: never a throw, never without end.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { INVENTORY_BYTES_MAX, INVENTORY_FAULTS_MAX } from '../../src/base/limits.js';
import { renderFaults } from '../../src/inventory/fault.js';
import { parseInventory } from '../../src/inventory/parse.js';
import { holds } from '../support/any-inventory.js';
import { projectFile } from '../support/project.js';

const example = readFileSync(projectFile('config.example.yaml'), 'utf8').replaceAll(/#(?=[a-z0-9_]+:)/g, '');
const lines = example.split('\n');

describe('any text', () => {
  test('of any characters', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), holds), { numRuns: 500 });
  });

  test('of what YAML is made of', () => {
    const pieces = fc.constantFrom(
      ...[
        'boards',
        'images',
        'node1',
        'serial',
        'x',
        '0x12',
        ': ',
        ':',
        '- ',
        '? ',
        '{',
        '}',
        '[',
        ']',
        ',',
        '\n',
        '\n  ',
      ],
      ...[
        '\n    ',
        '\t',
        '"',
        "'",
        '#',
        ' #',
        '&a',
        '*a',
        '<<',
        '!t ',
        '|\n',
        '>',
        '---\n',
        '...\n',
        '%YAML',
        '~',
        '\\',
        '\r',
        '\0',
      ],
    );
    fc.assert(
      fc.property(
        fc.array(pieces, { maxLength: 40 }).map((parts) => parts.join('')),
        holds,
      ),
      { numRuns: 1500 },
    );
  });

  test('the example with a line removed, repeated, moved, cut, or indented otherwise', () => {
    const change = fc.tuple(fc.nat(lines.length - 1), fc.nat(lines.length - 1), fc.nat(5), fc.nat(20));
    const changed = fc
      .array(change, { minLength: 1, maxLength: 3 })
      .map((changes) => changes.reduce(mutate, lines).join('\n'));
    fc.assert(fc.property(changed, holds), { numRuns: 300 });
  });

  test('the example cut anywhere', () => {
    for (let length = 0; length < example.length; length += 7) holds(example.slice(0, length));
  });

  test('every single line of the example matters or is a comment: without it the rest is still read', () => {
    for (const index of lines.keys()) holds(lines.toSpliced(index, 1).join('\n'));
  });
});

describe('hostile text', () => {
  const fill = (unit: string) => unit.repeat(Math.floor(20_000 / unit.length));
  const hostile: Readonly<Record<string, string>> = {
    'brackets without end': fill('['),
    'braces without end': fill('{'),
    'items without end': fill('- '),
    'keys in keys': fill('? '),
    'keys in flow keys': `{${fill('a: b ')}`,
    'keys in flow keys, not even in braces': fill('[a]: '),
    quotes: fill('"'),
    anchors: fill('&a '),
    tags: fill('! '),
    documents: fill('a: b\n---\n'),
    commas: `[${fill(',')}`,
    'a thousand aliases of a thousand': `x: &x [${fill('a,')}]\ny: [${fill('*x,')}]`,
    'very long key': `? ${fill('k')}\n: [${fill('x,')}]`,
    'very long serial': `boards: { a: { image: x, serial: ${fill('z')} } }`,
    'very long list of arguments': `boards: { a: { cmdline: { remove: ["${fill('a ')}"] } } }`,
    'spaces after a mistake': `a: b: c${fill(' ')}`,
    'spaces before a mistake': `a: ${fill(' ')}b: c`,
    'empty lines after a mistake': `a: b: c${fill('\n')}`,
    'quotes that are never closed': fill('a: "\n'),
    'brackets that are never closed': fill('a: [\nb\n'),
    'names that steer a terminal, and are near to what is asked for': `images: { "tri\\x01ie": { file: a } }
boards: { a: { serial: 1, image: trixie, disk: direct } }
server: { interface: ["eth\\e0"], address: { eth0: 192.0.2.1 } }`,
    'hashes without an end': `${fill('# ')}\nx`,
  };
  for (const [name, text] of Object.entries(hostile)) {
    test(name, () => {
      const before = process.cpuUsage();
      holds(text);
      // Generous: it takes some 100 ms. What is quadratic takes minutes. Work is counted, not time: others may be at work too.
      assert.ok(process.cpuUsage(before).user < 5_000_000);
    });
  }

  test('nesting is refused before the YAML library can run out of stack, which would end the process', () => {
    const verdict = parseInventory('{'.repeat(200_000), 'config.yaml');
    assert.match(
      verdict.answer === 'faults' ? renderFaults(verdict.faults) : '',
      /^config.yaml:1:18: the nesting here/,
    );
  });

  test('more than the limit is not even looked at', () => {
    const verdict = parseInventory(' '.repeat(INVENTORY_BYTES_MAX + 1), 'config.yaml');
    assert.equal(
      verdict.answer === 'faults' && renderFaults(verdict.faults),
      'config.yaml: this is larger than 256 KiB, which is room for a thousand boards\n' +
        '      = is it an inventory? Then remove what no board needs\n',
    );
  });

  test('of a thousand faults the first are kept, and fewer printed', () => {
    const text = Array.from({ length: 1000 }, (_, index) => `key${index}: 1`).join('\n');
    const verdict = parseInventory(text, 'config.yaml');
    assert.equal(verdict.answer === 'faults' && verdict.faults.length, INVENTORY_FAULTS_MAX);
    assert.match(verdict.answer === 'faults' ? renderFaults(verdict.faults) : '', /\n… and 180 more faults\n$/);
  });
});

function mutate(
  from: readonly string[],
  [first, second, kind, count]: readonly [number, number, number, number],
): string[] {
  const line = from[first] ?? '';
  const changes = [
    () => from.toSpliced(first, 1),
    () => from.toSpliced(second, 0, line),
    () => from.toSpliced(first, 1, from[second] ?? ''),
    () => from.toSpliced(first, 1, line.slice(0, count)),
    () => from.toSpliced(first, 1, ' '.repeat(count) + line.trimStart()),
    () => from.toSpliced(first, 1, line.replace(/[:"[{]/, '')),
  ];
  return changes[kind]?.() ?? [...from];
}
