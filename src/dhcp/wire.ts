/**
 * DHCP messages (RFC 2131 section 2), bytes to readonly objects and back.
 *
 *    0         1         2         3
 *   +---------+---------+---------+---------+
 *   | op      | htype   | hlen    | hops    |   0
 *   | xid                                   |   4
 *   | secs              | flags             |   8
 *   | ciaddr, yiaddr, siaddr, giaddr        |  12
 *   | chaddr (16)                           |  28
 *   | sname (64)                            |  44   may hold options (52)
 *   | file (128)                            | 108   may hold options (52)
 *   | 63 82 53 63: the magic cookie         | 236
 *   | options, END                          | 240
 *   +---------------------------------------+
 *
 * Forgotten by many: whatever fills a reply up to 300 bytes comes after END, never before it.
 */
import { type Ipv4Address, ipv4FromBytes, ipv4ToBytes } from '../base/addresses.js';
import { ByteReader } from '../base/byte-reader.js';
import { ByteWriter } from '../base/byte-writer.js';
import { Malformed } from '../base/malformed.js';
import { type DhcpOption, gatherOptions, joinOptions, latin1, Option, overload, writeOptions } from './options.js';

/** Field `op` (RFC 2131 section 2). */
export const Op = { BootRequest: 1, BootReply: 2 } as const;

/** `htype` of Ethernet (RFC 1700, ARP section), the only one that a Pi boots over. */
export const HTYPE_ETHERNET = 1;

/** The leftmost bit of `flags`: the client asks for broadcast replies (RFC 2131 figure 2). */
export const BROADCAST_FLAG = 0x8000;

/** What ciaddr, yiaddr, siaddr and giaddr hold where nothing is said. */
export const NO_ADDRESS: Ipv4Address = '0.0.0.0';

const MAGIC_COOKIE = 0x63825363;
const CHADDR_BYTES = 16;
const SNAME_BYTES = 64;
const FILE_BYTES = 128;

/** RFC 1542 section 2.1: BOOTP messages of less are not to be sent, and there are clients that drop them. */
const MESSAGE_BYTES_MIN = 300;

export interface DhcpMessage {
  readonly op: number;
  readonly htype: number;
  readonly hops: number;
  readonly xid: number;
  readonly secs: number;
  readonly flags: number;
  readonly ciaddr: Ipv4Address;
  readonly yiaddr: Ipv4Address;
  readonly siaddr: Ipv4Address;
  readonly giaddr: Ipv4Address;
  /** `hlen` bytes of it: 0 to 16. */
  readonly chaddr: Uint8Array;
  /** One character a byte, up to the first NUL; empty where the field holds options. */
  readonly sname: string;
  readonly file: string;
  /** Each code once, in the order of the wire; without 52, PAD and END. */
  readonly options: readonly DhcpOption[];
}

/** Throws Malformed: shorter than its fixed part, no cookie, hlen over 16, an option past the end, no END. */
export function decodeDhcp(bytes: Uint8Array): DhcpMessage {
  const reader = new ByteReader(bytes);
  const [op, htype, hlen, hops] = [reader.u8(), reader.u8(), reader.u8(), reader.u8()];
  if (hlen > CHADDR_BYTES) throw new Malformed(`hlen ${hlen} is more than chaddr holds`);
  const [xid, secs, flags] = [reader.u32(), reader.u16(), reader.u16()];
  const [ciaddr, yiaddr, siaddr, giaddr] = [address(reader), address(reader), address(reader), address(reader)];
  const chaddr = reader.bytes(CHADDR_BYTES).subarray(0, hlen);
  const sname = reader.bytes(SNAME_BYTES);
  const file = reader.bytes(FILE_BYTES);
  if (reader.u32() !== MAGIC_COOKIE) throw new Malformed('no magic cookie: not DHCP');

  const pieces = new Map<number, Uint8Array[]>();
  gatherOptions(reader.rest(), pieces);
  const holdsOptions = overload(pieces);
  if (holdsOptions.file) gatherOptions(file, pieces);
  if (holdsOptions.sname) gatherOptions(sname, pieces);
  pieces.delete(Option.Overload);

  return {
    ...{ op, htype, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr },
    sname: holdsOptions.sname ? '' : text(sname),
    file: holdsOptions.file ? '' : text(file),
    options: joinOptions(pieces),
  };
}

/** The options keep their order; filled with zeroes after END to 300 bytes. Fields that do not fit are a RangeError, a bug of ours. */
export function encodeDhcp(message: DhcpMessage): Uint8Array {
  const writer = new ByteWriter(512);
  writer.u8(message.op).u8(message.htype).u8(message.chaddr.length).u8(message.hops);
  writer.u32(message.xid).u16(message.secs).u16(message.flags);
  for (const field of [message.ciaddr, message.yiaddr, message.siaddr, message.giaddr])
    writer.bytes(ipv4ToBytes(field));
  writeFixed(writer, message.chaddr, CHADDR_BYTES);
  writeFixed(writer, Buffer.from(message.sname, 'latin1'), SNAME_BYTES);
  writeFixed(writer, Buffer.from(message.file, 'latin1'), FILE_BYTES);
  writer.u32(MAGIC_COOKIE);
  writeOptions(writer, message.options);
  writer.zeroes(Math.max(0, MESSAGE_BYTES_MIN - writer.length));
  return writer.done();
}

function address(reader: ByteReader): Ipv4Address {
  return ipv4FromBytes(reader.bytes(4));
}

function text(field: Uint8Array): string {
  const end = field.indexOf(0);
  return latin1(end < 0 ? field : field.subarray(0, end));
}

function writeFixed(writer: ByteWriter, content: Uint8Array, length: number): void {
  if (content.length > length) throw new RangeError(`${content.length} bytes do not fit a field of ${length}`);
  writer.bytes(content).zeroes(length - content.length);
}
