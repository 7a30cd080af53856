import { type Ipv4Address, ipv4FromBytes } from '../base/addresses.js';
import { ByteReader } from '../base/byte-reader.js';
import type { ByteWriter } from '../base/byte-writer.js';
import { Malformed } from '../base/malformed.js';

/** Option codes (RFC 2132; 93, 94 and 97: RFC 4578). Only those that are read or written here; others survive as bytes. */
export const Option = {
  Pad: 0,
  SubnetMask: 1,
  Router: 3,
  VendorSpecificInformation: 43,
  RequestedAddress: 50,
  Overload: 52,
  MessageType: 53,
  ServerIdentifier: 54,
  ParameterRequestList: 55,
  VendorClassIdentifier: 60,
  TftpServerName: 66,
  BootfileName: 67,
  ClientSystemArchitecture: 93,
  ClientNetworkInterface: 94,
  ClientMachineIdentifier: 97,
  End: 255,
} as const;

/** Values of option 53 (RFC 2132 section 9.6). */
export const MessageType = {
  Discover: 1,
  Offer: 2,
  Request: 3,
  Decline: 4,
  Ack: 5,
  Nak: 6,
  Release: 7,
  Inform: 8,
} as const;

/** One option, whole: the pieces that RFC 3396 allows it to be cut into are joined. */
export interface DhcpOption {
  readonly code: number;
  readonly data: Uint8Array;
}

interface MessageWithOptions {
  readonly options: readonly DhcpOption[];
}

export function optionData(message: MessageWithOptions, code: number): Uint8Array | undefined {
  return message.options.find((option) => option.code === code)?.data;
}

/** Undefined if there is none (BOOTP) or if it is not one byte long. */
export function messageType(message: MessageWithOptions): number | undefined {
  const data = optionData(message, Option.MessageType);
  return data?.length === 1 ? data[0] : undefined;
}

/** Undefined if there is none or if it is not four bytes long. */
export function optionAddress(message: MessageWithOptions, code: number): Ipv4Address | undefined {
  const data = optionData(message, code);
  return data?.length === 4 ? ipv4FromBytes(data) : undefined;
}

/** One character a byte; trailing NULs dropped, as RFC 2132 section 2 asks of receivers. */
export function optionText(message: MessageWithOptions, code: number): string | undefined {
  const data = optionData(message, code);
  return data && latin1(data).replace(/\0+$/, '');
}

export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

/**
 * Gathers the options of one field into `pieces`, by code in order of first appearance. What follows END is ignored.
 * Throws Malformed if a length runs past the field or END is missing: what was cut off could be what matters.
 */
export function gatherOptions(field: Uint8Array, pieces: Map<number, Uint8Array[]>): void {
  const reader = new ByteReader(field);
  for (let code = reader.u8(); code !== Option.End; code = reader.u8()) {
    if (code === Option.Pad) continue;
    const data = reader.bytes(reader.u8());
    const before = pieces.get(code);
    if (before) before.push(data);
    else pieces.set(code, [data]);
  }
}

/** Joins the pieces of each option (RFC 3396 section 7): linear in the bytes received, whatever their number. */
export function joinOptions(pieces: ReadonlyMap<number, readonly Uint8Array[]>): readonly DhcpOption[] {
  return [...pieces].map(([code, parts]) => ({ code, data: joined(parts) }));
}

/**
 * Which other fields hold options too (option 52, RFC 2132 section 9.3). One that stands in those fields means nothing:
 * it is looked for before they are read, so that nothing can go round in circles.
 */
export function overload(pieces: ReadonlyMap<number, readonly Uint8Array[]>): { file: boolean; sname: boolean } {
  const parts = pieces.get(Option.Overload);
  if (parts === undefined) return { file: false, sname: false };
  const data = joined(parts);
  const value = data[0] ?? 0;
  if (data.length !== 1 || value < 1 || value > 3) throw new Malformed('option 52 is none of 1, 2, 3');
  return { file: (value & 1) !== 0, sname: (value & 2) !== 0 };
}

/** In the order given, each of more than 255 bytes cut into pieces (RFC 3396 section 5), END last, no pad before it. */
export function writeOptions(writer: ByteWriter, options: readonly DhcpOption[]): void {
  for (const { code, data } of options) {
    let start = 0;
    do {
      const piece = data.subarray(start, start + 255);
      writer.u8(code).u8(piece.length).bytes(piece);
      start += 255;
    } while (start < data.length);
  }
  writer.u8(Option.End);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  return parts.length === 1 && only ? only : Buffer.concat(parts);
}
