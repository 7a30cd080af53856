import assert from 'node:assert/strict';
import { unlessMalformed } from '../../../src/base/malformed.js';
import { answerDhcp } from '../../../src/dhcp/answer.js';
import { type BootloaderKind, discoverOf, requestOf } from '../../../src/dhcp/discover.js';
import { decodePxeBootMenu } from '../../../src/dhcp/pxe-vendor-options.js';
import { readOffer } from '../../../src/dhcp/read-offer.js';
import { type DhcpMessage, decodeDhcp, encodeDhcp } from '../../../src/dhcp/wire.js';
import { boardOf, lookupOf } from '../../support/boards.js';
import type { FuzzTarget } from '../target.js';

const identity = { mac: 'dc:a6:32:01:02:03', serial: 'bf9fed6f', revisionCode: 0x00d03114 };
const KINDS: readonly BootloaderKind[] = ['rom3', 'bootcode', 'pi4Of2020', 'pi4', 'pi5'];
const lookup = lookupOf(boardOf('node1', identity.serial, identity.mac));
const rules = { lookup, serverAddress: '192.0.2.1' };

const GOOD = [
  ...KINDS.map((kind) => encodeDhcp(discoverOf(kind, identity, 7))),
  encodeDhcp(requestOf('pi4', identity, 7, { address: '192.0.2.7', server: '192.0.2.254' })),
  ...KINDS.map((kind) => {
    const verdict = answerDhcp(discoverOf(kind, identity, 7), { ...rules, policy: 'any' });
    return verdict.answer === 'offer' ? encodeDhcp(verdict.message) : new Uint8Array();
  }),
];

const WORDS = ['63825363', '350101', '350102', '3401', '340103', 'ff', '6111', '3c09505845436c69656e74', '2b00', '0914']
  .concat(['526173706265727279205069204210'])
  .map((text) => Buffer.from(text, 'hex'));

/** Messages, what is answered to them, and offers as a pretend board reads them. */
export const dhcp: FuzzTarget = {
  name: 'dhcp',
  good: async () => GOOD,
  words: WORDS,
  inputBytesMax: 3000,
  caseCpuMsMax: 1000,
  start: async () => ({
    check(input) {
      const message = unlessMalformed(() => decodeDhcp(input));
      if (message === undefined) return;
      assert.deepEqual(plain(decodeDhcp(encodeDhcp(message))), plain(message), 'it comes back from its own bytes');
      for (const policy of ['known', 'any'] as const) {
        const verdict = answerDhcp(message, { ...rules, policy });
        if (verdict.answer !== 'offer') continue;
        assert.equal(verdict.message.yiaddr, '0.0.0.0', 'no address is ever handed out');
        assert.equal(verdict.message.giaddr, '0.0.0.0');
        assert.ok(encodeDhcp(verdict.message).length <= 400, 'the answer is no larger than a DISCOVER');
      }
      for (const kind of KINDS) readOffer(kind, discoverOf(kind, identity, message.xid), message, '192.0.2.254');
    },
  }),
};

/** The boot menu in option 43. */
export const pxeOptions: FuzzTarget = {
  name: 'pxe-options',
  good: async () => [
    Buffer.from(`0601030a04005058450914000011${Buffer.from('Raspberry Pi Boot').toString('hex')}ff`, 'hex'),
  ],
  words: WORDS,
  inputBytesMax: 600,
  caseCpuMsMax: 1000,
  start: async () => ({
    check(input) {
      const menu = unlessMalformed(() => decodePxeBootMenu(input));
      assert.ok((menu ?? []).length <= input.length / 3);
    },
  }),
};

/** A Buffer and a Uint8Array of the same bytes are the same message. */
function plain(message: DhcpMessage) {
  const options = message.options.map(({ code, data }) => [code, Buffer.from(data).toString('hex')]);
  return { ...message, chaddr: Buffer.from(message.chaddr).toString('hex'), options };
}
