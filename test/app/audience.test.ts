import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Audience, servedSubnets } from '../../src/app/audience.js';
import { Doorkeeper } from '../../src/app/doorkeeper.js';
import { NETWORK_ABSENCES_MAX, TURNED_AWAY_LOG_AGAIN_MS, TURNED_AWAY_LOGGED_MAX } from '../../src/base/limits.js';
import type { Log } from '../../src/base/log.js';
import { parseSubnet, subnetText } from '../../src/base/subnets.js';
import type { InterfaceVerdict } from '../../src/os/network-interfaces.js';
import { FakeClock } from '../support/fake-clock.js';

/** An interface with these addresses, each with its netmask. */
function serving(
  name: string,
  ...addresses: readonly (readonly [address: string, netmask: string])[]
): InterfaceVerdict {
  const all = addresses.map(([address, netmask]) => ({ address, netmask }));
  const primary = all[0] ?? { address: '', netmask: '' };
  const found = { name, ...primary, addresses: all, mac: 'dc:a6:32:00:00:01', broadcast: '255.255.255.255' };
  return { answer: 'serve', name, interface: found };
}

const LAN = serving('eth0', ['192.168.1.10', '255.255.255.0']);

function audience(allow: readonly string[], ...verdicts: readonly InterfaceVerdict[]): Audience {
  const made = new Audience(allow.flatMap((text) => parseSubnet(text) ?? []));
  made.look(verdicts);
  return made;
}

/** Which of these are answered. */
function among(who: Audience, ...peers: readonly string[]): readonly string[] {
  return peers.filter((peer) => who.includes(peer));
}

describe('who is answered', () => {
  test('this machine always, also before the first look at the network', () => {
    const nobodyElse = new Audience([]);
    const peers = ['127.0.0.1', '127.200.0.9', '::1', '::ffff:127.0.0.1', '10.0.0.1', 'fe80::1', '', 'unix'];
    assert.deepEqual(among(nobodyElse, ...peers), ['127.0.0.1', '127.200.0.9', '::1', '::ffff:127.0.0.1']);
  });

  test('the subnets of every address of every served interface, ours among them', () => {
    const two = serving('eth1', ['10.0.0.1', '255.255.255.128'], ['10.9.0.1', '255.255.0.0']);
    const who = audience([], LAN, two, { answer: 'notReady', name: 'eth2' });
    const inside = ['192.168.1.10', '192.168.1.255', '10.0.0.127', '10.9.255.1', '::ffff:192.168.1.5'];
    const outside = ['192.168.2.1', '192.168.0.255', '10.0.0.128', '10.10.0.1', '192.168.10.5', '2001:db8::1'];
    assert.deepEqual(among(who, ...inside, ...outside), inside);
  });

  test('of a /31 both ends, of a /32 (a point-to-point interface) our own address alone', () => {
    const who = audience(
      [],
      serving('a', ['10.0.0.4', '255.255.255.254']),
      serving('b', ['10.0.1.1', '255.255.255.255']),
    );
    assert.deepEqual(among(who, '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6'), ['10.0.0.4', '10.0.0.5']);
    assert.deepEqual(among(who, '10.0.1.0', '10.0.1.1', '10.0.1.2'), ['10.0.1.1']);
  });

  test('whom the inventory allows, and nobody whose address only begins alike', () => {
    const who = audience(['10.0.0.1', '172.16.0.0/12', '2001:db8::/32'], LAN);
    const allowed = ['10.0.0.1', '::ffff:10.0.0.1', '172.31.0.1', '2001:db8::7'];
    assert.deepEqual(among(who, ...allowed, '10.0.0.10', '10.0.0.12', '172.32.0.1', '2001:db9::7'), allowed);
  });

  test('everybody with 0.0.0.0/0', () => {
    assert.deepEqual(among(audience(['0.0.0.0/0']), '8.8.8.8', '255.255.255.254', 'fe80::1'), [
      '8.8.8.8',
      '255.255.255.254',
    ]);
  });

  test('a subnet that comes later at once, and one that is gone for as long as its listeners are kept', () => {
    const who = audience([], LAN);
    const other = serving('eth1', ['10.0.0.1', '255.255.255.0']);
    assert.equal(who.includes('10.0.0.7'), false);
    who.look([LAN, other]);
    assert.equal(who.includes('10.0.0.7'), true);
    for (let looks = 0; looks < NETWORK_ABSENCES_MAX; looks += 1) who.look([LAN]);
    assert.equal(who.includes('10.0.0.7'), true);
    who.look([LAN]);
    assert.deepEqual(among(who, '10.0.0.7', '192.168.1.7'), ['192.168.1.7']);
    // Put back for one look, it has all its patience again.
    who.look([LAN, other]);
    for (let looks = 0; looks < NETWORK_ABSENCES_MAX; looks += 1) who.look([LAN]);
    assert.equal(who.includes('10.0.0.7'), true);
  });

  test('is the same subnet from two addresses in it', () => {
    const twice = serving('eth0', ['192.168.1.10', '255.255.255.0'], ['192.168.1.11', '255.255.255.0']);
    assert.deepEqual(servedSubnets([twice]).map(subnetText), ['192.168.1.0/24', '192.168.1.0/24']);
  });
});

