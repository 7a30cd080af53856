import { ByteReader } from '../../base/byte-reader.js';
import { ByteWriter } from '../../base/byte-writer.js';
import { NBD_NAME_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { unreachable } from '../../base/unreachable.js';
import { EXPORT_NAME_ZEROES, Info, Magic, OptionReply } from './constants.js';

/**
 * Handshake and option haggling: bytes ↔ messages (proto.md, "Newstyle negotiation" to "Fixed newstyle negotiation").
 * All numbers are big-endian. Lengths of names and bodies are checked against the bytes that are there, never trusted.
 */

export const GREETING_BYTES = 18;
export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
export const OPTION_REPLY_HEADER_BYTES = 20;

export interface OptionHeader {
  readonly option: number;
  readonly lengthBytes: number;
}

export interface OptionReplyHeader {
  readonly option: number;
  readonly reply: number;
  readonly lengthBytes: number;
}

/** The data of INFO and GO. */
export interface ExportRequest {
  readonly exportName: string;
  readonly infoRequests: readonly number[];
}

/** Also the whole reply to EXPORT_NAME, zeroes apart. */
export interface ExportFacts {
  readonly sizeBytes: bigint;
  readonly transmissionFlags: number;
}

/** The data of a REP_INFO. */
export type InfoReply =
  | ({ readonly kind: 'export' } & ExportFacts)
  | { readonly kind: 'name'; readonly exportName: string }
  | { readonly kind: 'description'; readonly description: string }
  | {
      readonly kind: 'blockSize';
      readonly minimum: number;
      readonly preferred: number;
      readonly maximumPayload: number;
    }
  | { readonly kind: 'unknown'; readonly code: number };

//   0                8                16       18
//   ┌────────────────┬────────────────┬────────┐
//   │ NBDMAGIC       │ IHAVEOPT       │ flags  │   server, first of all
//   └────────────────┴────────────────┴────────┘

export function encodeGreeting(handshakeFlags: number): Uint8Array {
  return new ByteWriter(GREETING_BYTES).u64(Magic.InitPasswd).u64(Magic.IHaveOpt).u16(handshakeFlags).done();
}

/** The handshake flags. */
export function decodeGreeting(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes);
  expect(reader.u64() === Magic.InitPasswd, 'no NBD server: NBDMAGIC is missing');
  expect(reader.u64() === Magic.IHaveOpt, 'an oldstyle server, which names no exports');
  return reader.u16();
}

export function encodeClientFlags(flags: number): Uint8Array {
  return new ByteWriter(CLIENT_FLAGS_BYTES).u32(flags).done();
}

export function decodeClientFlags(bytes: Uint8Array): number {
  return new ByteReader(bytes).u32();
}

//   0                8        12       16
//   ┌────────────────┬────────┬────────┬──────────────┐
//   │ IHAVEOPT       │ option │ length │ data[length] │   client
//   └────────────────┴────────┴────────┴──────────────┘

export function encodeOption(option: number, body: Uint8Array): Uint8Array {
  return new ByteWriter(OPTION_HEADER_BYTES + body.length)
    .u64(Magic.IHaveOpt)
    .u32(option)
    .u32(body.length)
    .bytes(body)
    .done();
}

export function decodeOptionHeader(bytes: Uint8Array): OptionHeader {
  const reader = new ByteReader(bytes);
  expect(reader.u64() === Magic.IHaveOpt, 'an option without IHAVEOPT');
  return { option: reader.u32(), lengthBytes: reader.u32() };
}

//   0                8        12      16       20
//   ┌────────────────┬────────┬───────┬────────┬──────────────┐
//   │ reply magic    │ option │ reply │ length │ data[length] │   server
//   └────────────────┴────────┴───────┴────────┴──────────────┘

export function encodeOptionReply(option: number, reply: number, body: Uint8Array): Uint8Array {
  return new ByteWriter(OPTION_REPLY_HEADER_BYTES + body.length)
    .u64(Magic.OptionReply)
    .u32(option)
    .u32(reply)
    .u32(body.length)
    .bytes(body)
    .done();
}

export function decodeOptionReplyHeader(bytes: Uint8Array): OptionReplyHeader {
  const reader = new ByteReader(bytes);
  expect(reader.u64() === Magic.OptionReply, 'an option reply without its magic');
  return { option: reader.u32(), reply: reader.u32(), lengthBytes: reader.u32() };
}

/** Bit 31 makes a reply an error, and its data a sentence for people. */
export function isOptionError(reply: number): boolean {
  return reply >= 0x8000_0000;
}

//   0             4                 4+n     6+n
//   ┌─────────────┬─────────────────┬───────┬──────────────────┐
//   │ name length │ name[n], UTF-8  │ count │ count × 16 bits  │   client, data of INFO and GO
//   └─────────────┴─────────────────┴───────┴──────────────────┘

