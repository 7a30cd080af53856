import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { parseSerial } from '../../src/base/serial.js';
import { parseSubnet, type Subnet } from '../../src/base/subnets.js';
import { differenceOf, inventoryOf, isOtherDisk, servedBy } from '../../src/inventory/difference.js';
import { changeWords } from '../../src/inventory/difference-words.js';
import type { BoardEntry, ImageEntry, Inventory } from '../../src/inventory/inventory.js';
import { parseInventory } from '../../src/inventory/parse.js';
import {
  changedSettings,
  keysAtOnce,
  type Settings,
  sortSettings,
  withSettings,
} from '../../src/inventory/settings.js';

/** As the parser makes them. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record<T>(model, { noNullPrototype: true });

const subnets = [parseSubnet('10.0.0.0/8'), parseSubnet('192.168.1.7'), parseSubnet('::1')].flatMap((one): Subnet[] =>
  one === undefined ? [] : [one],
);
const anyAllow = fc.subarray(subnets);
const anyPort = fc.constantFrom(67, 69, 10809, 9069);
const anyTls = fc.constantFrom('off' as const, 'allowed' as const, 'required' as const);
const anyPath = fc.option(fc.constantFrom('/a', '/b'), { nil: undefined });

const anySettings: fc.Arbitrary<Settings> = record({
  server: record({
    interfaces: fc.option(fc.subarray(['eth0', 'eth1']), { nil: undefined }),
    address: fc.oneof(
      fc.constant({ kind: 'primary' as const }),
      record({ kind: fc.constant('one' as const), address: fc.constantFrom('10.0.0.1', '10.0.0.2') }),
      record({
        kind: fc.constant('byInterface' as const),
        addresses: fc.constantFrom(new Map([['eth0', '10.0.0.1']]), new Map([['eth0', '10.0.0.2']])),
      }),
    ),
    state: fc.constantFrom('/state', '/other'),
    allow: anyAllow,
    onFull: fc.constantFrom('wait' as const, 'error' as const),
    stateLimitBytes: fc.option(fc.constantFrom(1e9, 2e9), { nil: undefined }),
    handoverLimitMs: fc.constantFrom(60_000, 600_000),
    watch: fc.boolean(),
  }),
  dhcp: record({
    enabled: fc.boolean(),
    port: anyPort,
    replyPort: anyPort,
    answer: fc.constantFrom('known' as const, 'any' as const),
  }),
  tftp: record({
    enabled: fc.boolean(),
    port: anyPort,
    blockSizeMax: fc.constantFrom(512, 1468),
    windowSizeMax: fc.constantFrom(1, 64),
    singlePort: fc.boolean(),
  }),
  nbd: record({
    enabled: fc.boolean(),
    port: anyPort,
    socket: anyPath,
    tls: record({ mode: anyTls, certificate: anyPath, key: anyPath, clientCa: anyPath, psk: anyPath }),
  }),
  http: record({ enabled: fc.boolean(), address: fc.constantFrom('0.0.0.0', '::'), port: anyPort }),
});

const IMAGES = ['noble', 'trixie', 'old'];

const anyImage = (name: string): fc.Arbitrary<ImageEntry> =>
  record({
    name: fc.constant(name),
    file: fc.constantFrom('/noble.img', '/trixie.img'),
    bootPartition: fc.constantFrom('auto' as const, 1),
    rootPartition: fc.constantFrom('auto' as const, 2),
  });

const anyBoard = (name: string): fc.Arbitrary<BoardEntry> =>
  record({
    name: fc.constant(name),
    serial: fc.constantFrom(parseSerial('1'), parseSerial('2')),
    mac: fc.option(fc.constant('dc:a6:32:01:02:03'), { nil: undefined }),
    image: fc.constantFrom(...IMAGES),
    disk: fc.constantFrom('direct' as const, 'overlay' as const, 'volatile' as const),
    sizeBytes: fc.option(fc.constantFrom(1024, 2048), { nil: undefined }),
    allow: fc.option(anyAllow, { nil: undefined }),
    tls: anyTls,
    cmdline: fc.oneof(
      fc.constantFrom('auto' as const, 'as-is' as const),
      record({ append: fc.constantFrom('', 'quiet'), remove: fc.subarray(['splash', 'quiet']) }),
    ),
  });

/** In any order; every image is there, as parsing makes sure. */
function anyEntries<Entry>(names: readonly string[], least: number, entry: (name: string) => fc.Arbitrary<Entry>) {
  return fc
    .shuffledSubarray([...names], { minLength: least })
    .chain((some) => fc.tuple(...some.map(entry)).map((all) => new Map(some.map((name, at) => [name, all[at]]))))
    .map(
      (map) =>
        new Map([...map].flatMap(([name, value]): [string, Entry][] => (value === undefined ? [] : [[name, value]]))),
    );
}

const anyInventory: fc.Arbitrary<Inventory> = fc
  .tuple(anySettings, anyEntries(IMAGES, IMAGES.length, anyImage), anyEntries(['node1', 'node2', 'node3'], 0, anyBoard))
  .map(([settings, images, boards]) => ({ ...settings, images, boards }));

