import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { BlockError } from '../../../src/block/block-error.js';
import { Disks } from '../../../src/block/disks.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import {
  dataAt,
  encodeHeader,
  encodeSector,
  encodeTally,
  fileBytes,
  MAP_AT,
  type OverlayHeader,
  SECTOR_BYTES,
  TALLY_AT,
} from '../../../src/block/overlay/overlay-format.js';
import { BoardDisk } from '../../../src/boards/disks/board-disk.js';
import { DiskRefused } from '../../../src/boards/disks/disk-folder.js';
import { newTree, withSnapshot } from '../../../src/boards/disks/layer-tree.js';
import { encodeLayerTree } from '../../../src/boards/disks/layer-tree-wire.js';
import { FakeClock } from '../../support/fake-clock.js';
import { noise } from '../../support/random.js';
import { asRecords, type FuzzTarget, records } from '../target.js';

const ID = '11'.repeat(16);
const LOWER = '22'.repeat(16);
const BASE = 'b5'.repeat(16);
/** Two sectors of the map. */
const SIZE = 2050 * 4096 + 512;
const HEADER: OverlayHeader = { id: ID, base: BASE, board: 'node1', sizeBytes: SIZE, capacityBytes: SIZE };

/** Which parts get a checksum that fits whatever was changed. */
const Sealed = { Header: 1, Tally: 2, Map: 4, Record: 8 } as const;

/** state/disks/node1: any bytes in header, tally, map and disk.json are a disk, or refused with a sentence. */
export const overlayDisk: FuzzTarget = {
  name: 'overlay-disk',
  // Without a record it is a sound one: most changes of one are seen by its checksum.
  good: async () => [
    ...[0, 1, 3, 5, 7].flatMap((sealed) => [input(sealed), input(sealed)]),
    ...[ONE_LAYER, TWO_LAYERS].flatMap((record) => [input(0, record), input(Sealed.Record, record)]),
  ],
  words: [
    ID,
    LOWER,
    BASE,
    '"layers":[]',
    '"current":',
    '"parent":',
    '"removed":[{}]',
    '{"toString":1}',
    'null',
    'bramble\0',
  ].map((word) => Buffer.from(word, 'latin1')),
  inputBytesMax: 8000,
  caseCpuMsMax: 3000,
  start: async () => {
    const path = mkdtempSync(join(tmpdir(), 'brambleboot-fuzz-'));
    const folder = join(path, 'disks', 'node1');
    const image = new MemoryDevice(noise(40 * 4096));
    const openDisk = () =>
      BoardDisk.open(
        {
          ...{ board: 'node1', disksPath: join(path, 'disks'), base: BASE, sizeBytes: SIZE, disks: new Disks() },
          fit: async () => {},
          baseOf: (id) => {
            if (id === BASE) return image;
            throw new DiskRefused('there is no such image', 'put it back');
          },
        },
        new FakeClock(),
      );
    return {
      check: async (bytes) => {
        await lay(folder, bytes);
        const disk = await orRefused(openDisk());
        if (disk === undefined) return;
        const content = await contentOf(disk);
        await disk.device.write(SIZE - 5000, noise(5000, 3), { durable: true });
        content.set(noise(5000, 3), SIZE - 5000);
        await disk.snapshot('fuzzed'); // where there is one of that name it is refused
        assert.ok((await contentOf(disk)).equals(content));
        await disk.close();
        const again = await openDisk();
        assert.ok((await contentOf(again)).equals(content));
        for (const { name } of await again.snapshots()) await again.rollback(name);
        await again.close();
      },
      stop: async () => rmSync(path, { recursive: true, force: true }),
    };
  },
};

function input(sealed: number, ...record: readonly string[]): Uint8Array {
  const states = new Uint32Array(127);
  states.set([0b1001, 0x5555_5555], 1);
  const map = [0, 1].map((sector) => encodeSector(ID, { sector, words: sector === 0 ? states : new Uint32Array(127) }));
  return asRecords(Uint8Array.of(sealed), encodeHeader(HEADER), encodeTally(ID, 1), Buffer.concat(map), ...record);
}

