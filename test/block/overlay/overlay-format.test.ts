import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import { BLOCKS_PER_SECTOR } from '../../../src/block/overlay/block-map.js';
import {
  capacityFor,
  dataAt,
  decodeHeader,
  decodeSector,
  decodeTally,
  encodeHeader,
  encodeSector,
  encodeTally,
  fileBytes,
  type OverlayHeader,
  SECTOR_BYTES,
} from '../../../src/block/overlay/overlay-format.js';

const ID = '00112233445566778899aabbccddeeff';
const HEADER: OverlayHeader = {
  id: ID,
  base: 'ffeeddccbbaa99887766554433221100',
  board: 'node1',
  sizeBytes: 32 * 1024 ** 3,
  capacityBytes: 1024 ** 4,
};

/**
 * Put together by hand after the drawing in overlay-format.ts; the checksums by Python's zlib.crc32, of the header with zeroes in its
 * place, and of `id + u32(sector) + words`.
 */
const GOLDEN_HEADER = hex(
  '6272616d626c6500 01000000 e498da4e 00112233445566778899aabbccddeeff ffeeddccbbaa99887766554433221100',
  '0000000008000000 0000000000010000 05 6e6f646531',
);
/** Of sector 3: its first block is the overlay's own, the second zero, the 17th its own. */
const GOLDEN_SECTOR = hex('09000000 01000000', '00'.repeat(125 * 4), 'e70d46c7');
const GOLDEN_TALLY = hex('07000000 87b6f1f7');

const headers = fc
  .record({
    id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    base: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    board: fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/),
    sizeBytes: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    moreBytes: fc.nat(),
  })
  .map(({ id, base, board, sizeBytes, moreBytes }): OverlayHeader => {
    const capacityBytes = Math.min(Number.MAX_SAFE_INTEGER, sizeBytes + moreBytes);
    return { id: asHex(id), base: asHex(base), board, sizeBytes, capacityBytes };
  });
/** No block is claimed. */
const words = fc
  .array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 127, maxLength: 127 })
  .map((all) => Uint32Array.from(all, (word) => word & ~(word & (word >>> 1) & 0x5555_5555)));
const sectors = fc.uint8Array({ minLength: SECTOR_BYTES, maxLength: SECTOR_BYTES });
const sectorNumbers = fc.nat({ max: 0x7fff_ffff });

describe("an overlay's header", () => {
  test('is these bytes', () => {
    assert.deepEqual(Buffer.from(encodeHeader(HEADER)), GOLDEN_HEADER);
    assert.deepEqual(decodeHeader(GOLDEN_HEADER), HEADER);
  });

  test('of any overlay is read as it was written', () => {
    fc.assert(
      fc.property(headers, (header) => {
        const sector = encodeHeader(header);
        assert.equal(sector.length, SECTOR_BYTES);
        assert.deepEqual(decodeHeader(sector), header);
      }),
    );
  });

  test('that is any bytes, or one with any byte changed, is none, and says so', () => {
    fc.assert(fc.property(sectors, (bytes) => assertMalformed(() => decodeHeader(bytes))));
    fc.assert(
      fc.property(headers, fc.nat({ max: SECTOR_BYTES - 1 }), fc.integer({ min: 1, max: 255 }), (header, at, flip) => {
        const sector = encodeHeader(header);
        sector[at] = (sector[at] ?? 0) ^ flip;
        assertMalformed(() => decodeHeader(sector));
      }),
    );
    for (let length = 0; length < SECTOR_BYTES; length += 1) {
      assertMalformed(() => decodeHeader(GOLDEN_HEADER.subarray(0, length)));
    }
  });

  test('of a later version says which it is, and one of another format that it is none', () => {
    const later = encodeHeader(HEADER);
    new DataView(later.buffer).setUint32(8, 2, true);
    reseal(later);
    assert.throws(() => decodeHeader(later), /version 2, and this program knows 1/);
    const qcow = new Uint8Array(SECTOR_BYTES);
    qcow.set(Buffer.from('QFI\xfb', 'latin1'));
    assert.throws(() => decodeHeader(qcow), /no overlay of Brambleboot/);
  });

  test('that is sealed and says what cannot be is refused: a size beyond its room, a name that is none', () => {
    const harmed = (change: (view: DataView) => void) => {
      const sector = encodeHeader(HEADER);
      change(new DataView(sector.buffer));
      reseal(sector);
      return sector;
    };
    for (const sector of [
      harmed((view) => view.setBigUint64(48, 2n ** 41n, true)),
      harmed((view) => view.setBigUint64(56, 2n ** 63n, true)),
      harmed((view) => view.setUint8(64, 200)),
      harmed((view) => view.setUint8(64, 0)),
      harmed((view) => view.setUint8(65, 0x1b)),
      harmed((view) => view.setUint8(66, 0x2f)),
    ])
      assertMalformed(() => decodeHeader(sector));
  });
});

