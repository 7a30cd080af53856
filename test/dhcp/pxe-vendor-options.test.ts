import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../src/base/malformed.js';
import { decodePxeBootMenu, encodePxeVendorOptions } from '../../src/dhcp/pxe-vendor-options.js';

/** Option 43 of dnsmasq 2.90 for `pxe-service=0,"Raspberry Pi Boot"`. */
const DNSMASQ = Buffer.from('0601030a0400505845091400001152617370626572727920506920426f6f74ff', 'hex');

describe('PXE vendor options', () => {
  test('a boot menu for a Pi is encoded as dnsmasq does', () => {
    const encoded = encodePxeVendorOptions({
      discoveryControl: 3,
      menuPrompt: { timeoutSeconds: 0, text: 'PXE' },
      bootMenu: [{ type: 0, text: 'Raspberry Pi Boot' }],
    });
    assert.deepEqual(Buffer.from(encoded), DNSMASQ);
  });

  test('the boot menu is read, with more than one entry too', () => {
    assert.deepEqual(decodePxeBootMenu(DNSMASQ), [{ type: 0, text: 'Raspberry Pi Boot' }]);
    const entries = [
      { type: 0, text: 'x86' },
      { type: 0x8001, text: 'Raspberry Pi Boot   ' },
    ];
    const menuPrompt = { timeoutSeconds: 255, text: '' };
    const encoded = encodePxeVendorOptions({ discoveryControl: 0, menuPrompt, bootMenu: entries });
    assert.deepEqual(decodePxeBootMenu(encoded), entries);
  });

  test('without a boot menu, or after END, there is none', () => {
    assert.deepEqual(decodePxeBootMenu(new Uint8Array()), []);
    assert.deepEqual(decodePxeBootMenu(Uint8Array.of(0, 0, 6, 1, 3)), []);
    assert.deepEqual(decodePxeBootMenu(Uint8Array.of(255, 9, 4, 0, 0, 1, 0x41)), []);
  });

  test('any bytes and every prefix are a menu or malformed', () => {
    for (let length = 0; length < DNSMASQ.length; length += 1) decodes(DNSMASQ.subarray(0, length));
    fc.assert(fc.property(fc.uint8Array(), decodes));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (menu) => decodes(Uint8Array.of(9, menu.length, ...menu))));
  });
});

function decodes(bytes: Uint8Array): void {
  try {
    decodePxeBootMenu(bytes);
  } catch (error) {
    assert.ok(error instanceof Malformed);
  }
}
