import { ByteReader } from '../../base/byte-reader.js';
import { NBD_PAYLOAD_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { Command, CommandFlag, Magic } from './constants.js';

/** Requests and simple replies: bytes ↔ messages (proto.md, "Transmission"). All numbers are big-endian. */

export const REQUEST_BYTES = 28;
export const EXTENDED_REQUEST_BYTES = 32;
export const SIMPLE_REPLY_BYTES = 16;

export interface NbdRequest {
  readonly flags: number;
  readonly command: number;
  /** Opaque, and echoed as it came: Linux puts a tag in it and drops the connection over one that it does not know. */
  readonly cookie: bigint;
  /** Any 64-bit number at all: a number only once it was found to lie inside the export. */
  readonly offset: bigint;
  /** With extended headers any 64-bit number, rounded beyond 2⁵³, where no disk ends. */
  readonly lengthBytes: number;
}

/** What requests look like, as negotiated. */
export interface RequestCodec {
  readonly headerBytes: number;
  decode(bytes: Uint8Array): NbdRequest;
  /** What follows the header. */
  payloadBytes(request: NbdRequest): number;
  /** WRITE must say PAYLOAD_LEN, and whatever says so is followed by its length in bytes. */
  readonly flagsPayload: boolean;
}

export interface SimpleReply {
  /** 0 for success. */
  readonly error: number;
  readonly cookie: bigint;
}

//   0          4       6         8                16               24         28
//   ┌──────────┬───────┬─────────┬────────────────┬────────────────┬──────────┐
//   │ 25609513 │ flags │ command │ cookie         │ offset         │ length   │   client; a WRITE's payload follows
//   └──────────┴───────┴─────────┴────────────────┴────────────────┴──────────┘

/** Where its fields lie, for who looks at some of them only. */
export const RequestAt = { Flags: 4, Command: 6, Cookie: 8, Offset: 16, Length: 24 } as const;

/** A FLUSH in place of the request whose header lies there: it is answered as that one would be. */
export function flushInPlaceOf(headers: DataView, at: number): NbdRequest {
  const cookie = headers.getBigUint64(at + RequestAt.Cookie);
  return { command: Command.Flush, flags: 0, cookie, offset: 0n, lengthBytes: 0 };
}

/** Writes into the first 28 bytes of `target`. */
export function encodeRequest(request: NbdRequest, target: Uint8Array): void {
  const view = new DataView(target.buffer, target.byteOffset, REQUEST_BYTES);
  view.setUint32(0, Magic.Request);
  view.setUint16(4, request.flags);
  view.setUint16(6, request.command);
  view.setBigUint64(8, request.cookie);
  view.setBigUint64(16, request.offset);
  view.setUint32(24, request.lengthBytes);
}

export function decodeRequest(bytes: Uint8Array): NbdRequest {
  const reader = new ByteReader(bytes);
  const magic = reader.u32();
  if (magic !== Magic.Request) throw new Malformed(`a request begins with ${hex(magic)}`);
  const flags = reader.u16();
  const command = reader.u16();
  return { flags, command, cookie: reader.u64(), offset: reader.u64(), lengthBytes: reader.u32() };
}

//   0          4       6         8        16       24       32
//   ┌──────────┬───────┬─────────┬────────┬────────┬────────┐
//   │ 21e41c71 │ flags │ command │ cookie │ offset │ length │   client; a payload follows if PAYLOAD_LEN says so
//   └──────────┴───────┴─────────┴────────┴────────┴────────┘   (extension-ext-header branch of proto.md, "Request message")

/** Writes into the first 32 bytes of `target`. */
export function encodeExtendedRequest(request: NbdRequest, target: Uint8Array): void {
  const view = new DataView(target.buffer, target.byteOffset, EXTENDED_REQUEST_BYTES);
  view.setUint32(0, Magic.ExtendedRequest);
  view.setUint16(4, request.flags);
  view.setUint16(6, request.command);
  view.setBigUint64(8, request.cookie);
  view.setBigUint64(16, request.offset);
  view.setBigUint64(24, BigInt(request.lengthBytes));
}

export function decodeExtendedRequest(bytes: Uint8Array): NbdRequest {
  const reader = new ByteReader(bytes);
  const magic = reader.u32();
  if (magic !== Magic.ExtendedRequest) throw new Malformed(`an extended request begins with ${hex(magic)}`);
  const flags = reader.u16();
  const command = reader.u16();
  return { flags, command, cookie: reader.u64(), offset: reader.u64(), lengthBytes: Number(reader.u64()) };
}

/** Only a WRITE is followed by its payload; of a command nobody knows it must be assumed that it isn't. */
export const COMPACT_REQUESTS: RequestCodec = {
  headerBytes: REQUEST_BYTES,
  decode: decodeRequest,
  payloadBytes: ({ command, lengthBytes }) => (command === Command.Write ? lengthBytes : 0),
  flagsPayload: false,
};

/** The flag alone says whether a payload follows, whatever the command. */
export const EXTENDED_REQUESTS: RequestCodec = {
  headerBytes: EXTENDED_REQUEST_BYTES,
  decode: decodeExtendedRequest,
  payloadBytes({ flags, lengthBytes }) {
    if ((flags & CommandFlag.PayloadLen) === 0) return 0;
    // The branch: "A server SHOULD initiate hard disconnect". To read 2⁶⁴ bytes away would take for ever.
    if (lengthBytes > NBD_PAYLOAD_BYTES_MAX) throw new Malformed(`a payload of ${lengthBytes} bytes`);
    return lengthBytes;
  },
  flagsPayload: true,
};

//   0          4        8                16
//   ┌──────────┬────────┬────────────────┬─────────────────────┐
//   │ 67446698 │ error  │ cookie         │ data of a good READ │   server
//   └──────────┴────────┴────────────────┴─────────────────────┘

/** Writes into the first 16 bytes of `target`, so that a READ's data can lie behind them in the same buffer. */
export function encodeSimpleReply(reply: SimpleReply, target: Uint8Array): void {
  const view = new DataView(target.buffer, target.byteOffset, SIMPLE_REPLY_BYTES);
  view.setUint32(0, Magic.SimpleReply);
  view.setUint32(4, reply.error);
  view.setBigUint64(8, reply.cookie);
}

export function decodeSimpleReply(bytes: Uint8Array): SimpleReply {
  const reader = new ByteReader(bytes);
  const magic = reader.u32();
  if (magic !== Magic.SimpleReply) throw new Malformed(`a reply begins with ${hex(magic)}`);
  return { error: reader.u32(), cookie: reader.u64() };
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
