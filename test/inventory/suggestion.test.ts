import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nearest, repairedName } from '../../src/inventory/suggestion.js';

describe('the nearest word', () => {
  const known = ['port', 'enabled', 'block_size_max', 'window_size_max', 'serial', 'image', 'mac'];
  const meant: Readonly<Record<string, string | undefined>> = {
    prot: 'port',
    prt: 'port',
    serail: 'serial',
    sreial: 'serial',
    serials: 'serial',
    images: 'image',
    BlockSizeMax: 'block_size_max',
    'block-size-max': 'block_size_max',
    window_size: 'window_size_max',
    wndow_size_mx: 'window_size_max',
    mca: 'mac',
    macs: 'mac',
    root: undefined,
    x: undefined,
    '': undefined,
    interface: undefined,
  };
  for (const [word, candidate] of Object.entries(meant)) {
    test(`${JSON.stringify(word)} → ${candidate}`, () => assert.equal(nearest(word, known), candidate));
  }

  test('is not looked for where a word is too long to be one', () => {
    assert.equal(nearest('p'.repeat(100_000), known), undefined);
  });
});

describe('a repaired name', () => {
  test('is one that the grammar takes', () => {
    assert.equal(repairedName('Node_1'), 'node-1');
    assert.equal(repairedName('-Ubuntu 24.04 (noble)-'), 'ubuntu-24-04-noble');
    assert.equal(repairedName(`${'a'.repeat(62)} b`), 'a'.repeat(62));
    assert.equal(repairedName('a'.repeat(70)), 'a'.repeat(63));
  });

  test('is none where nothing is left', () => assert.equal(repairedName('__'), undefined));
});
