// docs/config.md and config.example.yaml against the table of keys and the schema, both ways.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { renderFaults } from '../../src/inventory/fault.js';
import { parseInventory } from '../../src/inventory/parse.js';
import { KEYS, NOT_YET, SECTIONS } from '../../src/inventory/schema-reference.js';
import { SourceText } from '../../src/inventory/source.js';
import { growTree, type Tree } from '../../src/inventory/tree.js';
import { projectFile } from '../support/project.js';

const documentation = readFileSync(projectFile('docs/config.md'), 'utf8');
const example = readFileSync(projectFile('config.example.yaml'), 'utf8');
/** What is commented out without a space behind the # is a setting, not prose. */
const inFull = example.replaceAll(/#(?=[a-z0-9_]+:)/g, '');
const keys = Object.entries(KEYS);

describe('docs/config.md', () => {
  test('has a row for every key, with its values, default and meaning, and no other row', () => {
    const rows = documentation.split('\n').filter((line) => line.startsWith('| `'));
    const expected = keys.map(([pattern, { expects, default: fallback, meaning }]) => {
      return `| \`${pattern.replace('*', 'NAME')}\` | ${expects} | ${fallback ?? 'needed'} | ${meaning} |`;
    });
    assert.deepEqual(rows, expected);
  });

  test('has a heading for every section', () => {
    const sections = Object.keys(SECTIONS).filter((name) => !name.includes('.'));
    const headings = documentation.match(/^## [a-z]+$/gm)?.map((line) => line.slice(3));
    assert.deepEqual(headings, sections);
  });

  test('shows inventories that are sound', () => {
    const blocks = [...documentation.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml = '']) => yaml);
    assert.equal(blocks.length, 2);
    for (const yaml of blocks) assert.equal(faultsOf(yaml), '');
  });

  test('shows a fault as it is printed', () => {
    const [, shown] = /```\n(config\.yaml:.*?)```/s.exec(documentation) ?? [];
    const yaml = 'images:\n  noble:\n    file: noble.img\nboards:\n  node1:\n    serial: 0x12\n    image: noble\n';
    assert.equal(shown, faultsOf(yaml));
  });
});

describe('config.example.yaml', () => {
  test('has no fault, as it is and with everything in that is commented out', () => {
    assert.equal(faultsOf(example), '');
    assert.equal(faultsOf(inFull), '');
  });

  test('has every key, and no other', () => {
    const found = new Set(leafPatterns(growTree(new SourceText('config.example.yaml', inFull)).tree, []));
    assert.deepEqual([...found].sort(), keys.map(([pattern]) => pattern).sort());
  });

  test('has defaults in what it comments out, except where it says otherwise', () => {
    const examples = /^ *#(?=[a-z_]+:.* # example)/gm;
    // With what stands beneath it.
    const defaults = inventoryOf(inFull.replace(/^( *)[a-z_]+:.* # example.*\n(\1 +.*\n)*/gm, ''));
    const nothing = inventoryOf(example);
    assert.equal(example.match(examples)?.length, 6);
    assert.deepEqual(
      [defaults.server, defaults.dhcp, defaults.tftp, defaults.nbd, defaults.http],
      [nothing.server, nothing.dhcp, nothing.tftp, nothing.nbd, nothing.http],
    );
  });
});

describe('the table of keys', () => {
  const needed = 'images: { noble: { file: noble.img } }\nboards: { node1: { serial: bf9fed6f, image: noble } }';
  for (const [pattern, { example: value, default: fallback }] of keys) {
    test(`the example of ${pattern} is sound`, () => {
      assert.equal(faultsOf(withKey(pattern, value)), '');
    });

    // Defaults that are no words of a sentence.
    if (fallback === undefined || !/^[^ ]+$/.test(fallback) || fallback === 'nothing') continue;
    test(`the default of ${pattern} is what holds without it`, () => {
      assert.deepEqual(inventoryOf(withKey(pattern, fallback)), inventoryOf(needed));
    });
  }

  test('keys that are not there yet are in neither table nor documentation', () => {
    for (const pattern of Object.keys(NOT_YET)) {
      assert.ok(!(pattern in KEYS));
      assert.ok(!documentation.includes(`\`${pattern.replace('*', 'NAME')}\``));
    }
  });
});

/** The least inventory, with one key set. */
function withKey(pattern: string, value: string): string {
  if (pattern.startsWith('nbd.tls.')) return withTlsKey(pattern.replace('nbd.tls.', ''), value);
  const [section = '', ...rest] = pattern.split('.');
  const key = rest.at(-1) ?? '';
  const image = section === 'images' && key !== 'file' ? `, ${key}: ${value}` : '';
  const plain = key === 'size' ? `disk: overlay, size: ${value}` : `${key}: ${value}`;
  const inner = rest.length === 3 ? `cmdline: { ${key}: ${value} }` : plain;
  const board = section === 'boards' && key !== 'serial' && key !== 'image' ? `, ${inner}` : '';
  const other = section === 'images' || section === 'boards' ? '' : `${section}: { ${key}: ${value} }`;
  return `images: { noble: { file: noble.img${image} } }
boards: { node1: { serial: bf9fed6f, image: noble${board} } }
${other}`;
}

/** Of these one calls for another. */
function withTlsKey(key: string, value: string): string {
  const companions: Readonly<Record<string, string>> = {
    mode: value === 'off' ? '' : ', psk: keys.psk',
    certificate: ', mode: required, key: key.pem',
    key: ', mode: required, certificate: cert.pem',
    client_ca: ', mode: required, certificate: cert.pem, key: key.pem',
    psk: ', mode: required',
  };
  return `images: { noble: { file: noble.img } }
boards: { node1: { serial: bf9fed6f, image: noble } }
nbd: { tls: { ${key}: ${value}${companions[key]} } }`;
}

function inventoryOf(yaml: string) {
  const verdict = parseInventory(yaml, '/srv/config.yaml');
  if (verdict.answer === 'faults') throw new assert.AssertionError({ message: renderFaults(verdict.faults) });
  return verdict.inventory;
}

function faultsOf(yaml: string): string {
  const verdict = parseInventory(yaml, 'config.yaml');
  return verdict.answer === 'faults' ? renderFaults(verdict.faults) : '';
}

/** `boards.*.serial` for each key with a value; `cmdline` counts as a key itself too. */
function leafPatterns(tree: Tree, path: readonly string[]): readonly string[] {
  if (!(tree instanceof Map)) return [path.join('.')];
  const named = path.length === 1 && (path[0] === 'images' || path[0] === 'boards');
  const below = [...tree].flatMap(([key, value]) => leafPatterns(value, [...path, named ? '*' : key]));
  return path.at(-1) === 'cmdline' ? [path.join('.'), ...below] : below;
}
