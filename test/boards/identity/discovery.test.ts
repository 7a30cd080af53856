import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DISCOVERED_BOARDS_ANNOUNCED_PER_MINUTE_MAX, DISCOVERED_BOARDS_MAX } from '../../../src/base/limits.js';
import { parseSerial } from '../../../src/base/serial.js';
import { Discovery, inventoryLines } from '../../../src/boards/identity/discovery.js';
import type { PiSighting } from '../../../src/boards/identity/pi-identity.js';
import { macOfPi1To3 } from '../../../src/boards/identity/pi-identity.js';
import { decodeRevisionCode } from '../../../src/boards/identity/pi-models.js';

const PI_4: PiSighting = {
  ...{ generation: 'eeprom4', mac: 'e4:5f:01:09:02:f7', serial: '91cdf03d', macTail: '01:09:02:f7', httpBoot: false },
  revision: decodeRevisionCode(0xd03114),
};
const ROM: PiSighting = {
  ...{ generation: 'rom', mac: 'b8:27:eb:ef:56:44', serial: undefined, macTail: undefined, httpBoot: false },
  revision: undefined,
};

describe('Discovery', () => {
  test('announces a board once', () => {
    const discovery = new Discovery();
    assert.equal(discovery.see(PI_4, at(0)).answer, 'announce');
    const { board, answer } = discovery.see(PI_4, at(1000));
    assert.equal(answer, 'nothingNew');
    assert.deepEqual(
      [board.model, board.memory, board.discoverCount, board.firstSeenAt.getTime(), board.lastSeenAt.getTime()],
      ['Pi 4 Model B, 8 GB', '8 GB', 2, 0, 1000],
    );
  });

  test('announces a Pi 3 again when its serial is known', () => {
    const discovery = new Discovery();
    discovery.see(ROM, at(0));
    assert.equal(discovery.see({ ...ROM, generation: 'bootcode', serial: 'a2ef5644' }, at(1)).answer, 'announce');
    const again = discovery.see(ROM, at(2));
    assert.deepEqual([again.answer, again.board.serial], ['nothingNew', 'a2ef5644']);
  });

  test('forgets a board that came into the inventory', () => {
    const discovery = new Discovery();
    discovery.see(PI_4, at(0));
    discovery.forget(PI_4.mac);
    assert.deepEqual(discovery.boards(), []);
  });

  test('10⁵ made-up MACs stay bounded, in memory and in the log', () => {
    const discovery = new Discovery();
    let announced = 0;
    for (let number = 0; number < 100_000; number += 1) {
      const mac = `dc:a6:${number
        .toString(16)
        .padStart(8, '0')
        .replace(/(..)(..)(..)(..)/, '$1:$2:$3:$4')}`;
      // One a millisecond: a hundred seconds, two minutes begun.
      if (discovery.see({ ...PI_4, mac }, at(number)).answer === 'announce') announced += 1;
    }
    assert.equal(discovery.boards().length, DISCOVERED_BOARDS_MAX);
    assert.equal(discovery.boards().at(-1)?.mac, 'dc:a6:00:01:86:9f');
    assert.equal(announced, 2 * DISCOVERED_BOARDS_ANNOUNCED_PER_MINUTE_MAX);
    assert.equal(discovery.takeWithheld(), 100_000 - announced);
    assert.equal(discovery.takeWithheld(), 0);
  });

  test('the least recently seen is the one forgotten', () => {
    const discovery = new Discovery();
    discovery.see(PI_4, at(0));
    for (let number = 0; number < DISCOVERED_BOARDS_MAX; number += 1) {
      discovery.see(
        {
          ...ROM,
          mac: `b8:27:eb:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`,
        },
        at(1),
      );
      discovery.see(PI_4, at(2));
    }
    assert.ok(discovery.boards().some(({ mac }) => mac === PI_4.mac));
    assert.ok(!discovery.boards().some(({ mac }) => mac === 'b8:27:eb:00:00:00'));
  });
});

const NOBLE = { image: 'noble', disk: 'direct' } as const;

describe('inventoryLines', () => {
  test('of a Pi 4', () => {
    const { board } = new Discovery().see(PI_4, at(0));
    assert.equal(
      inventoryLines(board, NOBLE),
      [
        '  pi-91cdf03d: # Pi 4 Model B, 8 GB',
        '    serial: 91cdf03d',
        '    mac: e4:5f:01:09:02:f7',
        '    image: noble',
        '    disk: direct',
      ].join('\n'),
    );
  });

  test('for an image that boards have overlays on', () => {
    const { board } = new Discovery().see(PI_4, at(0));
    assert.match(inventoryLines(board, { image: 'noble', disk: 'overlay' }), /\n {4}image: noble\n {4}disk: overlay$/);
  });

  test('of a Pi 3, whose MAC follows from its serial', () => {
    const { board } = new Discovery().see({ ...ROM, generation: 'bootcode', serial: 'a2ef5644' }, at(0));
    assert.doesNotMatch(inventoryLines(board, NOBLE), /mac:/);
  });

  test('of a boot ROM that does not tell its serial: its low three bytes, and how to get the rest', () => {
    const { board } = new Discovery().see(ROM, at(0));
    assert.match(inventoryLines(board, NOBLE), /serial: "\?\?ef5644" # .*cpuinfo/);
  });
});

test('a board that the inventory has learned of is unknown no longer, by whatever it was seen', () => {
  const discovery = new Discovery();
  discovery.see(PI_4, at(0));
  discovery.see(ROM, at(0));
  discovery.noteAsked(parseSerial('1'), '10.0.0.9', new Date(0));
  assert.equal(discovery.count(), 3);
  discovery.forgetBoard({ serial: parseSerial(PI_4.serial ?? ''), mac: undefined });
  discovery.forgetBoard({ serial: parseSerial('a2ef5644'), mac: ROM.mac });
  discovery.forgetBoard({ serial: parseSerial('1'), mac: undefined });
  assert.equal(discovery.count(), 0);
});

test('the MAC of a Pi 1 to 3 is made of its serial', () => {
  assert.equal(macOfPi1To3('a2ef5644'), 'b8:27:eb:ef:56:44');
});

function at(nowMs: number) {
  return { interfaceName: 'eth0', at: new Date(nowMs), nowMs };
}
