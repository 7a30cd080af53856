import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { describePi, identifyPi } from '../../src/boards/identity/pi-identity.js';
import { type BootloaderKind, discoverOf, requestOf } from '../../src/dhcp/discover.js';
import { Option, optionData } from '../../src/dhcp/options.js';
import { decodeDhcp, encodeDhcp } from '../../src/dhcp/wire.js';

const identity = { mac: 'e4:5f:01:09:02:f7', serial: '91cdf03d', revisionCode: 0x00d03114 };

describe('a DISCOVER', () => {
  test('of the boot ROM has its options where openSUSE/netboot-rpi3b’s packet filter looks for them', () => {
    const bytes = encodeDhcp(discoverOf('rom3', identity, 1));
    assert.equal(bytes.length, 320);
    assert.deepEqual(offsets(bytes), { 53: 240, 55: 243, 93: 257, 94: 261, 97: 266, 60: 285, 255: 319 });
    assert.equal(Buffer.from(bytes.subarray(4, 8)).toString('hex'), '26f30339');
    assert.equal(Buffer.from(bytes.subarray(268, 285)).toString('hex'), `00${'44'.repeat(16)}`);
  });

  test('of every later loader is two bytes longer, as the 364-byte frames seen are', () => {
    for (const kind of ['bootcode', 'pi4Of2020', 'pi4', 'pi5'] as const) {
      const bytes = encodeDhcp(discoverOf(kind, identity, 1));
      assert.equal(bytes.length, 322);
      assert.deepEqual(offsets(bytes), { 53: 240, 55: 243, 93: 259, 94: 263, 97: 268, 60: 287, 255: 321 });
    }
  });

  test('has the fields that a capture of each loader shows', () => {
    const message = discoverOf('pi4', identity, 0xd383a6ac);
    assert.deepEqual([message.xid, message.secs, message.flags, message.hops], [0xd383a6ac, 0, 0, 0]);
    assert.equal(optionData(message, Option.VendorClassIdentifier)?.length, 32);
    const lists: Readonly<Record<string, BootloaderKind>> = {
      '2b3c438081828384858687 42': 'rom3',
      '2b3c438081828384858687 420103': 'bootcode',
      '01032b3c4243 8081828384858687': 'pi5',
    };
    for (const [list, kind] of Object.entries(lists)) {
      const data = optionData(discoverOf(kind, identity, 1), Option.ParameterRequestList);
      assert.equal(Buffer.from(data ?? []).toString('hex'), list.replace(' ', ''));
    }
  });

  test('of a Pi 4 has option 97 as in piPXE’s log', () => {
    const data = optionData(discoverOf('pi4', identity, 1), Option.ClientMachineIdentifier);
    assert.equal(Buffer.from(data ?? []).toString('hex'), '00346950521431d000010902f73df0cd91');
  });

  test('is recognised as what it plays', () => {
    const expected: Readonly<Record<BootloaderKind, readonly [string, string | undefined, string]>> = {
      rom3: ['rom', undefined, 'Pi 2 or 3 (boot ROM)'],
      bootcode: ['bootcode', '91cdf03d', 'Pi 1, 2 or 3 (bootcode.bin)'],
      pi4Of2020: ['eeprom', '91cdf03d', 'Pi 4 or later'],
      pi4: ['eeprom4', '91cdf03d', 'Pi 4 Model B, 8 GB'],
      pi5: ['eeprom5', '91cdf03d', 'Pi 4 Model B, 8 GB'],
    };
    for (const kind of ['rom3', 'bootcode', 'pi4Of2020', 'pi4', 'pi5'] as const) {
      const message = decodeDhcp(encodeDhcp(discoverOf(kind, identity, 1)));
      const sighting = identifyPi({
        ...{ mac: identity.mac, xid: message.xid },
        machineIdentifier: optionData(message, Option.ClientMachineIdentifier) ?? new Uint8Array(),
        requestedOptions: [...(optionData(message, Option.ParameterRequestList) ?? [])],
      });
      assert.ok(sighting);
      assert.deepEqual([sighting.generation, sighting.serial, describePi(sighting)], expected[kind]);
    }
  });
});

test('a REQUEST has the address and the server, and since 2020 the vendor class', () => {
  const lease = { address: '192.0.2.7', server: '192.0.2.254' };
  const codes = (kind: 'pi4Of2020' | 'pi4' | 'pi5') =>
    requestOf(kind, identity, 9, lease).options.map(({ code }) => code);
  assert.deepEqual(
    [codes('pi4Of2020'), codes('pi4'), codes('pi5')],
    [
      [53, 50, 54],
      [53, 50, 54, 60],
      [53, 50, 54, 60],
    ],
  );
});

/** Where each option of an encoded message begins. */
function offsets(bytes: Uint8Array): Record<number, number> {
  const found: Record<number, number> = {};
  for (let at = 240; at < bytes.length; at += 2 + (bytes[at + 1] ?? 0)) found[bytes[at] ?? 0] = at;
  return found;
}
