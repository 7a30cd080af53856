import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AddressBook } from '../../src/boards/identity/address-book.js';
import { lookupAmong } from '../../src/boards/identity/inventory-lookup.js';
import { REQUESTED_BY_EEPROM } from '../../src/boards/identity/pi-identity.js';
import { type AnswerRules, answerDhcp, type DhcpVerdict } from '../../src/dhcp/answer.js';
import { discoverOf, requestOf } from '../../src/dhcp/discover.js';
import { type DhcpOption, Option } from '../../src/dhcp/options.js';
import { type DhcpMessage, encodeDhcp } from '../../src/dhcp/wire.js';
import { boardOf, lookupOf } from '../support/boards.js';

const identity = { mac: 'dc:a6:32:01:02:03', serial: 'bf9fed6f', revisionCode: 0x00d03114 };
const pi3 = { mac: 'b8:27:eb:ef:56:44', serial: 'a2ef5644', revisionCode: 0xa02082 };
const node1 = boardOf('node1', 'bf9fed6f');
const node3 = boardOf('node3', 'a2ef5644');

const known: AnswerRules = { policy: 'known', lookup: lookupOf(node1, node3), serverAddress: '192.0.2.1' };
const any: AnswerRules = { policy: 'any', lookup: lookupOf(), serverAddress: '192.0.2.1' };
const discover = discoverOf('pi4', identity, 0x0a485863);

/** What dnsmasq 2.90 answered to `discover` in proxy mode; oracle.test.ts asks it afresh. */
const DNSMASQ_OFFER = [
  '020106000a4858630000800000000000000000000000000000000000dca632010203',
  '00'.repeat(10 + 64 + 128),
  '638253633501023604c00002013c09505845436c69656e74611100346950521431d000320102036fed9fbf',
  '2b200601030a0400505845091400001152617370626572727920506920426f6f74ffff',
].join('');

describe('an offer', () => {
  test('is dnsmasq’s, byte for byte', () => {
    const offer = offered(answerDhcp(discover, known));
    assert.equal(hex(offer.message), DNSMASQ_OFFER);
    assert.deepEqual([offer.board?.name, offer.sendAfterMs, offer.wakeUpsMs], ['node1', 0, []]);
  });

  test('goes to a Pi 3’s ROM late, with three spaces and two wake-ups, and to no other', () => {
    const rom = offered(answerDhcp(discoverOf('rom3', pi3, 0), known));
    assert.deepEqual([rom.board?.name, rom.sendAfterMs, rom.wakeUpsMs], ['node3', 2000, [600, 1200]]);
    assert.ok(
      hex(rom.message).endsWith('0917000014 526173706265727279 205069 20426f6f74 202020 ffff'.replaceAll(' ', '')),
    );
    for (const kind of ['bootcode', 'pi4Of2020', 'pi4', 'pi5'] as const) {
      const other = offered(answerDhcp(discoverOf(kind, pi3, 1), known));
      assert.deepEqual([other.sendAfterMs, other.wakeUpsMs], [0, []]);
      assert.ok(
        hex(other.message).endsWith('0914000011 526173706265727279 205069 20426f6f74 ffff'.replaceAll(' ', '')),
      );
    }
  });

  test('never holds an address, and never names another server', () => {
    const asking = { ...discover, ciaddr: '10.0.0.9', yiaddr: '10.0.0.8', siaddr: '10.0.0.7' };
    const { message } = offered(answerDhcp(asking, any));
    assert.deepEqual(
      [message.ciaddr, message.yiaddr, message.siaddr, message.giaddr],
      ['0.0.0.0', '0.0.0.0', '0.0.0.0', '0.0.0.0'],
    );
    const codes = message.options.map(({ code }) => code);
    assert.deepEqual(codes, [53, 54, 60, 97, 43]);
  });

  test('tells the configured address', () => {
    const { message } = offered(answerDhcp(discover, { ...any, serverAddress: '10.1.2.3' }));
    const data = message.options.find(({ code }) => code === Option.ServerIdentifier)?.data;
    assert.deepEqual([...(data ?? [])], [10, 1, 2, 3]);
  });

  test('echoes option 97 only if it is one, and relay option 82 never', () => {
    const long = replaced(discoverOf('rom3', identity, 0), Option.ClientMachineIdentifier, new Uint8Array(255));
    const { message } = offered(
      answerDhcp({ ...long, options: [...long.options, { code: 82, data: new Uint8Array(9) }] }, any),
    );
    assert.deepEqual(
      message.options.map(({ code }) => code),
      [53, 54, 60, 43],
    );
  });
});