export function encodeExportRequest({ exportName, infoRequests }: ExportRequest): Uint8Array {
  const name = new TextEncoder().encode(exportName);
  const writer = new ByteWriter(name.length + 6 + 2 * infoRequests.length);
  writer.u32(name.length).bytes(name).u16(infoRequests.length);
  for (const code of infoRequests) writer.u16(code);
  return writer.done();
}

/** The body must be used up exactly: CVE-2022-26495 and -26496 both came from believing one of its counts. */
export function decodeExportRequest(body: Uint8Array): ExportRequest {
  const reader = new ByteReader(body);
  const nameLength = reader.u32();
  expect(nameLength <= NBD_NAME_BYTES_MAX, `a name of ${nameLength} bytes`);
  const exportName = decodeName(reader.bytes(nameLength));
  const count = reader.u16();
  expect(reader.remaining === count * 2, `${count} info requests in ${reader.remaining} bytes`);
  const infoRequests = Array.from({ length: count }, () => reader.u16());
  return { exportName, infoRequests };
}

/** Invalid UTF-8 becomes U+FFFD, which no board's name has. */
export function decodeName(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

//   0      2                                       10               12
//   ┌──────┬────────────────────────────────────────┬───────────────┐
//   │  0   │ size in bytes                          │ transm. flags │   INFO_EXPORT; EXPORT_NAME's reply is bytes 2 to 12 of it
//   ├──────┼───────────────┬───────────┬────────────┴──────┬────────┘
//   │  3   │ minimum (32)  │ preferred │ maximum payload   │   INFO_BLOCK_SIZE
//   ├──────┼───────────────┴───────────┴───────────────────┘
//   │  1   │ name, to the end   INFO_NAME; 2 with a description, INFO_DESCRIPTION
//   └──────┘

export function encodeInfoReply(info: Exclude<InfoReply, { readonly kind: 'unknown' }>): Uint8Array {
  const writer = new ByteWriter();
  switch (info.kind) {
    case 'export':
      return writer.u16(Info.Export).u64(info.sizeBytes).u16(info.transmissionFlags).done();
    case 'name':
      return writer.u16(Info.Name).utf8(info.exportName).done();
    case 'description':
      return writer.u16(Info.Description).utf8(info.description).done();
    case 'blockSize':
      return writer.u16(Info.BlockSize).u32(info.minimum).u32(info.preferred).u32(info.maximumPayload).done();
    default:
      return unreachable(info);
  }
}

export function decodeInfoReply(body: Uint8Array): InfoReply {
  const reader = new ByteReader(body);
  const code = reader.u16();
  switch (code) {
    case Info.Export:
      return { kind: 'export', sizeBytes: reader.u64(), transmissionFlags: reader.u16() };
    case Info.Name:
      return { kind: 'name', exportName: decodeName(reader.rest()) };
    case Info.Description:
      return { kind: 'description', description: decodeName(reader.rest()) };
    case Info.BlockSize:
      return { kind: 'blockSize', minimum: reader.u32(), preferred: reader.u32(), maximumPayload: reader.u32() };
    default:
      return { kind: 'unknown', code };
  }
}

/** An export in a list. */
export interface ServerEntry {
  readonly exportName: string;
  /** For people; may be empty. */
  readonly description: string;
}

/** Data of a REP_SERVER: length, name; what follows the name is the description. */
export function encodeServerEntry({ exportName, description }: ServerEntry): Uint8Array {
  const name = new TextEncoder().encode(exportName);
  return new ByteWriter().u32(name.length).bytes(name).utf8(description).done();
}

export function decodeServerEntry(body: Uint8Array): ServerEntry {
  const reader = new ByteReader(body);
  return { exportName: decodeName(reader.bytes(reader.u32())), description: decodeName(reader.rest()) };
}

/** EXPORT_NAME has a reply of its own: no header, and a tail of zeroes that everybody has agreed to forget but old clients. */
export function encodeExportNameReply(facts: ExportFacts, options: { readonly zeroes: boolean }): Uint8Array {
  return new ByteWriter(10 + EXPORT_NAME_ZEROES)
    .u64(facts.sizeBytes)
    .u16(facts.transmissionFlags)
    .zeroes(options.zeroes ? EXPORT_NAME_ZEROES : 0)
    .done();
}

export function decodeExportNameReply(bytes: Uint8Array): ExportFacts {
  const reader = new ByteReader(bytes);
  return { sizeBytes: reader.u64(), transmissionFlags: reader.u16() };
}

/** `NBD_REP_ACK` and the errors that carry no more than a sentence. */
export function encodeSentence(option: number, reply: number, sentence: string): Uint8Array {
  return encodeOptionReply(option, reply, new TextEncoder().encode(sentence));
}

export function encodeAck(option: number): Uint8Array {
  return encodeOptionReply(option, OptionReply.Ack, new Uint8Array(0));
}

function expect(condition: boolean, otherwise: string): void {
  if (!condition) throw new Malformed(otherwise);
}
