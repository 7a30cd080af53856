import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Storage, type StorageCalls, storedThings } from '../../src/app/storage.js';
import { STORAGE_FORGOTTEN_MS, STORAGE_LOOK_MS, STORAGE_PATIENCE_MS } from '../../src/base/limits.js';
import type { Log } from '../../src/base/log.js';
import { servedBy } from '../../src/inventory/difference.js';
import { parseInventory } from '../../src/inventory/parse.js';
import { FakeClock } from '../support/fake-clock.js';

const THINGS = [
  { name: 'image one', path: '/srv/one.img', board: 'node1' },
  { name: 'image spare', path: '/srv/spare.img', board: undefined },
  { name: 'image lvm', path: '/dev/vg0/two', board: 'node2' },
  { name: 'image gone', path: '/srv/gone.img', board: 'node3' },
  {
    ...{ name: 'state', path: '/var/state', board: undefined },
    disks: [
      { board: 'node4', folder: '/var/state/disks/node4' },
      { board: 'node5', folder: '/var/state/disks/gone' },
    ],
  },
];

/** Two filesystems of 1000 bytes: /srv and /var; a device that lies on neither. */
function fixture() {
  const clock = new FakeClock();
  const said: string[] = [];
  const write = (facts: object, event: string) =>
    void said.push(`${event} ${'filesystem' in facts ? facts.filesystem : 'file' in facts && facts.file}`);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const free = new Map([
    ['/srv', 500],
    ['/var', 500],
  ]);
  /** Those that do not answer, and how many of their calls wait. */
  const stuck = new Map<string, number>();
  const disk = { identity: 'first' };
  const calls: StorageCalls = {
    async filesystemOf(path) {
      if (path.includes('gone')) throw new Error('ENOENT');
      const device = path.startsWith('/srv') ? 1 : 2;
      return { device, mountPoint: device === 1 ? '/srv' : '/var', holdsIt: !path.startsWith('/dev') };
    },
    async spaceOf(path) {
      if (stuck.has(path)) {
        stuck.set(path, (stuck.get(path) ?? 0) + 1);
        await new Promise(() => {});
      }
      const freeBytes = free.get(path);
      if (freeBytes === undefined) throw new Error('ESTALE');
      return { sizeBytes: 1000, freeBytes };
    },
    async allocationOf() {
      if (disk.identity === 'deleted') throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
      if (disk.identity === 'unreachable') throw Object.assign(new Error('ESTALE'), { code: 'ESTALE' });
      return { sizeBytes: 100, allocatedBytes: 42, identity: disk.identity };
    },
    async folderAllocationOf(path) {
      if (path.includes('gone')) throw new Error('ENOENT');
      return 7;
    },
  };
  const storage = new Storage({ things: THINGS, calls, clock, log });
  return { clock, said, free, stuck, disk, storage };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe('storage', () => {
  test('tells each filesystem once, with what it holds and what the disks there take', async () => {
    const { storage } = fixture();
    await storage.start();
    const common = { sizeBytes: 1000, freeBytes: 500, low: false, missing: [] };
    assert.deepEqual(storage.filesystems(), [
      { mountPoint: '/srv', ...common, holds: ['image one', 'image spare'] },
      { mountPoint: '/var', ...common, holds: ['state'] },
    ]);
    assert.deepEqual(storage.allocated(), [
      { board: 'node1', bytes: 42 },
      { board: 'node4', bytes: 7 },
    ]);
    assert.equal(storage.filesystemOf('node1')?.mountPoint, '/srv');
    assert.equal(storage.filesystemOf('node4')?.mountPoint, '/var');
    assert.equal(storage.filesystemOf('node2'), undefined);
    storage.stop();
  });

  test('warns once below 10 % and is content above 12 %', async () => {
    const { storage, free, said, clock } = fixture();
    await storage.start();
    for (const bytes of [100, 99, 50, 110, 99, 119, 120, 110, 99]) {
      free.set('/srv', bytes);
      clock.advance(STORAGE_LOOK_MS);
      await turns();
    }
    assert.deepEqual(said, ['storage.low /srv', 'storage.enough /srv', 'storage.low /srv']);
    storage.stop();
    free.set('/srv', 999);
    clock.advance(STORAGE_LOOK_MS);
    await turns();
    assert.equal(said.length, 3, 'nothing is looked at any more');
  });

  test('says once that the file of a disk was deleted or replaced, and that it is back', async () => {
    const { storage, disk, said, clock } = fixture();
    await storage.start();
    const missing: (readonly string[] | undefined)[] = [];
    for (const identity of ['first', 'unreachable', 'deleted', 'another', 'unreachable', 'first']) {
      disk.identity = identity;
      clock.advance(STORAGE_LOOK_MS);
      await turns();
      missing.push(storage.filesystems()[0]?.missing);
    }
    assert.deepEqual(missing, [[], [], ['image one'], ['image one'], ['image one'], []]);
    assert.deepEqual(said, ['image.missing /srv/one.img', 'image.found /srv/one.img']);
    storage.stop();
  });

  test('a filesystem that hangs keeps nobody waiting, holds one call, and is forgotten after a minute', async () => {
    const { storage, stuck, clock } = fixture();
    await storage.start();
    stuck.set('/srv', 0);
    const scrape = async () => {
      const look = storage.look();
      clock.advance(STORAGE_PATIENCE_MS);
      await look;
    };
    for (let count = 0; count < 5; count += 1) await scrape();
    assert.equal(stuck.get('/srv'), 1);
    assert.equal(storage.filesystems().length, 2, 'what was known last');
    clock.advance(STORAGE_FORGOTTEN_MS);
    await turns();
    await scrape();
    assert.deepEqual(
      storage.filesystems().map(({ mountPoint }) => mountPoint),
      ['/var'],
    );
    assert.deepEqual(storage.allocated(), [{ board: 'node4', bytes: 7 }]);
    storage.stop();
  });

  test('one that fails is not shown, until it answers again', async () => {
    const { storage, free } = fixture();
    await storage.start();
    free.delete('/var');
    await storage.look();
    assert.equal(storage.filesystems().length, 1);
    free.set('/var', 1);
    await storage.look();
    assert.equal(storage.filesystems()[1]?.low, true);
    storage.stop();
  });

  test('is about every image and the state folder', () => {
    const yaml = `images: { one: { file: one.img }, spare: { file: /img/spare.img }, shared: { file: shared.img } }
boards: { node1: { serial: 1, image: one }, node2: { serial: 2, image: shared, disk: overlay } }`;
    const verdict = parseInventory(yaml, '/srv/config.yaml');
    assert.ok(verdict.answer === 'inventory');
    assert.deepEqual(storedThings(servedBy(verdict.inventory)), [
      { name: 'image one', path: '/srv/one.img', board: 'node1' },
      { name: 'image spare', path: '/img/spare.img', board: undefined },
      { name: 'image shared', path: '/srv/shared.img', board: undefined },
      {
        ...{ name: 'state', path: '/srv/state', board: undefined },
        disks: [{ board: 'node2', folder: '/srv/state/disks/node2' }],
      },
    ]);
  });
});

test('things that come and go: what is known of those that stay is kept', async () => {
  const { storage, disk, said } = fixture();
  await storage.start();
  disk.identity = 'deleted';
  await storage.look();
  assert.deepEqual(storage.filesystems()[0]?.missing, ['image one']);
  const [one, spare, , , state] = THINGS;
  assert.ok(one !== undefined && spare !== undefined && state !== undefined);
  const fresh = { name: 'image new', path: '/srv/new.img', board: 'node9' };
  disk.identity = 'second';
  await storage.replace([{ ...one }, fresh, { ...state }], new Set(['node9']));
  const [srv, other] = storage.filesystems();
  assert.deepEqual(srv?.holds, ['image one', 'image new']);
  assert.deepEqual(srv?.missing, ['image one'], 'it is another file than the one that was opened');
  assert.deepEqual(other?.holds, ['state']);
  // Opened anew, as what is there now.
  await storage.replace([{ ...one }, fresh], new Set(['node1']));
  await storage.look();
  assert.deepEqual(
    storage.filesystems().map(({ holds, missing }) => [holds, missing]),
    [[['image one', 'image new'], []]],
  );
  assert.deepEqual(
    said.filter((line) => line.startsWith('image.')),
    ['image.missing /srv/one.img'],
  );
  await storage.replace([], new Set());
  assert.deepEqual(storage.filesystems(), []);
  storage.stop();
});
