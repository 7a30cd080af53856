import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { freeDisk } from '../../src/app/free-disk.js';
import { parseInventory } from '../../src/inventory/parse.js';

const IMAGES = 'images: { noble: { file: noble.img }, trixie: { file: trixie.img } }';

describe('the lines for a new board name', () => {
  test('an image that no board has, for itself', () => {
    assert.deepEqual(freeOf('boards: { node1: { serial: 1, image: noble } }'), { image: 'trixie', disk: 'direct' });
    const shared = 'boards: { node1: { serial: 1, image: noble, disk: overlay } }';
    assert.deepEqual(freeOf(shared), { image: 'trixie', disk: 'direct' });
  });

  test('else one that no board writes to, with an overlay', () => {
    const yaml = `boards:
  node1: { serial: 1, image: noble }
  node2: { serial: 2, image: trixie, disk: volatile }
  node3: { serial: 3, image: trixie, disk: overlay }`;
    assert.deepEqual(freeOf(yaml), { image: 'trixie', disk: 'overlay' });
  });

  test('else a copy that has to be made', () => {
    const yaml = 'boards: { node1: { serial: 1, image: noble }, node2: { serial: 2, image: trixie } }';
    assert.deepEqual(freeOf(yaml), {
      image: 'NAME # of an image of its own: a copy, under `images:`',
      disk: 'direct',
    });
  });
});

function freeOf(boards: string) {
  const verdict = parseInventory(`${IMAGES}\n${boards}`, '/srv/config.yaml');
  assert.ok(verdict.answer === 'inventory');
  return freeDisk(verdict.inventory);
}