describe('whom it is for', () => {
  test('a board of the inventory, by its serial', () => {
    assert.equal(offered(answerDhcp(discover, known)).board, node1);
  });

  test('a board of the inventory, by its MAC', () => {
    const lookup = lookupOf(boardOf('node2', '00000001', identity.mac));
    assert.equal(offered(answerDhcp(discover, { ...known, lookup })).board?.name, 'node2');
  });

  test('the serial decides where serial and MAC are of two boards', () => {
    const lookup = lookupOf(boardOf('other', '00000001', identity.mac), node1);
    assert.equal(offered(answerDhcp(discover, { ...known, lookup })).board, node1);
  });

  test('not another board for a MAC that was seen at it: the serial it says is nobody’s', () => {
    const addresses = new AddressBook(() => undefined);
    const listed = boardOf('node2', '00000001');
    addresses.noteSerial(identity.mac, listed.serial);
    const lookup = lookupAmong([listed], addresses);
    assert.equal(lookup.byMac(identity.mac), listed);
    assert.equal(decline(answerDhcp(discover, { ...known, lookup })), 'notListed');
  });

  test('a Pi 3 whose ROM tells no serial, by the MAC that follows from it', () => {
    assert.equal(offered(answerDhcp(discoverOf('rom3', pi3, 0), known)).board, node3);
  });

  test('not a Pi 3 whose MAC could be that of two boards', () => {
    const lookup = lookupOf(node3, boardOf('twin', '11ef5644'));
    assert.equal(decline(answerDhcp(discoverOf('rom3', pi3, 0), { ...known, lookup })), 'notListed');
  });

  test('not a board of other low bytes, nor one whose MAC is listed otherwise', () => {
    const lookup = lookupOf(boardOf('a', 'a2ef5645'), boardOf('b', 'a2ef5644', 'dc:a6:32:00:00:01'));
    assert.equal(decline(answerDhcp(discoverOf('rom3', pi3, 0), { ...known, lookup })), 'notListed');
  });

  test('a Pi that is not in the inventory only if any shall be answered', () => {
    const lookup = lookupOf();
    assert.equal(decline(answerDhcp(discover, { ...known, lookup })), 'notListed');
    assert.equal(offered(answerDhcp(discover, any)).board, undefined);
  });

  test('not a Pi that boots over HTTP, known or not', () => {
    const list = Uint8Array.from(REQUESTED_BY_EEPROM.filter((code) => code !== 43));
    const http = replaced(discover, Option.ParameterRequestList, list);
    assert.equal(decline(answerDhcp(http, known)), 'httpBoot');
    assert.equal(decline(answerDhcp(http, any)), 'httpBoot');
  });
});

describe('silence', () => {
  const cases: readonly (readonly [string, DhcpMessage, string])[] = [
    ['to a server’s reply, our own included', offered(answerDhcp(discover, any)).message, 'notARequest'],
    ['to an op that does not exist', { ...discover, op: 3 }, 'notARequest'],
    ['to what came through a relay, whoever giaddr names', { ...discover, giaddr: '198.51.100.9' }, 'relayed'],
    ['to a DISCOVER that is not PXE', without(discover, Option.VendorClassIdentifier), 'notPxe'],
    ['to a vendor class of length 0', replaced(discover, Option.VendorClassIdentifier, new Uint8Array()), 'notPxe'],
    [
      'to another vendor class',
      replaced(discover, Option.VendorClassIdentifier, Buffer.from('android-dhcp-13')),
      'notPxe',
    ],
    [
      'to HTTPClient of UEFI',
      replaced(discover, Option.VendorClassIdentifier, Buffer.from('HTTPClient:Arch:00016')),
      'notPxe',
    ],
    ['to a PC', replaced(pcLike(discover), Option.ClientMachineIdentifier, Buffer.alloc(17, 7)), 'notAPi'],
    [
      'to a PC with option 97 of length 0',
      replaced(pcLike(discover), Option.ClientMachineIdentifier, new Uint8Array()),
      'notAPi',
    ],
    ['to BOOTP', without(discover, Option.MessageType), 'notDiscover'],
    ['to a message type of two bytes', replaced(discover, Option.MessageType, Uint8Array.of(1, 1)), 'notDiscover'],
    ['to INFORM', replaced(discover, Option.MessageType, Uint8Array.of(8)), 'notDiscover'],
    ['to RELEASE', replaced(discover, Option.MessageType, Uint8Array.of(7)), 'notDiscover'],
    ['to an OFFER that says it is a request', replaced(discover, Option.MessageType, Uint8Array.of(2)), 'notDiscover'],
    ['to an address of 16 bytes', { ...discover, chaddr: new Uint8Array(16).fill(2) }, 'notEthernet'],
    ['to no address', { ...discover, chaddr: new Uint8Array() }, 'notEthernet'],
    ['to an address of zeroes', { ...discover, chaddr: new Uint8Array(6) }, 'notEthernet'],
    ['to a group’s address', { ...discover, chaddr: new Uint8Array(6).fill(0xff) }, 'notEthernet'],
    ['to another kind of hardware', { ...discover, htype: 6 }, 'notEthernet'],
  ];
  for (const [what, message, because] of cases) {
    test(what, () => {
      assert.deepEqual(answerDhcp(message, any), { answer: 'silence', because });
    });
  }
});

