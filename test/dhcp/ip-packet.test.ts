import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Malformed } from '../../src/base/malformed.js';
import { decodeUdpPacket, encodeUdpPacket, LINUX_STYLE, PI_STYLE } from '../../src/dhcp/ip-packet.js';

// Laid out by hand after RFC 791 and RFC 768; the checksum: ~(4500 + 0023 + 8011 + ffff + ffff) = 3acb.
const GOLDEN = '4500 0023 0000 0000 8011 3acb 0000 0000 ffffffff 0044 0043 000f 0000 4252414d424c45'.replaceAll(
  ' ',
  '',
);
const PACKET = {
  source: '0.0.0.0',
  sourcePort: 68,
  destination: '255.255.255.255',
  destinationPort: 67,
  payload: new TextEncoder().encode('BRAMBLE'),
};

describe('a UDP datagram with its IPv4 header', () => {
  test('is written as the RFCs draw it, and read back', () => {
    const bytes = encodeUdpPacket(PACKET, PI_STYLE);
    assert.equal(Buffer.from(bytes).toString('hex'), GOLDEN);
    assert.deepEqual(decodeUdpPacket(bytes), PACKET);
  });

  test('can have a UDP checksum, as Linux sends it', () => {
    // Reckoned by a program of its own (Python, struct and RFC 1071): b8c9 over the header, 325c over pseudo-header and datagram.
    const golden = '4500 0023 0000 0000 4011 b8c9 c0000201 ffffffff 0043 0044 000f 325c 4252414d424c45';
    const ends = { source: '192.0.2.1', sourcePort: 67, destination: '255.255.255.255', destinationPort: 68 };
    const bytes = encodeUdpPacket({ ...ends, payload: PACKET.payload }, LINUX_STYLE);
    assert.equal(Buffer.from(bytes).toString('hex'), golden.replaceAll(' ', ''));
  });

  test('has a header checksum that adds up to nothing', () => {
    const header = Buffer.from(encodeUdpPacket(PACKET, PI_STYLE).subarray(0, 20));
    let sum = 0;
    for (let at = 0; at < 20; at += 2) sum += header.readUInt16BE(at);
    assert.equal((sum & 0xffff) + (sum >>> 16), 0xffff);
  });

  test('padding behind it is not payload, options in front of it are skipped', () => {
    const padded = Buffer.concat([encodeUdpPacket(PACKET, PI_STYLE), Buffer.alloc(11)]);
    assert.deepEqual(decodeUdpPacket(Uint8Array.from(padded)), PACKET);
    const bytes = Buffer.from(encodeUdpPacket(PACKET, PI_STYLE));
    const withOption = Buffer.concat([Buffer.of(0x46), bytes.subarray(1, 20), Buffer.alloc(4), bytes.subarray(20)]);
    assert.deepEqual(decodeUdpPacket(Uint8Array.from(withOption)), PACKET);
  });

  test('any bytes are a datagram or malformed', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 64 }),
          fc.nat(35).map((length) => Buffer.from(GOLDEN, 'hex').subarray(0, length)),
        ),
        (bytes) => {
          try {
            decodeUdpPacket(bytes);
          } catch (error) {
            assert.ok(error instanceof Malformed, String(error));
          }
        },
      ),
    );
  });
});
