import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as addresses from '../../src/base/addresses.js';
import { Malformed } from '../../src/base/malformed.js';
import { parseSerial, serialFromNumber } from '../../src/base/serial.js';

describe('addresses', () => {
  test('a MAC has one spelling', () => {
    assert.equal(addresses.parseMac('DC-A6-32-01-02-03'), 'dc:a6:32:01:02:03');
    assert.deepEqual([...addresses.macToBytes('dc:a6:32:01:02:03')], [0xdc, 0xa6, 0x32, 1, 2, 3]);
    assert.equal(addresses.macFromBytes(Uint8Array.of(0xdc, 0xa6, 0x32, 1, 2, 3, 99)), 'dc:a6:32:01:02:03');
    for (const wrong of ['', 'dc:a6:32:01:02', 'dca632010203', 'dc:a6:32:01:02:0g']) {
      assert.throws(() => addresses.parseMac(wrong), Malformed);
    }
  });

  test('an IPv4 address has four numbers, without leading zeroes that some read as octal', () => {
    assert.equal(addresses.parseIpv4('192.168.1.10'), '192.168.1.10');
    for (const wrong of ['', '1.2.3', '1.2.3.4.5', '256.1.1.1', '010.1.1.1', '1.2.3.x']) {
      assert.throws(() => addresses.parseIpv4(wrong), Malformed);
    }
    assert.equal(addresses.ipv4FromBytes(addresses.ipv4ToBytes('10.0.0.1')), '10.0.0.1');
  });

  test('an IPv4 peer of an IPv6 socket is the same peer', () => {
    assert.equal(addresses.plainAddress('::ffff:10.0.0.1'), '10.0.0.1');
    assert.equal(addresses.plainAddress('fe80::1'), 'fe80::1');
    assert.equal(addresses.plainAddress('10.0.0.1'), '10.0.0.1');
  });
});

describe('serials', () => {
  test('are eight lower-case hex digits, of which the last eight count', () => {
    assert.equal(parseSerial('BF9FED6F'), 'bf9fed6f');
    assert.equal(parseSerial('10000000bf9fed6f'), 'bf9fed6f');
    assert.equal(parseSerial('1e7'), '000001e7');
    assert.equal(serialFromNumber(0xef5644), '00ef5644');
    for (const wrong of ['', '0x12', 'xyz', '12345678901234567']) assert.throws(() => parseSerial(wrong), Malformed);
  });
});