describe('a REQUEST', () => {
  const lease = { address: '192.0.2.77', server: '192.0.2.254' };

  test('to the LAN’s server is noted: whose address it is', () => {
    const lookup = lookupOf(boardOf('node1', 'bf9fed6f', identity.mac));
    for (const kind of ['pi4Of2020', 'pi4', 'pi5'] as const) {
      const verdict = answerDhcp(requestOf(kind, identity, 7, lease), { ...known, lookup });
      assert.equal(verdict.answer, 'note');
      assert.ok(verdict.answer === 'note');
      assert.deepEqual([verdict.board.name, verdict.mac, verdict.address], ['node1', identity.mac, '192.0.2.77']);
    }
  });

  test('of a Pi 3’s own system is noted too', () => {
    const request = without(requestOf('pi4', pi3, 7, lease), Option.VendorClassIdentifier);
    assert.equal(answerDhcp(request, known).answer, 'note');
  });

  test('of a stranger is nobody’s business', () => {
    assert.deepEqual(answerDhcp(requestOf('pi4', identity, 7, lease), any), { answer: 'silence', because: 'notOurs' });
  });

  test('without an address, or with one that no board can have, says nothing', () => {
    const request = requestOf('pi4', pi3, 7, lease);
    for (const address of [[0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255], [1, 2, 3], []]) {
      const odd = replaced(request, Option.RequestedAddress, Uint8Array.from(address));
      assert.deepEqual(answerDhcp(odd, known), { answer: 'silence', because: 'notOurs' });
    }
    assert.equal(answerDhcp(without(request, Option.RequestedAddress), known).answer, 'silence');
  });
});

test('whatever options come, there is a verdict and no address in it', () => {
  const option = fc.record({
    code: fc.constantFrom(43, 50, 53, 54, 55, 60, 82, 93, 97),
    data: fc.uint8Array({ maxLength: 40 }),
  });
  const odd = fc.uniqueArray(option, { selector: ({ code }) => code });
  fc.assert(
    fc.property(odd, (options) => {
      const rest = discover.options.filter(({ code }) => !options.some((other) => other.code === code));
      const verdict = answerDhcp({ ...discover, options: [...rest, ...options] }, any);
      if (verdict.answer === 'offer') assert.equal(verdict.message.yiaddr, '0.0.0.0');
    }),
  );
});

function offered(verdict: DhcpVerdict): Extract<DhcpVerdict, { answer: 'offer' }> {
  assert.ok(verdict.answer === 'offer', JSON.stringify(verdict));
  return verdict;
}

function decline(verdict: DhcpVerdict): string {
  assert.ok(verdict.answer === 'decline', JSON.stringify(verdict));
  return verdict.because;
}

function without(message: DhcpMessage, unwanted: number): DhcpMessage {
  return { ...message, options: message.options.filter(({ code }) => code !== unwanted) };
}

function replaced(message: DhcpMessage, wanted: number, data: Uint8Array): DhcpMessage {
  const replace = (option: DhcpOption) => (option.code === wanted ? { code: wanted, data } : option);
  return { ...message, options: message.options.map(replace) };
}

function pcLike(message: DhcpMessage): DhcpMessage {
  return replaced(message, Option.ParameterRequestList, Uint8Array.of(1, 2, 3, 43, 54, 60, 67, 128));
}

function hex(message: DhcpMessage): string {
  return Buffer.from(encodeDhcp(message)).toString('hex');
}
