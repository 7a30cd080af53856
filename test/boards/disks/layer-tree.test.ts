import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import {
  brokenBy,
  chainOf,
  isMade,
  type LayerTree,
  layerOf,
  merged,
  newTree,
  rolledBack,
  startedAnew,
  tidying,
  unmadeTree,
  withoutLayer,
  withoutRemoved,
  withoutSnapshot,
  withPlanned,
  withSnapshot,
} from '../../../src/boards/disks/layer-tree.js';
import { decodeLayerTree, encodeLayerTree } from '../../../src/boards/disks/layer-tree-wire.js';
import { seeded } from '../../support/random.js';

const AT = new Date(Date.UTC(2026, 10, 20, 21, 14, 40));
const BASES = ['ba5e'.repeat(8), 'ba5f'.repeat(8)];

/** What each layer holds, as letters in the order in which they were written: for two that become one, both. */
type Held = ReadonlyMap<string, string>;

describe('the layers of a disk', () => {
  test('are a tree after any history, and whoever looks through them sees what a model of them says', () => {
    for (let history = 0; history < 300; history += 1) {
      const chance = seeded(history);
      let count = 0;
      const id = () => (++count).toString(16).padStart(32, '0');
      let tree = newTree(id(), BASES[0] ?? '');
      let held: Held = new Map([[tree.current, '']]);
      const model = { disk: '', snapshots: new Map<string, string>() };
      for (let step = 0; step < 40; step += 1) {
        const name = chance.pick([...model.snapshots.keys()]);
        const snapshot = tree.snapshots.find((each) => each.name === name);
        const fresh = id();
        const kind = chance.pick([
          'write',
          'write',
          'snapshot',
          'rollback',
          'drop',
          'reset',
          'tidy',
          'remove',
        ] as const);
        if (kind === 'write') {
          held = new Map([...held, [tree.current, `${held.get(tree.current)}${step},`]]);
          model.disk += `${step},`;
        } else if (kind === 'snapshot' && step < 30) {
          tree = withSnapshot(withPlanned(tree, fresh), { name: `s${step}`, takenAt: AT }, fresh);
          held = new Map([...held, [fresh, '']]);
          model.snapshots.set(`s${step}`, model.disk);
        } else if (kind === 'rollback' && snapshot !== undefined) {
          tree = rolledBack(withPlanned(tree, fresh), snapshot, fresh);
          held = new Map([...held, [fresh, '']]);
          model.disk = model.snapshots.get(snapshot.name) ?? '';
        } else if (kind === 'drop' && snapshot !== undefined) {
          tree = withoutSnapshot(tree, snapshot.name);
          model.snapshots.delete(snapshot.name);
        } else if (kind === 'reset') {
          tree = startedAnew(withPlanned(tree, fresh), chance.pick(BASES) ?? '', fresh);
          held = new Map([...held, [fresh, '']]);
          model.disk = '';
        } else if (kind === 'tidy') [tree, held] = tidied(tree, held, chance);
        else if (kind === 'remove') tree = withoutRemoved(tree);
        assertIs(tree, held, model, `history ${history}, step ${step}, after ${kind}`);
      }
      [tree, held] = tidied(tree, held, chance);
      assertIs(tree, held, model, `history ${history}, tidied`);
      // Each that is left is one that somebody needs, or that two lie on.
      const needed = new Set([tree.current, ...tree.snapshots.map(({ layer }) => layer)]);
      for (const layer of tree.layers) {
        const above = tree.layers.filter(({ parent }) => parent === layer.id).length;
        assert.ok(needed.has(layer.id) || above > 1, `history ${history}`);
      }
    }
  });

  test('that are about to be made are no tree yet', () => {
    const tree = unmadeTree('1'.repeat(32));
    assert.equal(isMade(tree), false);
    assert.equal(brokenBy(tree), undefined);
    assert.ok(isMade(newTree('1'.repeat(32), BASES[0] ?? '')));
  });

  test('that are no tree are said to be none', () => {
    const base = BASES[0] ?? '';
    const one = { id: 'a', parent: undefined, base };
    const sound: LayerTree = {
      current: 'b',
      layers: [one, { id: 'b', parent: 'a', base }],
      snapshots: [],
      removed: [],
    };
    const named = (layer: string, name = 'x') => ({ name, layer, takenAt: AT });
    assert.equal(brokenBy(sound), undefined);
    for (const [change, words] of [
      [{ current: 'c' }, /current layer/],
      [{ layers: [one, one] }, /twice/],
      [{ layers: [{ ...one, parent: 'z' }, ...sound.layers.slice(1)] }, /one that is not in it/],
      [{ layers: [{ ...one, parent: 'b' }, ...sound.layers.slice(1)] }, /circle/],
      [{ layers: [{ ...one, parent: 'a' }, ...sound.layers.slice(1)] }, /circle/],
      [{ snapshots: [named('z')] }, /no layer/],
      [{ snapshots: [named('b')] }, /no layer/],
      [{ snapshots: [named('a'), named('a')] }, /twice/],
      [{ layers: [], snapshots: [named('a')] }, /current layer/],
    ] as const) {
      assert.match(brokenBy({ ...sound, ...change }) ?? '', words);
    }
  });
});