describe("a sector of an overlay's map", () => {
  test('is these bytes', () => {
    const states = new Uint32Array(127);
    states.set([0b1001, 1]);
    assert.deepEqual(Buffer.from(encodeSector(ID, { sector: 3, words: states })), GOLDEN_SECTOR);
    assert.deepEqual(decodeSector(ID, 3, GOLDEN_SECTOR), { sector: 3, words: states });
  });

  test('is read as it was written, and only as that sector of that file', () => {
    fc.assert(
      fc.property(sectorNumbers, words, (sector, states) => {
        const bytes = encodeSector(ID, { sector, words: states });
        assert.deepEqual(decodeSector(ID, sector, bytes), { sector, words: states });
        assertMalformed(() => decodeSector(ID, sector ^ 1, bytes));
        assertMalformed(() => decodeSector(HEADER.base, sector, bytes));
      }),
    );
  });

  test('that is any bytes is damaged, and of zeroes was never written', () => {
    assert.equal(decodeSector(ID, 0, new Uint8Array(SECTOR_BYTES)), undefined);
    fc.assert(
      fc.property(sectorNumbers, sectors, (sector, bytes) => assertMalformed(() => decodeSector(ID, sector, bytes))),
    );
    fc.assert(
      fc.property(words, fc.nat({ max: SECTOR_BYTES - 1 }), fc.integer({ min: 1, max: 255 }), (states, at, flip) => {
        const bytes = encodeSector(ID, { sector: 5, words: states });
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        assertMalformed(() => decodeSector(ID, 5, bytes));
      }),
    );
  });

  test('that tells of a claimed block is refused: a claim is never written down', () => {
    const states = new Uint32Array(127);
    states[126] = 0xc000_0000;
    assert.throws(
      () => decodeSector(ID, 1, encodeSector(ID, { sector: 1, words: states })),
      /a state that there is none of/,
    );
  });
});

describe("the tally of an overlay's map", () => {
  test('is these bytes, and is read as it was written', () => {
    assert.deepEqual(Buffer.from(encodeTally(ID, 7)).subarray(0, 8), GOLDEN_TALLY);
    fc.assert(
      fc.property(fc.nat({ max: 0xffff_ffff }), (count) =>
        assert.equal(decodeTally(ID, encodeTally(ID, count)), count),
      ),
    );
    assert.equal(decodeTally(ID, new Uint8Array(SECTOR_BYTES)), 0);
  });

  test('that is any bytes, or of another file, is damaged', () => {
    fc.assert(fc.property(sectors, (bytes) => assertMalformed(() => decodeTally(ID, bytes))));
    assertMalformed(() => decodeTally(HEADER.base, encodeTally(ID, 7)));
  });
});

test('there is a place for every byte of the disk behind the whole of its map, also when it has grown', () => {
  fc.assert(
    fc.property(fc.nat({ max: 4 * 1024 ** 4 }), fc.nat({ max: 4 * 1024 ** 4 }), (one, other) => {
      const [sizeBytes, capacityBytes] = [Math.min(one, other), capacityFor(Math.max(one, other))];
      const sectorsOfMap = Math.ceil(Math.ceil(capacityBytes / 4096) / BLOCKS_PER_SECTOR);
      const at = dataAt({ capacityBytes });
      assert.ok(at >= 4096 + sectorsOfMap * SECTOR_BYTES && at % 4096 === 0);
      assert.equal(fileBytes({ ...HEADER, sizeBytes, capacityBytes }), at + Math.ceil(sizeBytes / 4096) * 4096);
    }),
  );
});

function assertMalformed(action: () => unknown): void {
  assert.throws(action, (error) => error instanceof Malformed);
}

function reseal(sector: Uint8Array): void {
  const view = new DataView(sector.buffer);
  view.setUint32(12, 0, true);
  view.setUint32(12, crc32(sector), true);
}

/** Padded to a sector where it is more than a few bytes. */
function hex(...lines: readonly string[]): Buffer {
  const bytes = Buffer.from(lines.join('').replaceAll(' ', ''), 'hex');
  return bytes.length < 16 ? bytes : Buffer.concat([bytes, Buffer.alloc(SECTOR_BYTES - bytes.length)]);
}

function asHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