describe('who is turned away', () => {
  function fixture() {
    const clock = new FakeClock();
    const lines: object[] = [];
    const write = (facts: object, event: string) => void lines.push({ event, ...facts });
    const log: Log = { debug: write, info: write, warn: write, error: write };
    const doorkeeper = new Doorkeeper(audience([], LAN), { clock, log });
    return { clock, lines, doorkeeper };
  }

  test('is in the log once in a while, for each service, with what would let it in', () => {
    const { clock, lines, doorkeeper } = fixture();
    const tftp = doorkeeper.answers('tftp');
    for (let asked = 0; asked < 100; asked += 1) assert.equal(tftp('10.0.0.7'), false);
    assert.equal(tftp('192.168.1.7'), true);
    assert.equal(doorkeeper.answers('nbd')('10.0.0.7'), false);
    const remedy = 'if it should be served, add 10.0.0.7 or its network to server.allow';
    const line = { event: 'peer.turned_away', peer: '10.0.0.7', remedy };
    assert.deepEqual(lines.splice(0), [
      { ...line, service: 'tftp' },
      { ...line, service: 'nbd', unsaidCount: 99 },
    ]);
    clock.advance(TURNED_AWAY_LOG_AGAIN_MS);
    tftp('10.0.0.7');
    assert.deepEqual(lines, [{ ...line, service: 'tftp' }]);
  });

  test('is not worth a word where nobody is there any more', () => {
    const { lines, doorkeeper } = fixture();
    assert.equal(doorkeeper.answers('nbd')(''), false);
    assert.deepEqual(lines, []);
  });

  test('may be 10,000 forged addresses: a few lines, and their number', () => {
    const { clock, lines, doorkeeper } = fixture();
    const tftp = doorkeeper.answers('tftp');
    for (let index = 0; index < 10_000; index += 1) tftp(`10.0.${index >> 8}.${index & 255}`);
    assert.equal(lines.splice(0).length, TURNED_AWAY_LOGGED_MAX);
    clock.advance(TURNED_AWAY_LOG_AGAIN_MS);
    tftp('10.0.0.7');
    assert.equal(lines.length, 1);
    assert.match(JSON.stringify(lines), new RegExp(`"unsaidCount":${10_000 - TURNED_AWAY_LOGGED_MAX}`));
  });
});

test('who is allowed may change', () => {
  const audience = new Audience([]);
  assert.equal(audience.includes('10.9.9.9'), false);
  audience.allow([parseSubnet('10.9.0.0/16')].flatMap((subnet) => subnet ?? []));
  assert.equal(audience.includes('10.9.9.9'), true);
  assert.equal(audience.includes('127.0.0.1'), true);
  audience.allow([]);
  assert.equal(audience.includes('10.9.9.9'), false);
});
