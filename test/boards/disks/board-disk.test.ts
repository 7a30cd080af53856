import assert from 'node:assert/strict';
import { readdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Disks } from '../../../src/block/disks.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { BoardDisk } from '../../../src/boards/disks/board-disk.js';
import { DiskRefused } from '../../../src/boards/disks/disk-folder.js';
import { FakeClock } from '../../support/fake-clock.js';
import { noise, seeded } from '../../support/random.js';
import { scratchFolder } from '../../support/scratch.js';

const BASE = 'ba5e'.repeat(8);
const NEW_BASE = 'ba5f'.repeat(8);
const SIZE = 64 * 4096 + 512;

interface Options {
  readonly sizeBytes?: number;
  readonly board?: string;
  readonly base?: string;
  readonly image?: MemoryDevice;
}

function world(context: TestContext) {
  const disksPath = join(scratchFolder(context), 'disks');
  const images = new Map([[BASE, new MemoryDevice(noise(SIZE))]]);
  let open: BoardDisk | undefined;
  context.after(() => open?.close());
  return {
    disksPath,
    folder: join(disksPath, 'node1'),
    images,
    async open({ sizeBytes = SIZE, board = 'node1', base = BASE }: Options = {}): Promise<BoardDisk> {
      await open?.close();
      open = undefined;
      open = await BoardDisk.open(
        {
          board,
          disksPath,
          base,
          baseOf: (id) => {
            const image = images.get(id);
            if (image === undefined) throw new DiskRefused(`image ${id} is gone`, 'put it back');
            return image;
          },
          sizeBytes,
          disks: new Disks(),
          fit: async () => {},
        },
        new FakeClock(),
      );
      return open;
    },
  };
}

async function contentOf({ device }: BoardDisk): Promise<Buffer> {
  const content = Buffer.alloc(device.sizeBytes);
  await device.read(0, content);
  return content;
}

async function done(verdict: Promise<{ answer: string; because?: string }>): Promise<void> {
  const { answer, because } = await verdict;
  assert.equal(answer, 'done', because);
}

