import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../../src/base/malformed.js';
import {
  Attribute,
  decodeLongEntry,
  decodeShortEntry,
  encodeLongEntries,
  encodeShortEntry,
  isLongEntry,
} from '../../../src/disk/fat/directory-entry.js';
import { LongName } from '../../../src/disk/fat/long-name.js';
import { foldName, isFileName, shortName, shortNameChecksum } from '../../../src/disk/fat/names.js';
import { storeNames } from '../../../src/disk/fat/short-alias.js';

const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text, 'latin1'));

describe('the fold of a name', () => {
  test('is blind to case in every script that has one', () => {
    assert.equal(foldName('Config.TXT'), foldName('cONFIG.txt'));
    assert.equal(foldName('größe'), foldName('GRÖßE'));
    assert.equal(foldName('ЖУК'), foldName('жук'));
    assert.notEqual(foldName('größe'), foldName('GRÖSSE'));
  });

  test('gives an ASCII name no spelling outside ASCII', () => {
    for (let unit = 0x80; unit <= 0xffff; unit += 1) {
      const folded = foldName(String.fromCharCode(unit));
      assert.ok(folded.length === 1 && folded.charCodeAt(0) >= 0x80, unit.toString(16));
      assert.equal(foldName(folded), folded, unit.toString(16));
    }
    assert.notEqual(foldName('cmdlıne.txt'), foldName('cmdline.txt'));
    assert.notEqual(foldName('tryboot.txt'), foldName('tryboot.t×t'));
  });

  test('never joins a name with dots or spaces behind it to the name without', () => {
    for (const other of ['cmdline.txt ', 'cmdline.txt.', 'cmdline.txt. .', ' cmdline.txt', 'cmdline.txt\u00a0']) {
      assert.notEqual(foldName(other), foldName('cmdline.txt'));
    }
  });
});

describe('a file name', () => {
  test('is none where it could be a path, or could not be seen', () => {
    for (const name of ['', '.', '..', 'a/b', 'a\\b', 'a\0', 'a\n', 'a:b', 'a*', '\ud800', 'x'.repeat(256)]) {
      assert.equal(isFileName(name), false, JSON.stringify(name));
    }
    for (const name of ['...', '.hidden', 'a b', 'größe.txt', '\u{1f353}.img', 'x'.repeat(255)]) {
      assert.equal(isFileName(name), true, JSON.stringify(name));
    }
  });
});

describe('a short name', () => {
  test('is put together from base, extension and case bits', () => {
    assert.equal(shortName(bytesOf('CONFIG  TXT'), 0), 'CONFIG.TXT');
    assert.equal(shortName(bytesOf('CONFIG  TXT'), 0x18), 'config.txt');
    assert.equal(shortName(bytesOf('CONFIG  TXT'), 0x08), 'config.TXT');
    assert.equal(shortName(bytesOf('CONFIG  TXT'), 0x10), 'CONFIG.txt');
    assert.equal(shortName(bytesOf('EMPTY      '), 0), 'EMPTY');
    assert.equal(shortName(bytesOf('MY FILE TXT'), 0), 'MY FILE.TXT');
  });

  test('is in code page 437 above ASCII, and begins with 0x05 for 0xe5', () => {
    assert.equal(shortName(bytesOf('GR\x99\xe1E   TXT'), 0), 'GRÖßE.TXT');
    assert.equal(shortName(bytesOf('\x05A      TXT'), 0), 'σA.TXT');
  });

  test('is none if it begins with a space', () => {
    assert.equal(shortName(bytesOf('        TXT'), 0), '');
    assert.equal(shortName(bytesOf(' A      TXT'), 0), '');
  });
});

describe('directory entries', () => {
  // As mtools 4.0.32 wrote them: `mcopy -m` of five bytes to ::config.txt and of nothing to `::A long name.dtbo`, both of
  // 2024-05-06 07:08:10.
  const GOLDEN = [
    '434f4e46494720205458542018000539a658a65800000539a658020005000000',
    '42740062006f000000ffff0f00eaffffffffffffffffffffffff0000ffffffff',
    '01410020006c006f006e000f00ea670020006e0061006d00650000002e006400',
    '414c4f4e474e7e314454422000000539a658a65800000539a658000000000000',
  ].map((text) => Uint8Array.from(Buffer.from(text, 'hex')));
  const [config = new Uint8Array(), second, first = new Uint8Array(), alias = new Uint8Array()] = GOLDEN;

  test('of a file are read and written as mtools does it', () => {
    const entry = decodeShortEntry(config);
    assert.equal(shortName(entry.name, entry.caseBits), 'config.txt');
    assert.equal(entry.attributes, Attribute.Archive);
    assert.equal(entry.firstClusterLow, 2);
    assert.equal(entry.sizeBytes, 5);
    assert.deepEqual(encodeShortEntry(entry), config);
    assert.deepEqual(encodeShortEntry(decodeShortEntry(alias)), alias);
  });

  test('of a long name are read and written as mtools does it, last part first', () => {
    const { bytes: short } = storeNames(['A long name.dtbo']).get('A long name.dtbo') ?? assert.fail();
    assert.deepEqual(short, alias.slice(0, 11));
    assert.deepEqual(encodeLongEntries('A long name.dtbo', shortNameChecksum(short)), [second, first]);
    const part = decodeLongEntry(first);
    assert.ok(isLongEntry(first) && !isLongEntry(alias));
    assert.deepEqual(part, { ordinal: 1, isLast: false, type: 0, checksum: 0xea, units: 'A long name.d' });
  });

  test('are any 32 bytes, and Malformed if they are fewer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        for (const decode of [decodeShortEntry, decodeLongEntry]) {
          if (bytes.length >= 32) decode(bytes);
          else assert.throws(() => decode(bytes), Malformed);
        }
      }),
    );
  });
});

