import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { answerDhcp } from '../../src/dhcp/answer.js';
import { discoverOf } from '../../src/dhcp/discover.js';
import { Option } from '../../src/dhcp/options.js';
import { readOffer } from '../../src/dhcp/read-offer.js';
import type { DhcpMessage } from '../../src/dhcp/wire.js';
import { lookupOf } from '../support/boards.js';

const identity = { mac: 'dc:a6:32:01:02:03', serial: 'bf9fed6f', revisionCode: 0x00d03114 };
const PROXY = '192.0.2.1';
const ROUTER = '192.0.2.254';
const NAMED = '192.0.2.66';

describe('readOffer', () => {
  for (const kind of ['rom3', 'bootcode', 'pi4Of2020', 'pi4', 'pi5'] as const) {
    test(`${kind}: our offer names us, and gives no address`, () => {
      const discover = discoverOf(kind, identity, 5);
      assert.deepEqual(readOffer(kind, discover, ourOffer(discover), PROXY), { address: undefined, tftpServer: PROXY });
    });

    test(`${kind}: a router’s offer gives an address, and its siaddr counts for nothing`, () => {
      const discover = discoverOf(kind, identity, 5);
      const router = { ...ourOffer(discover), yiaddr: '192.0.2.7', siaddr: ROUTER, options: routerOptions() };
      assert.deepEqual(readOffer(kind, discover, router, ROUTER), { address: '192.0.2.7', tftpServer: undefined });
    });

    test(`${kind}: option 66 comes first, if it is a dotted quad`, () => {
      const discover = discoverOf(kind, identity, 5);
      const offer = ourOffer(discover);
      const naming = (text: string) => [...offer.options, { code: Option.TftpServerName, data: Buffer.from(text) }];
      const named = readOffer(kind, discover, { ...offer, options: naming(`${NAMED}\0`) }, PROXY);
      assert.equal(named?.tftpServer, NAMED);
      assert.equal(readOffer(kind, discover, { ...offer, options: naming('tftp.lan') }, PROXY)?.tftpServer, PROXY);
    });
  }

  test('an EEPROM goes to siaddr before option 54, a ROM to who sent it', () => {
    const discover = discoverOf('pi4', identity, 5);
    const offer = { ...ourOffer(discover), siaddr: '192.0.2.9' };
    assert.equal(readOffer('pi4', discover, offer, PROXY)?.tftpServer, '192.0.2.9');
    assert.equal(readOffer('rom3', discover, offer, PROXY)?.tftpServer, PROXY);
  });

  test('option 43 without sub-options is enough for a ROM, not for an EEPROM', () => {
    const discover = discoverOf('pi4', identity, 5);
    const raw = { code: Option.VendorSpecificInformation, data: Buffer.from('Raspberry Pi Boot   ') };
    const offer = { ...ourOffer(discover), options: [...routerOptions(), raw] };
    assert.equal(readOffer('pi4', discover, offer, ROUTER)?.tftpServer, undefined);
    assert.equal(readOffer('bootcode', discover, offer, ROUTER)?.tftpServer, ROUTER);
  });

  test('what is not an OFFER to this question is not read', () => {
    const discover = discoverOf('pi4', identity, 5);
    const offer = ourOffer(discover);
    const acknowledgement = { code: Option.MessageType, data: Uint8Array.of(5) };
    const others: readonly DhcpMessage[] = [
      { ...offer, xid: 6 },
      { ...offer, op: 1 },
      { ...offer, chaddr: Uint8Array.of(1, 2, 3, 4, 5, 6) },
      { ...offer, options: [acknowledgement] },
    ];
    for (const other of others) assert.equal(readOffer('pi4', discover, other, PROXY), undefined);
  });
});

function ourOffer(discover: DhcpMessage): DhcpMessage {
  const verdict = answerDhcp(discover, { policy: 'any', lookup: lookupOf(), serverAddress: PROXY });
  assert.ok(verdict.answer === 'offer');
  return verdict.message;
}

function routerOptions() {
  return [
    { code: Option.MessageType, data: Uint8Array.of(2) },
    { code: Option.ServerIdentifier, data: Uint8Array.of(192, 0, 2, 254) },
  ];
}