describe("a board's disk", () => {
  test('begins as the image, takes no space, and keeps what was flushed', async (context) => {
    const { open, images, folder } = world(context);
    const disk = await open();
    assert.ok((await contentOf(disk)).equals(images.get(BASE)?.bytes ?? Buffer.alloc(0)));
    assert.ok((await disk.currentBytes()) <= 8192);
    await disk.device.write(5000, noise(3000, 2), { durable: true });
    const before = await contentOf(disk);
    assert.ok((await contentOf(await open())).equals(before));
    assert.deepEqual(readdirSync(folder).length, 2);
  });

  test('is what a model of it is, over any history of writes, snapshots, rollbacks, resets, drops and restarts', async (context) => {
    for (let history = 0; history < 25; history += 1) {
      const { open, images } = world(context);
      const chance = seeded(history);
      const image = Buffer.from(images.get(BASE)?.bytes ?? []);
      let disk = await open();
      let model = Buffer.from(image);
      const snapshots = new Map<string, Buffer>();
      const names = () => [...snapshots.keys()];
      for (let step = 0; step < 60; step += 1) {
        const kind = chance.pick([
          'write',
          'write',
          'write',
          'zero',
          'snapshot',
          'rollback',
          'drop',
          'reset',
          'restart',
        ] as const);
        const offset = chance.below(SIZE);
        const length = 1 + chance.below(Math.min(SIZE - offset, 20_000));
        const name = chance.pick(names());
        if (kind === 'write') {
          const bytes = noise(length, step);
          await disk.device.write(offset, bytes, { durable: chance.below(4) === 0 });
          model.set(bytes, offset);
        } else if (kind === 'zero') {
          await disk.device.zero(offset, length, { keepAllocated: chance.below(2) === 0, durable: false });
          model.fill(0, offset, offset + length);
        } else if (kind === 'snapshot') {
          await done(disk.snapshot(`s${step}`));
          snapshots.set(`s${step}`, Buffer.from(model));
        } else if (kind === 'rollback' && name !== undefined) {
          await done(disk.rollback(name));
          model = Buffer.from(snapshots.get(name) ?? image);
        } else if (kind === 'drop' && name !== undefined) {
          await done(disk.drop(name));
          snapshots.delete(name);
        } else if (kind === 'reset') {
          await done(disk.reset(BASE));
          model = Buffer.from(image);
        } else if (kind === 'restart') {
          await disk.device.flush();
          disk = await open();
        }
        const where = `history ${history}, step ${step}, after ${kind} ${name ?? ''}`;
        assert.ok((await contentOf(disk)).equals(model), where);
        assert.deepEqual(
          (await disk.snapshots()).map((snapshot) => snapshot.name),
          names(),
          where,
        );
        assert.deepEqual(await disk.strangers(), []);
      }
      for (const [name, content] of snapshots) {
        await done(disk.rollback(name));
        assert.ok((await contentOf(disk)).equals(content), `history ${history}: ${name}`);
      }
    }
  });

  test('tells which snapshots it lies on, and what each takes', async (context) => {
    const disk = await world(context).open();
    await disk.device.write(0, noise(8 * 4096), { durable: false });
    await done(disk.snapshot('one'));
    await disk.device.write(0, noise(4096, 3), { durable: false });
    await done(disk.snapshot('two'));
    await done(disk.rollback('one'));
    const facts = await disk.snapshots();
    assert.deepEqual(
      facts.map(({ name, inUse }) => ({ name, inUse })),
      [
        { name: 'one', inUse: true },
        { name: 'two', inUse: false },
      ],
    );
    assert.ok((facts[0]?.ownBytes ?? 0) >= 8 * 4096 && (facts[1]?.ownBytes ?? 0) >= 4096);
    assert.ok((facts[1]?.ownBytes ?? 0) < 8 * 4096);
  });

  test('refuses names, and snapshots that there are or are not, in a sentence', async (context) => {
    const disk = await world(context).open();
    await done(disk.snapshot('one'));
    for (const [verdict, words] of [
      [disk.snapshot('one'), /already: drop it/],
      [disk.snapshot('../one'), /no name for a snapshot/],
      [disk.snapshot(''), /no name for a snapshot/],
      [disk.snapshot('.'), /no name for a snapshot/],
      [disk.rollback('two'), /it has no snapshot "two": there are one/],
      [disk.drop('two'), /has no snapshot/],
    ] as const) {
      const { answer, ...rest } = await verdict;
      assert.equal(answer, 'refused');
      assert.match('because' in rest ? rest.because : '', words);
    }
  });

  test('holds changes while a snapshot is taken, and has all that was answered before in it', async (context) => {
    const disk = await world(context).open();
    const writes = Array.from({ length: 50 }, (_, index) => index);
    let answered = 0;
    const writing = Promise.all(
      writes.map(async (index) => {
        await disk.device.write(index * 4096, Buffer.alloc(4096, 1), { durable: false });
        answered += 1;
      }),
    );
    const before = answered;
    await done(disk.snapshot('one'));
    await writing;
    for (const index of writes) await disk.device.write(index * 4096, Buffer.alloc(4096, 2), { durable: false });
    await done(disk.rollback('one'));
    const content = await contentOf(disk);
    const kept = writes.filter((index) => content[index * 4096] === 1).length;
    assert.ok(kept >= before);
    assert.ok(writes.every((index) => content[index * 4096] !== 2));
  });

  test('grows where the inventory says so, and never shrinks', async (context) => {
    const { open } = world(context);
    const disk = await open();
    await disk.device.write(SIZE - 512, Buffer.alloc(512, 7), { durable: true });
    await done(disk.snapshot('small'));
    const larger = await open({ sizeBytes: 2 * SIZE });
    assert.equal(larger.device.sizeBytes, 2 * SIZE);
    const content = await contentOf(larger);
    assert.equal(content[SIZE - 1], 7);
    assert.ok(content.subarray(SIZE).every((byte) => byte === 0));
    await larger.device.write(2 * SIZE - 5, Buffer.alloc(5, 9), { durable: true });
    await done(larger.rollback('small'));
    assert.equal(larger.device.sizeBytes, 2 * SIZE);
    await assert.rejects(open({ sizeBytes: SIZE }), /its end would be cut off/);
  });

  test('begins anew over the image as it is now, while a snapshot lies on the one before', async (context) => {
    const { open, images } = world(context);
    const disk = await open();
    await disk.device.write(0, noise(4096, 5), { durable: true });
    await done(disk.snapshot('old'));
    images.set(NEW_BASE, new MemoryDevice(noise(SIZE, 77)));
    const later = await open({ base: NEW_BASE });
    assert.deepEqual([...later.bases], [BASE]);
    await done(later.reset(NEW_BASE));
    assert.ok((await contentOf(later)).equals(noise(SIZE, 77)));
    assert.deepEqual([...later.bases].sort(), [BASE, NEW_BASE].sort());
    images.delete(BASE);
    const refused = await later.rollback('old');
    assert.match('because' in refused ? refused.because : '', /is gone; put it back/);
    assert.ok((await contentOf(later)).equals(noise(SIZE, 77)));
  });

  test('that is damaged is refused with what is wrong, and never taken for an empty one', async (context) => {
    const { open, folder } = world(context);
    const disk = await open();
    await disk.device.write(0, noise(10 * 4096, 5), { durable: true });
    await disk.device.write(20 * 4096, noise(4096, 5), { durable: true });
    await disk.close();
    const [layer = ''] = readdirSync(folder).filter((name) => name.endsWith('.overlay'));
    const [file, record] = [join(folder, layer), join(folder, 'disk.json')];
    const sound = readFileSync(file);
    const soundRecord = readFileSync(record);
    const harm = async (change: () => void, words: RegExp) => {
      change();
      await assert.rejects(
        async () => (await open()).close(),
        (error: unknown) => error instanceof DiskRefused && words.test(`${error.message}; ${error.remedy}`),
        String(words),
      );
      writeFileSync(file, sound);
      writeFileSync(record, soundRecord);
    };
    const flipped = (at: number) => {
      const bytes = Buffer.from(sound);
      bytes.writeUInt8((bytes[at] ?? 0) ^ 1, at);
      writeFileSync(file, bytes);
    };
    await harm(() => truncateSync(file, sound.length - 4096), /its end is missing/);
    await harm(() => truncateSync(file, 100), /only 100 bytes/);
    await harm(() => flipped(0), /no overlay of Brambleboot/);
    await harm(() => flipped(40), /header is damaged/);
    await harm(() => flipped(4096), /sector 0 of its map is damaged/);
    await harm(
      () => writeFileSync(file, Buffer.concat([sound.subarray(0, 4096), Buffer.alloc(512), sound.subarray(4608)])),
      /wiped out/,
    );
    await harm(() => renameSync(record, join(folder, 'away')), /is missing, and there are 1 layers/);
    await harm(
      () => writeFileSync(record, soundRecord.toString().replace('"removed"', '"Removed"')),
      /checksum does not fit/,
    );
    await harm(() => writeFileSync(record, 'nonsense'), /checksum does not fit/);
    await assert
      .rejects(
        open({ board: 'node2' }).then((other) => other.rollback('x')),
        undefined as never,
      )
      .catch(() => {});
  });

  test('of another board is refused', async (context) => {
    const { open, disksPath, folder } = world(context);
    await (await open()).close();
    renameSync(folder, join(disksPath, 'node2'));
    await assert.rejects(open({ board: 'node2' }), /it is that of "node1"/);
  });
});
