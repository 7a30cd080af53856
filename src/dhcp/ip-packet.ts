import { type Ipv4Address, ipv4FromBytes, ipv4ToBytes } from '../base/addresses.js';
import { ByteReader } from '../base/byte-reader.js';
import { ByteWriter } from '../base/byte-writer.js';
import { Malformed } from '../base/malformed.js';

/** A UDP datagram with its IPv4 header (RFC 791, RFC 768): who has no address, or may not take a port, writes them itself. */
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

/** What whoever sends it may choose. */
export interface PacketStyle {
  readonly timeToLive: number;
  readonly checksum: 'reckoned' | 'none';
}

/** As the boot ROM and bootcode.bin send it. */
export const PI_STYLE: PacketStyle = { timeToLive: 128, checksum: 'none' };

/** As Linux sends what goes by a UDP socket. */
export const LINUX_STYLE: PacketStyle = { timeToLive: 64, checksum: 'reckoned' };

/**
 *      0               1               2               3
 *     |version|ihl|tos | total length  | id            | flags, fragment |
 *     |ttl |protocol 17| checksum      | source                          |
 *     | destination                    | source port   | dest. port      |
 *     | length         | checksum, or 0 for none                         |
 *
 * The second checksum is reckoned over the payload and a header that is never sent: source, destination, 0, 17, UDP length.
 */
export function encodeUdpPacket(packet: UdpPacket, style: PacketStyle): Uint8Array {
  const addresses = new ByteWriter(8).bytes(ipv4ToBytes(packet.source)).bytes(ipv4ToBytes(packet.destination)).done();
  const lengthBytes = UDP_HEADER_BYTES + packet.payload.length;
  const header = new ByteWriter(IP_HEADER_BYTES)
    .u8(0x45)
    .u8(0)
    .u16(IP_HEADER_BYTES + lengthBytes)
    .zeroes(4)
    .u8(style.timeToLive)
    .u8(PROTOCOL_UDP)
    .u16(0)
    .bytes(addresses)
    .done();
  const ports = new ByteWriter(6).u16(packet.sourcePort).u16(packet.destinationPort).u16(lengthBytes).done();
  const pseudoHeader = new ByteWriter(12).bytes(addresses).u16(PROTOCOL_UDP).u16(lengthBytes).done();
  return new ByteWriter(IP_HEADER_BYTES + lengthBytes)
    .bytes(header.subarray(0, 10))
    .u16(internetChecksum(header))
    .bytes(header.subarray(12))
    .bytes(ports)
    .u16(style.checksum === 'none' ? 0 : udpChecksum([pseudoHeader, ports, packet.payload]))
    .bytes(packet.payload)
    .done();
}

/**
 * Throws Malformed for what is no whole UDP datagram over IPv4. Checksums are not looked at: where the
 * sender is on this machine, the UDP one is left for a network card that it never passes.
 */
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

/** 0 would say that there is none: it is sent as its other form, all ones (RFC 768). All parts but the last are even. */
function udpChecksum(parts: readonly Uint8Array[]): number {
  return internetChecksum(Buffer.concat(parts)) || 0xffff;
}

/** RFC 1071: the ones' complement of the ones' complement sum of 16-bit words; a byte left over is the high half of one. */
function internetChecksum(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes);
  let sum = 0;
  while (reader.remaining >= 2) sum += reader.u16();
  if (reader.remaining === 1) sum += reader.u8() << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