describe('disk.json', () => {
  const ids = fc.stringMatching(/^[0-9a-f]{32}$/);
  const trees = fc
    .record({ ids: fc.uniqueArray(ids, { minLength: 1, maxLength: 6 }), removed: fc.array(ids, { maxLength: 3 }) })
    .map(({ ids: [first = '', ...others], removed }): LayerTree => {
      const begin = newTree(first, BASES[0] ?? '');
      const all = others.reduce((tree, id, at) => withSnapshot(tree, { name: `s${at}`, takenAt: AT }, id), begin);
      return { ...all, removed };
    });

  test('is read as it was written', () => {
    fc.assert(
      fc.property(trees, (tree) => assert.deepEqual(decodeLayerTree('node1', encodeLayerTree('node1', tree)), tree)),
    );
  });

  test('of another board, cut off anywhere, or with any byte changed is refused', () => {
    fc.assert(
      fc.property(trees, fc.nat(), fc.integer({ min: 1, max: 127 }), (tree, at, flip) => {
        const text = encodeLayerTree('node1', tree);
        assertRefused('node2', text);
        // Without the line's end behind the checksum it is whole all the same.
        assertRefused('node1', text.slice(0, at % (text.length - 1)));
        const bytes = Buffer.from(text);
        const place = at % (bytes.length - 1);
        bytes[place] = (bytes[place] ?? 0) ^ flip;
        assertRefused('node1', bytes.toString('latin1'));
      }),
    );
  });

  test('that is any JSON under a checksum that fits is a tree, or refused: never another throw', () => {
    const good = JSON.parse(encodeLayerTree('node1', newTree('1'.repeat(32), BASES[0] ?? '')).split('\n')[0] ?? '');
    const keys = fc.constantFrom(...Object.keys(good));
    // A value that can't be made a text of is one, too.
    const values = fc.oneof(fc.jsonValue(), fc.constant({ toString: 1, valueOf: 1 }), fc.constant([{ toString: 1 }]));
    fc.assert(
      fc.property(keys, values, (key, value) => {
        const { line, text } = sealed({ ...good, [key]: value });
        if (line !== JSON.stringify(good)) isTreeOrRefused(text);
      }),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(values, (value) => isTreeOrRefused(sealed(value).text)));
    for (const [key, value] of Object.entries({ board: { toString: 1 }, version: { toString: 1 } })) {
      assertRefused('node1', sealed({ ...good, [key]: value }).text);
    }
  });

  function sealed(value: unknown) {
    const line = JSON.stringify(value);
    return { line, text: `${line}\n${crc32(line).toString(16).padStart(8, '0')}\n` };
  }
});

function isTreeOrRefused(text: string): void {
  try {
    assert.equal(brokenBy(decodeLayerTree('node1', text)), undefined);
  } catch (error) {
    assert.ok(error instanceof Malformed, String(error));
  }
}

function assertRefused(board: string, text: string): void {
  assert.throws(
    () => decodeLayerTree(board, text),
    (error) => error instanceof Malformed,
  );
}

/** All that can be tidied, into the one or the other of two. */
function tidied(from: LayerTree, before: Held, chance: ReturnType<typeof seeded>): [LayerTree, Held] {
  let [tree, held] = [from, before];
  for (let next = tidying(tree); next !== undefined; next = tidying(tree)) {
    if (next.kind === 'remove') {
      tree = withoutLayer(tree, next.layer);
      continue;
    }
    const { lower, upper } = next;
    const kept = chance.pick([lower.id, upper.id]) ?? upper.id;
    held = new Map([...held, [kept, `${held.get(lower.id)}${held.get(upper.id)}`]]);
    tree = merged(tree, next, kept);
  }
  return [tree, held];
}

function assertIs(
  tree: LayerTree,
  held: Held,
  model: { readonly disk: string; readonly snapshots: ReadonlyMap<string, string> },
  where: string,
): void {
  assert.equal(brokenBy(tree), undefined, where);
  const through = (id: string) =>
    chainOf(tree, id)
      .map((layer) => held.get(layer.id))
      .join('');
  assert.equal(through(tree.current), model.disk, where);
  const snapshots = tree.snapshots.map(({ name, layer }) => [name, through(layer)]);
  assert.deepEqual(snapshots, [...model.snapshots], where);
  const [lowest] = chainOf(tree, tree.current);
  assert.equal(layerOf(tree, tree.current).base, lowest?.base, where);
  // No file is removed that a layer has.
  assert.ok(!tree.layers.some(({ id }) => tree.removed.includes(id)), where);
}
