import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  addressBytes,
  contains,
  LOOPBACK,
  prefixBitsOf,
  type Subnet,
  subnetOf,
  subnetText,
} from '../../src/base/subnets.js';

const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 });

/** `10.0.0.0/8`, written where a test reads best. */
function subnet(text: string): Subnet {
  const [address = '', prefix] = text.split('/');
  const bytes = bytesOf(address);
  return subnetOf(bytes, prefix === undefined ? bytes.length * 8 : Number(prefix));
}

function bytesOf(text: string): Uint8Array {
  const bytes = addressBytes(text);
  assert.ok(bytes !== undefined, text);
  return bytes;
}

/** The plain model: an address as the text of its bits. */
function bits(address: Uint8Array): string {
  return [...address].map((byte) => byte.toString(2).padStart(8, '0')).join('');
}

describe('whether an address is in a subnet', () => {
  for (const [family, addresses, length] of [
    ['IPv4', ipv4, 32],
    ['IPv6', ipv6, 128],
  ] as const) {
    test(`is a matter of its first bits (${family})`, () => {
      const cases = fc.tuple(
        addresses,
        addresses,
        fc.integer({ min: 0, max: length }),
        fc.integer({ min: 0, max: length }),
      );
      fc.assert(
        fc.property(cases, ([address, other, prefixBits, shared]) => {
          // Two addresses at random share hardly a bit: let them have some.
          const mixed = bits(address).slice(0, shared) + bits(other).slice(shared);
          const candidate = Uint8Array.from(mixed.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
          const expected = mixed.slice(0, prefixBits) === bits(address).slice(0, prefixBits);
          assert.equal(contains(subnetOf(address, prefixBits), candidate), expected);
        }),
      );
    });
  }

  for (const [network, first, last, before, behind] of [
    ['10.1.2.0/24', '10.1.2.0', '10.1.2.255', '10.1.1.255', '10.1.3.0'],
    ['10.1.2.64/26', '10.1.2.64', '10.1.2.127', '10.1.2.63', '10.1.2.128'],
    ['172.16.0.0/12', '172.16.0.0', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
    ['192.0.2.6/31', '192.0.2.6', '192.0.2.7', '192.0.2.5', '192.0.2.8'],
    ['192.0.2.7/32', '192.0.2.7', '192.0.2.7', '192.0.2.6', '192.0.2.8'],
    ['128.0.0.0/1', '128.0.0.0', '255.255.255.255', '127.255.255.255', '0.0.0.0'],
    ['2001:db8::/33', '2001:db8::', '2001:db8:7fff:ffff:ffff:ffff:ffff:ffff', '2001:db7:ffff::', '2001:db8:8000::'],
  ] as const) {
    test(`${network} has its first and its last address, not one before or one behind`, () => {
      const inside = (text: string) => contains(subnet(network), bytesOf(text));
      assert.deepEqual([first, last, before, behind].map(inside), [true, true, false, false]);
    });
  }

  test('/0 has every address of its family, and none of the other', () => {
    fc.assert(fc.property(ipv4, (address) => contains(subnet('0.0.0.0/0'), address)));
    fc.assert(fc.property(ipv6, (address) => contains(subnet('::/0'), address)));
    assert.equal(contains(subnet('0.0.0.0/0'), bytesOf('2001:db8::1')), false);
    assert.equal(contains(subnet('::/0'), bytesOf('::ffff:10.0.0.1')), false);
  });

  test('is never a matter of its text (CVE-2013-6410, CVE-2013-7441)', () => {
    const one = subnet('10.0.0.1');
    for (const longer of ['10.0.0.10', '10.0.0.12', '10.0.0.100']) assert.equal(contains(one, bytesOf(longer)), false);
    assert.equal(contains(subnet('192.168.1.0/24'), bytesOf('192.168.10.1')), false);
    assert.equal(contains(subnet('10.0.0.0/9'), bytesOf('10.128.0.0')), false);
  });

  test('is asked of an IPv4 address in IPv6 dress as of the plain one', () => {
    fc.assert(
      fc.property(ipv4, ipv4, fc.integer({ min: 0, max: 32 }), (address, network, prefixBits) => {
        const mapped = bytesOf(`::ffff:${address.join('.')}`);
        assert.deepEqual(mapped, address);
        assert.equal(contains(subnetOf(network, prefixBits), mapped), contains(subnetOf(network, prefixBits), address));
      }),
    );
    for (const spelling of ['::FFFF:10.0.0.1', '::ffff:a00:1', '0:0:0:0:0:ffff:10.0.0.1'])
      assert.deepEqual(bytesOf(spelling), bytesOf('10.0.0.1'), spelling);
  });

  test('loopback is all of 127.0.0.0/8, and ::1', () => {
    const isLoopback = (text: string) => LOOPBACK.some((network) => contains(network, bytesOf(text)));
    for (const own of ['127.0.0.1', '127.0.0.0', '127.255.255.255', '::1', '::ffff:127.0.0.1'])
      assert.ok(isLoopback(own), own);
    for (const other of ['126.255.255.255', '128.0.0.0', '::', '::2', '::127.0.0.1'])
      assert.ok(!isLoopback(other), other);
  });
});

describe('an address as bytes', () => {
  test('is what Node calls an address, and nothing else', () => {
    const digits = fc.stringMatching(/^[0-9a-fA-F:.]{0,24}$/);
    const groups = fc.array(fc.constantFrom('', '0', '1', 'ffff', 'db8', '10.0.0.1', '12345', 'g'), { maxLength: 10 });
    fc.assert(
      fc.property(
        fc.oneof(
          digits,
          groups.map((some) => some.join(':')),
          fc.ipV4(),
          fc.ipV6(),
        ),
        (text) => {
          assert.equal(addressBytes(text) !== undefined, isIP(text) !== 0, text);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('has no zone', () => {
    assert.deepEqual(addressBytes('fe80::1%eth0'), addressBytes('fe80::1'));
  });

  test('any text at all is an address or none', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void addressBytes(text)));
    for (const wrong of ['', '%', ':', ':::', '1::2::3', '1:2:3:4:5:6:7::8:9', '010.0.0.1', '::1.2.3', '::1.2.3.4:5'])
      assert.equal(addressBytes(wrong), undefined, wrong);
  });
});

describe('a subnet as text', () => {
  test('is the shortest of the usual spellings', () => {
    for (const text of [
      '10.0.0.0/8',
      '10.0.0.1',
      '0.0.0.0/0',
      '::/0',
      '::1',
      '2001:db8::/32',
      'fe80::1:0:0:2',
      '1:0:0:2::3',
    ])
      assert.equal(subnetText(subnet(text)), text);
    assert.equal(subnetText(subnet('2001:DB8:0:0:1:0:0:0')), '2001:db8:0:0:1::');
  });

  test('reads back as the same subnet', () => {
    fc.assert(
      fc.property(ipv6, fc.array(fc.nat(15)), fc.integer({ min: 0, max: 128 }), (address, zeroes, prefixBits) => {
        for (const index of zeroes) address[index] = 0;
        fc.pre(!contains(subnet('::/80'), address));
        const network = subnetOf(address, prefixBits);
        if (contains(subnet('::/80'), network.address)) return;
        assert.deepEqual(subnet(subnetText(network)), network);
      }),
    );
  });

  test('a netmask is so many bits', () => {
    const masks = ['0.0.0.0', '128.0.0.0', '255.255.0.0', '255.255.255.254', '255.255.255.255'];
    assert.deepEqual(masks.map(prefixBitsOf), [0, 1, 16, 31, 32]);
  });
});
