import { type Ipv4Address, ipv4FromBytes, ipv4ToBytes } from '../base/addresses.js';
import { ByteReader } from '../base/byte-reader.js';
import { ByteWriter } from '../base/byte-writer.js';
import { Malformed } from '../base/malformed.js';

/** A UDP datagram with the IPv4 header (RFC 791, RFC 768) that a board without an address writes itself. */
export interface UdpPacket {
  readonly source: Ipv4Address;
  readonly sourcePort: number;
  readonly destination: Ipv4Address;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

const IP_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const PROTOCOL_UDP = 17;
/** As the boot ROM and bootcode.bin send it. */
const TTL = 128;

/**
 *      0               1               2               3
 *     |version|ihl|tos | total length  | id            | flags, fragment |
 *     |ttl |protocol 17| checksum      | source                          |
 *     | destination                    | source port   | dest. port      |
 *     | length         | checksum 0: none (as a Pi sends it)             |
 */
export function encodeUdpPacket(packet: UdpPacket): Uint8Array {
  const header = new ByteWriter(IP_HEADER_BYTES)
    .u8(0x45)
    .u8(0)
    .u16(IP_HEADER_BYTES + UDP_HEADER_BYTES + packet.payload.length)
    .zeroes(4)
    .u8(TTL)
    .u8(PROTOCOL_UDP)
    .u16(0)
    .bytes(ipv4ToBytes(packet.source))
    .bytes(ipv4ToBytes(packet.destination))
    .done();
  return new ByteWriter(IP_HEADER_BYTES + UDP_HEADER_BYTES + packet.payload.length)
    .bytes(header.subarray(0, 10))
    .u16(internetChecksum(header))
    .bytes(header.subarray(12))
    .u16(packet.sourcePort)
    .u16(packet.destinationPort)
    .u16(UDP_HEADER_BYTES + packet.payload.length)
    .u16(0)
    .bytes(packet.payload)
    .done();
}

/** Throws Malformed for what is no whole UDP datagram over IPv4. Checksums are not looked at: the line here is a memory copy. */
export function decodeUdpPacket(bytes: Uint8Array): UdpPacket {
  const reader = new ByteReader(bytes);
  const versionAndLength = reader.u8();
  const headerBytes = (versionAndLength & 0x0f) * 4;
  if (versionAndLength >> 4 !== 4 || headerBytes < IP_HEADER_BYTES) throw new Malformed('no IPv4 header');
  reader.skip(5);
  const fragment = reader.u16() & 0x3fff;
  reader.skip(1);
  if (reader.u8() !== PROTOCOL_UDP || fragment !== 0) throw new Malformed('no whole UDP datagram');
  reader.skip(2);
  const source = ipv4FromBytes(reader.bytes(4));
  const destination = ipv4FromBytes(reader.bytes(4));
  reader.skip(headerBytes - IP_HEADER_BYTES);
  const [sourcePort, destinationPort, lengthBytes] = [reader.u16(), reader.u16(), reader.u16()];
  reader.skip(2);
  if (lengthBytes < UDP_HEADER_BYTES) throw new Malformed(`a UDP datagram of ${lengthBytes} bytes`);
  return { source, sourcePort, destination, destinationPort, payload: reader.bytes(lengthBytes - UDP_HEADER_BYTES) };
}

/** RFC 1071: the ones' complement of the ones' complement sum of 16-bit words. */
function internetChecksum(header: Uint8Array): number {
  const reader = new ByteReader(header);
  let sum = 0;
  while (reader.remaining >= 2) sum += reader.u16();
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
