// What one process writes of its connections and the next one reads, which may be another build.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { Malformed } from '../../../src/base/malformed.js';
import { decodeFrozenBoard, encodeFrozenBoard, type FrozenBoard } from '../../../src/nbd/handover/frozen-wire.js';
import { Command } from '../../../src/nbd/wire/constants.js';

const REQUEST = { flags: 0, cookie: 0x0102030405060708n, offset: 4096n, lengthBytes: 1024 };
const TCP = {
  ...{ local: Uint8Array.of(2, 0, 42, 57), peer: Uint8Array.of(2, 0, 1, 2), sendSequence: 4_294_967_295 },
  ...{ receiveSequence: 7, unacknowledged: Uint8Array.of(9), unsent: Uint8Array.of(10, 11), segmentBytes: 1448 },
  ...{ options: 7, sendScale: 7, receiveScale: 9, timestamp: 12_345, window: Uint8Array.of(1, 2, 3) },
};
const BOARD: FrozenBoard = {
  ...{
    board: 'node1',
    disk: 'file 8:1 42',
    modified: undefined,
    hold: undefined,
    at: { hostBoot: 'b007', uptimeMs: 1234.5 },
  },
  connections: [
    {
      ...{ board: 'node1', peer: '10.0.0.5', terms: { replies: 'simple', tellsAllocation: false } },
      socket: { kind: 'tcp', tcp: TCP },
      ...{ input: Uint8Array.of(1, 2), unsent: Uint8Array.of(3), begun: undefined },
      unanswered: [
        { request: { ...REQUEST, command: Command.Read }, write: undefined },
        {
          request: { ...REQUEST, command: Command.Write },
          write: { pieces: [{ at: 1000, bytes: Uint8Array.of(5) }], hasCome: false, failure: 'ENOSPC' },
        },
      ],
    },
    {
      ...{ board: 'node1', peer: '10.0.0.5', terms: { replies: 'structured', tellsAllocation: true } },
      socket: { kind: 'stored', name: 'board-connection-17' },
      ...{ input: new Uint8Array(0), unsent: new Uint8Array(0), unanswered: [] },
      begun: { request: { ...REQUEST, command: Command.Write }, leftBytes: 24 },
    },
  ],
};

/** As version 0.1.0 wrote it. A program that can't read this any more ends every board at its first start: it has to be able to, or say so by another version number. */
const FIRST_VERSION =
  '{"version":1,"board":"node1","disk":"file 8:1 42","hostBoot":"b007","uptimeMs":1234.5,"connections":[{"board":"node1","peer":"10.0.0.5","terms":{"replies":"simple","tellsAllocation":false},"socket":{"kind":"tcp","tcp":{"local":"AgAqOQ==","peer":"AgABAg==","sendSequence":4294967295,"receiveSequence":7,"unacknowledged":"CQ==","unsent":"Cgs=","segmentBytes":1448,"options":7,"sendScale":7,"receiveScale":9,"timestamp":12345,"window":"AQID"}},"input":"AQI=","unsent":"Aw==","unanswered":[{"request":{"flags":0,"cookie":"72623859790382856","offset":"4096","lengthBytes":1024,"command":0}},{"request":{"flags":0,"cookie":"72623859790382856","offset":"4096","lengthBytes":1024,"command":1},"write":{"pieces":[{"at":1000,"bytes":"BQ=="}],"hasCome":false,"failure":"ENOSPC"}}]},{"board":"node1","peer":"10.0.0.5","terms":{"replies":"structured","tellsAllocation":true},"socket":{"kind":"stored","name":"board-connection-17"},"input":"","unsent":"","unanswered":[],"begun":{"request":{"flags":0,"cookie":"72623859790382856","offset":"4096","lengthBytes":1024,"command":1},"leftBytes":24}}]}';

function sealed(line: string): string {
  return `${line}\n${crc32(line).toString(16).padStart(8, '0')}\n`;
}

/** As it is written, without regard to the order of names. */
function words(board: FrozenBoard): unknown {
  return JSON.parse(encodeFrozenBoard(board).split('\n')[0] ?? '');
}

describe('a frozen board', () => {
  test('is what it was, when it is read', () => {
    assert.deepEqual(words(decodeFrozenBoard('node1', encodeFrozenBoard(BOARD))), words(BOARD));
    assert.deepEqual(words(BOARD), JSON.parse(FIRST_VERSION));
  });

  test('of the first version is read', () => {
    assert.deepEqual(words(decodeFrozenBoard('node1', sealed(FIRST_VERSION))), words(BOARD));
  });

  test('of a later version is refused, and so is another board’s', () => {
    const later = sealed(FIRST_VERSION.replace('"version":1', '"version":2'));
    assert.throws(() => decodeFrozenBoard('node1', later), /another program’s|another program's/);
    assert.throws(() => decodeFrozenBoard('node2', sealed(FIRST_VERSION)), /that of "node1"/);
    const inside = sealed(FIRST_VERSION.replace('{"board":"node1","peer"', '{"board":"node2","peer"'));
    assert.throws(() => decodeFrozenBoard('node1', inside), Malformed);
  });

  test('is refused where it breaks off, or a byte of it is another one', () => {
    const text = sealed(FIRST_VERSION);
    for (let length = 0; length < text.length - 1; length += 1) {
      assert.throws(() => decodeFrozenBoard('node1', text.slice(0, length)), Malformed, `${length} characters`);
    }
    for (let at = 0; at < text.length - 1; at += 1) {
      const changed = `${text.slice(0, at)}${text[at] === 'x' ? 'y' : 'x'}${text.slice(at + 1)}`;
      assert.throws(() => decodeFrozenBoard('node1', changed), Malformed, `character ${at}`);
    }
  });

  for (const [what, change] of [
    ['a payload of which more is missing than there is', ['"leftBytes":24', '"leftBytes":1025']],
    ['a piece that lies beyond its write', ['"at":1000', '"at":1024']],
    ['a negative place', ['"at":1000', '"at":-1']],
    ['a number that is none', ['"sendSequence":4294967295', '"sendSequence":4294967296']],
    ['an offset of more than 64 bits', ['"offset":"4096"', '"offset":"18446744073709551616"']],
    ['a failure that has no name', ['ENOSPC', 'constructor']],
    ['bytes that are not Base64', ['"AQI="', '"AQI"']],
    [
      'a payload of a request that has none',
      ['"lengthBytes":1024,"command":1},"write"', '"lengthBytes":1024,"command":0},"write"'],
    ],
  ] as const) {
    test(`is refused for ${what}`, () => {
      const [before, after] = change;
      assert.ok(FIRST_VERSION.includes(before));
      assert.throws(() => decodeFrozenBoard('node1', sealed(FIRST_VERSION.replace(before, after))), Malformed);
    });
  }
});
