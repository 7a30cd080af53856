import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseSerial } from '../../../src/base/serial.js';
import { AddressBook } from '../../../src/boards/identity/address-book.js';
import { lookupAmong } from '../../../src/boards/identity/inventory-lookup.js';
import { boardOf } from '../../support/boards.js';

const node1 = boardOf('node1', 'bf9fed6f', 'dc:a6:32:01:02:03');
const node3 = boardOf('node3', '0a1b2c3d');
const addresses = new AddressBook((address) => (address === '10.0.0.9' ? 'b8:27:eb:1b:2c:3d' : undefined));
addresses.noteAddress('10.0.0.5', 'dc:a6:32:01:02:03');
const lookup = lookupAmong([node1, node3], addresses);

function asked(path: string, peer = '10.0.0.77'): string {
  const verdict = lookup.byBootPath(path, peer);
  if (verdict.answer === 'board') return `${verdict.board.name}:${verdict.path}`;
  return verdict.answer === 'unknown' ? verdict.because : 'illegal';
}

describe('whose path it is', () => {
  test('the serial says it, in any case, with or without a leading slash', () => {
    assert.equal(asked('bf9fed6f/config.txt'), 'node1:config.txt');
    assert.equal(asked('/BF9FED6F/overlays/dwc2.dtbo'), 'node1:overlays/dwc2.dtbo');
    assert.equal(asked('//bf9fed6f//config.txt'), 'node1:config.txt');
    assert.equal(asked('0a1b2c3d/start.elf'), 'node3:start.elf');
  });

  test('the MAC says it', () => {
    assert.equal(asked('dc-a6-32-01-02-03/config.txt'), 'node1:config.txt');
    assert.equal(asked('b8-27-eb-1b-2c-3d/config.txt'), 'node3:config.txt');
    assert.equal(asked('dc-a6-32-ff-ff-ff/config.txt'), 'no board of the inventory has the MAC dc:a6:32:ff:ff:ff');
  });

  test('without a prefix the peer says it: overheard from DHCP, or from the neighbour table', () => {
    assert.equal(asked('config.txt', '10.0.0.5'), 'node1:config.txt');
    assert.equal(asked('bootcode.bin', '10.0.0.9'), 'node3:bootcode.bin');
    assert.equal(asked('bootcode.bin'), 'no board of the inventory is known to have the address 10.0.0.77');
  });

  test('a serial that is in no inventory is unknown, whoever asks: no board gets files by a guess', () => {
    assert.equal(asked('deadbeef/config.txt', '10.0.0.5'), 'no board of the inventory has the serial deadbeef');
  });

  test('no path leads out of a board', () => {
    for (const path of [
      'bf9fed6f/../0a1b2c3d/x',
      '..',
      'bf9fed6f/./x',
      'bf9fed6f\\..\\0a1b2c3d\\x',
      'bf9fed6f/con\u0000fig.txt',
      'bf9fed6f/\u001b[2J',
      `bf9fed6f/${'x'.repeat(600)}`,
      '',
      '///',
    ]) {
      assert.equal(asked(path), 'illegal', JSON.stringify(path));
    }
    assert.equal(asked('bf9fed6f'), 'node1:');
  });

  test('any text gets an answer, and never a path with a step upwards', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\/?bf9fed6f[/.\\a-f]*$/)), (path) => {
        const verdict = lookup.byBootPath(path, '10.0.0.5');
        if (verdict.answer === 'board')
          assert.ok(!verdict.path.split('/').some((part) => part === '..' || part === '.'));
      }),
    );
  });

  test('boards are found by name, serial and MAC', () => {
    assert.equal(lookup.byName('node1'), node1);
    assert.equal(lookup.bySerial('0a1b2c3d'), node3);
    assert.equal(lookup.byMac('b8:27:eb:1b:2c:3d'), node3);
    assert.equal(lookup.byMac('b8:27:eb:00:00:00'), undefined);
    addresses.noteSerial('e4:5f:01:00:00:09', 'bf9fed6f');
    assert.equal(lookup.byMac('e4:5f:01:00:00:09'), node1);
    assert.deepEqual(lookup.names(), ['node1', 'node3']);
  });
});

describe('the address book', () => {
  test('forgets the oldest when a flood comes', () => {
    const book = new AddressBook(() => undefined);
    for (let index = 0; index < 10_000; index += 1)
      book.noteAddress(`10.${index >> 8}.${index & 255}.1`, 'dc:a6:32:00:00:00');
    assert.equal(book.macOf('10.0.0.1'), undefined);
    assert.equal(book.macOf('10.39.15.1'), 'dc:a6:32:00:00:00');
  });
});

test('other boards take the place of those that were there, all at once', () => {
  const changing = lookupAmong([node1, node3], addresses);
  const renamed = boardOf('renamed', 'bf9fed6f');
  changing.replace([renamed]);
  assert.deepEqual(changing.names(), ['renamed']);
  assert.equal(changing.byName('node1'), undefined);
  assert.equal(changing.bySerial(parseSerial('bf9fed6f'))?.name, 'renamed');
  assert.equal(changing.byMac('dc:a6:32:01:02:03'), undefined);
});