describe('the difference of two inventories', () => {
  test('has each board once, by what becomes of it, and none that stays as it is', () => {
    fc.assert(
      fc.property(anyInventory, anyInventory, (one, other) => {
        const [before, after] = [servedBy(one), servedBy(other)];
        const { added, removed, changed } = differenceOf(before, after).boards;
        for (const name of new Set([...before.boards.keys(), ...after.boards.keys()])) {
          const [then, now] = [before.boards.get(name), after.boards.get(name)];
          assert.deepEqual(added.get(name), then === undefined ? now : undefined);
          assert.deepEqual(removed.get(name), now === undefined ? then : undefined);
          const isChanged = then !== undefined && now !== undefined && !isDeepStrictEqual(then, now);
          assert.deepEqual(changed.get(name), isChanged ? { before: then, after: now } : undefined);
        }
        assert.deepEqual(inventoryOf(after), other);
      }),
      { numRuns: 500 },
    );
  });

  test('has words if and only if there is one, besides the order', () => {
    fc.assert(
      fc.property(anyInventory, anyInventory, (one, other) => {
        assert.deepEqual(changeWords(differenceOf(servedBy(one), servedBy(one))), []);
        const difference = differenceOf(servedBy(one), servedBy(other));
        const isSame = (name: string) =>
          JSON.stringify(one.boards.get(name)) === JSON.stringify(other.boards.get(name));
        for (const name of new Set([...one.boards.keys(), ...other.boards.keys()])) {
          const said = changeWords(difference).some((words) => words.startsWith(`board ${name}: `));
          const isOfImage = difference.boards.changed.has(name);
          assert.equal(said, !isSame(name) || isOfImage, name);
        }
      }),
    );
  });

  test('is another disk where image, kind or size differ, and not for a serial or an argument', () => {
    const first =
      'images: { a: { file: a.img }, b: { file: b.img } }\nboards: { n: { serial: 1, image: a, disk: overlay } }';
    const isOther = (from: string, to: string) => {
      const change = differenceOf(served(first), served(first.replace(from, to))).boards.changed.get('n');
      return change && isOtherDisk(change);
    };
    assert.equal(isOther('disk: overlay', 'disk: volatile'), true);
    assert.equal(isOther('disk: overlay', 'disk: overlay, size: 1GiB'), true);
    assert.equal(isOther('image: a', 'image: b'), true);
    assert.equal(isOther('a.img', 'c.img'), true);
    assert.equal(isOther('a.img }', 'a.img, boot_partition: 2 }'), true);
    assert.equal(isOther('serial: 1', 'serial: 2'), false);
    assert.equal(isOther('serial: 1', 'serial: 1, cmdline: as-is'), false);
    assert.equal(isOther('serial: 1', 'serial: 1, allow: 10.0.0.1'), false);
    assert.equal(isOther('b.img', 'c.img'), undefined);
  });

  test('is told as the keys stand in the file', () => {
    const before = served(
      'images: { a: { file: a.img } }\nboards: { n: { serial: 1, image: a }, m: { serial: 2, image: a, disk: overlay } }'.replace(
        ', m: { serial: 2, image: a, disk: overlay }',
        '',
      ),
    );
    const after = served(
      'tftp: { block_size_max: 512 }\nimages: { a: { file: b.img }, c: { file: c.img } }\nboards: { n: { serial: 3, image: a, mac: "dc:a6:32:01:02:03" }, m: { serial: 2, image: c } }',
    );
    assert.deepEqual(changeWords(differenceOf(before, after)), [
      'tftp.block_size_max',
      'image c: added',
      'image a: file',
      'board m: added',
      'board n: serial, mac, file of its image',
    ]);
  });
});

describe('settings', () => {
  test('that count at once are taken over, and the others are named', () => {
    fc.assert(
      fc.property(anySettings, anySettings, (before, after) => {
        const changed = changedSettings(before, after);
        const { atOnce, fromStart } = sortSettings(changed, before);
        assert.deepEqual([...atOnce, ...fromStart].sort(), [...changed].sort());
        const now = withSettings(before, after, atOnce);
        assert.deepEqual(changedSettings(now, after), fromStart);
        assert.equal(now.server.state, before.server.state);
        assert.deepEqual(now.server.allow, after.server.allow);
      }),
    );
  });

  test('a limit for the state folder is taken over where there was one', () => {
    const { settings } = served('boards: {}');
    const limited = { ...settings, server: { ...settings.server, stateLimitBytes: 1e9 } };
    const key = 'server.state_limit';
    assert.deepEqual(sortSettings([key], settings), { atOnce: [], fromStart: [key] });
    assert.deepEqual(sortSettings([key], limited), { atOnce: [key], fromStart: [] });
    assert.ok(keysAtOnce().includes(key));
  });
});

function served(yaml: string) {
  const verdict = parseInventory(yaml, '/srv/config.yaml');
  if (verdict.answer === 'faults') throw new Error(verdict.faults.map(({ problem }) => problem).join());
  return servedBy(verdict.inventory);
}