describe('a long name', () => {
  const short = bytesOf('LONGNA~1TXT');
  const name = 'a rather long name for a file.txt';
  const parts = () => encodeLongEntries(name, shortNameChecksum(short));
  const gather = (entries: readonly Uint8Array[]) => {
    const longName = new LongName();
    for (const entry of entries) longName.take(entry);
    return longName.nameOf(short);
  };
  const changed = (index: number, at: number, value: number) =>
    parts().map((part, place) => (place === index ? part.with(at, value) : part));

  test('is gathered from its parts', () => {
    assert.equal(gather(parts()), name);
  });

  test('of any length from 1 to 255 comes back as it was', () => {
    const units = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 255 }).filter(isFileName);
    fc.assert(
      fc.property(units, (any) => {
        assert.equal(gather(encodeLongEntries(any, shortNameChecksum(short))), any);
      }),
    );
    for (const length of [1, 12, 13, 14, 26, 254, 255]) {
      const long = 'x'.repeat(length);
      assert.equal(gather(encodeLongEntries(long, shortNameChecksum(short))), long);
    }
  });

  test('is given up for the short one if its parts do not belong together', () => {
    assert.equal(gather(changed(1, 13, 0)), undefined, 'another checksum in a part');
    assert.equal(gather(parts().map((part) => part.with(13, 1))), undefined, 'a checksum of no short name');
    assert.equal(gather(parts().slice(1)), undefined, 'the last part missing');
    assert.equal(gather(parts().slice(0, -1)), undefined, 'the first part missing');
    assert.equal(gather(parts().reverse()), undefined, 'the wrong way round');
    assert.equal(gather(changed(1, 0, 7)), undefined, 'an ordinal out of sequence');
    assert.equal(gather(changed(0, 0, 0x40)), undefined, 'ordinal 0');
    assert.equal(gather(changed(0, 0, 0x7f)), undefined, 'ordinal 63');
    assert.equal(gather(changed(2, 12, 1)), undefined, 'a type that is not known');
    assert.equal(gather([]), undefined, 'no parts');
  });

  test('begins anew where another one begins', () => {
    assert.equal(gather([...parts().slice(0, 2), ...parts()]), name);
  });

  test('is given up if it is no name', () => {
    for (const bad of ['.', '..', 'a/b', '../../etc', 'a\\b', '\ud800x', 'a\u0001']) {
      assert.equal(gather(encodeLongEntries(bad, shortNameChecksum(short))), undefined, JSON.stringify(bad));
    }
    const empty = encodeLongEntries('x', shortNameChecksum(short)).map((part) => part.with(1, 0));
    assert.equal(gather(empty), undefined, 'empty');
    assert.equal(gather(encodeLongEntries('x'.repeat(260), shortNameChecksum(short))), undefined, '260 units');
  });

  test('is never more than a name or nothing, whatever the entries hold', () => {
    const entry = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 30 }), (entries) => {
        const found = gather(entries);
        assert.ok(found === undefined || isFileName(found));
      }),
    );
  });
});

describe('stored names', () => {
  const stored = (...names: string[]) =>
    [...storeNames(names).values()].map(
      ({ bytes, caseBits, needsLongName }) =>
        `${Buffer.from(bytes).toString('latin1')} ${caseBits} ${needsLongName ? 'long' : 'short'}`,
    );

  test('are themselves where they have the form 8.3 in one case', () => {
    assert.deepEqual(stored('config.txt', 'START4.ELF', 'kernel8.IMG', 'overlays', 'a1'), [
      'CONFIG  TXT 24 short',
      'START4  ELF 0 short',
      'KERNEL8 IMG 8 short',
      'OVERLAYS    8 short',
      'A1          8 short',
    ]);
  });

  test('are upper case with a long name where cases mix', () => {
    assert.deepEqual(stored('Kernel8.img'), ['KERNEL8 IMG 0 long']);
  });

  test('are numbered aliases otherwise, all different', () => {
    assert.deepEqual(
      stored('bcm2711-rpi-4-b.dtb', 'bcm2711-rpi-400.dtb', 'bcm271~1.dtb', 'a.tar.gz', 'größe.txt', '.x'),
      [
        'BCM271~2DTB 0 long',
        'BCM271~3DTB 0 long',
        'BCM271~1DTB 24 short',
        'ATAR~1  GZ  0 long',
        'GR__E~1 TXT 0 long',
        'X~1         0 long',
      ],
    );
    const many = Array.from({ length: 300 }, (_, index) => `a long name ${index}.txt`);
    assert.equal(new Set(stored(...many)).size, 300);
  });
});