const ONE_LAYER = encodeLayerTree('node1', newTree(ID, BASE));
const TWO_LAYERS = encodeLayerTree(
  'node1',
  withSnapshot(newTree(LOWER, BASE), { name: 'before', takenAt: new Date(Date.UTC(2026, 10, 20)) }, ID),
);

/** A folder as the input says, with a sound layer beneath. */
async function lay(folder: string, bytes: Uint8Array): Promise<void> {
  const [flags, header = [], tally = [], map = [], record = []] = records(bytes);
  const sealed = flags?.[0] ?? 0;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await layer(
    join(folder, `${LOWER}.overlay`),
    encodeHeader({ ...HEADER, id: LOWER }),
    new Uint8Array(0),
    new Uint8Array(0),
  );
  await layer(
    join(folder, `${ID}.overlay`),
    (sealed & Sealed.Header) === 0 ? sectors(header, 1) : sealedHeader(sectors(header, 1)),
    (sealed & Sealed.Tally) === 0 ? sectors(tally, 1) : sealedAt(sectors(tally, 1), 4, 0xffff_ffff),
    (sealed & Sealed.Map) === 0 ? sectors(map, 2) : sealedMap(sectors(map, 2)),
  );
  const text = record.length === 0 ? TWO_LAYERS : Buffer.from(Uint8Array.from(record)).toString('utf8');
  const [line = ''] = text.split('\n');
  const whole = (sealed & Sealed.Record) === 0 ? text : `${line}\n${crc32(line).toString(16).padStart(8, '0')}\n`;
  writeFileSync(join(folder, 'disk.json'), whole);
}

async function layer(path: string, header: Uint8Array, tally: Uint8Array, map: Uint8Array): Promise<void> {
  const file = await open(path, 'w');
  await file.write(header, 0, header.length, 0);
  await file.write(tally, 0, tally.length, TALLY_AT);
  await file.write(map, 0, map.length, MAP_AT);
  await file.write(noise(9 * 4096, 5), 0, 9 * 4096, dataAt(HEADER));
  await file.close();
  truncateSync(path, fileBytes(HEADER));
}

function sectors(bytes: Uint8Array | readonly number[], count: number): Uint8Array {
  const whole = new Uint8Array(count * SECTOR_BYTES);
  whole.set(Uint8Array.from(bytes).subarray(0, whole.length));
  return whole;
}

function sealedHeader(sector: Uint8Array): Uint8Array {
  const view = new DataView(sector.buffer);
  view.setUint32(12, 0, true);
  view.setUint32(12, crc32(sector), true);
  return sector;
}

function sealedMap(map: Uint8Array): Uint8Array {
  for (let sector = 0; sector * SECTOR_BYTES < map.length; sector += 1) {
    const bytes = map.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    // What the file would never have is seen behind the checksum.
    if (bytes.some((byte) => byte !== 0)) sealedAt(bytes, SECTOR_BYTES - 4, sector);
  }
  return map;
}

function sealedAt(sector: Uint8Array, at: number, number: number): Uint8Array {
  const place = new Uint8Array(20);
  place.set(Buffer.from(ID, 'hex'));
  new DataView(place.buffer).setUint32(16, number, true);
  const sum = crc32(sector.subarray(0, at), crc32(place));
  new DataView(sector.buffer, sector.byteOffset).setUint32(at, sum, true);
  return sector;
}

async function orRefused(opening: Promise<BoardDisk>): Promise<BoardDisk | undefined> {
  try {
    return await opening;
  } catch (error) {
    assert.ok(error instanceof DiskRefused || error instanceof BlockError, String(error));
    assert.ok(error.message.length > 0);
    return undefined;
  }
}

async function contentOf({ device }: BoardDisk): Promise<Buffer> {
  const content = Buffer.alloc(SIZE);
  await device.read(0, content);
  return content;
}
