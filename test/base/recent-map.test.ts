import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecentMap } from '../../src/base/recent-map.js';

test('what was set longest ago makes room, and setting again counts', () => {
  const map = new RecentMap<string, number>(2);
  map.set('a', 1);
  map.set('b', 2);
  map.set('a', 3);
  map.set('c', 4);
  assert.deepEqual([map.get('a'), map.get('b'), map.get('c')], [3, undefined, 4]);
  assert.deepEqual(map.values(), [3, 4]);
  map.delete('a');
  assert.deepEqual(map.values(), [4]);
});
