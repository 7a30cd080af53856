import { ByteReader } from '../../base/byte-reader.js';
import { ByteWriter } from '../../base/byte-writer.js';
import { Malformed } from '../../base/malformed.js';
import { unreachable } from '../../base/unreachable.js';
import { Magic, ReplyType } from './constants.js';

/**
 * Replies in chunks: bytes ↔ messages (proto.md, "Structured reply chunk message"; "Extended reply chunk message" in the
 * extension-ext-header branch). All numbers are big-endian.
 */

export const STRUCTURED_HEAD_BYTES = 20;
export const EXTENDED_HEAD_BYTES = 32;
/** In front of the data of OFFSET_DATA, behind the head of the chunk. */
export const DATA_OFFSET_BYTES = 8;

export interface ChunkHead {
  readonly flags: number;
  readonly type: number;
  readonly cookie: bigint;
  /** Of what follows. */
  readonly lengthBytes: number;
}

export interface ExtendedChunkHead extends ChunkHead {
  /** Of the request, whatever the chunk is about. */
  readonly offset: bigint;
}

/** What follows the head. */
export type ChunkBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'data'; readonly offset: bigint; readonly data: Uint8Array }
  | { readonly kind: 'hole'; readonly offset: bigint; readonly lengthBytes: number }
  | { readonly kind: 'blockStatus'; readonly contextId: number; readonly extents: readonly Descriptor[] }
  | { readonly kind: 'blockStatusExtended'; readonly contextId: number; readonly extents: readonly Descriptor[] }
  | { readonly kind: 'error'; readonly error: number; readonly sentence: string }
  | { readonly kind: 'errorAt'; readonly error: number; readonly sentence: string; readonly offset: bigint }
  | { readonly kind: 'unknown'; readonly type: number };

/** Of a BLOCK_STATUS: one stretch behind the other. */
export interface Descriptor {
  readonly lengthBytes: number;
  readonly flags: number;
}

//   0          4       6      8                16       20
//   ┌──────────┬───────┬──────┬────────────────┬────────┬──────────────┐
//   │ 668e33ef │ flags │ type │ cookie         │ length │ body[length] │   server; the last one of a reply says DONE
//   └──────────┴───────┴──────┴────────────────┴────────┴──────────────┘

/** Writes into the first 20 bytes of `target`. */
export function encodeStructuredHead(head: ChunkHead, target: Uint8Array): void {
  const view = new DataView(target.buffer, target.byteOffset, STRUCTURED_HEAD_BYTES);
  view.setUint32(0, Magic.StructuredReply);
  view.setUint16(4, head.flags);
  view.setUint16(6, head.type);
  view.setBigUint64(8, head.cookie);
  view.setUint32(16, head.lengthBytes);
}

export function decodeStructuredHead(bytes: Uint8Array): ChunkHead {
  const reader = new ByteReader(bytes);
  const magic = reader.u32();
  expect(magic === Magic.StructuredReply, `a chunk begins with ${magic.toString(16).padStart(8, '0')}`);
  const [flags, type] = [reader.u16(), reader.u16()];
  return { flags, type, cookie: reader.u64(), lengthBytes: reader.u32() };
}

//   0          4       6      8        16       24       32
//   ┌──────────┬───────┬──────┬────────┬────────┬────────┬──────────────┐
//   │ 6e8a278c │ flags │ type │ cookie │ offset │ length │ body[length] │   server; the offset is that of the request
//   └──────────┴───────┴──────┴────────┴────────┴────────┴──────────────┘

/** Writes into the first 32 bytes of `target`. */
export function encodeExtendedHead(head: ExtendedChunkHead, target: Uint8Array): void {
  const view = new DataView(target.buffer, target.byteOffset, EXTENDED_HEAD_BYTES);
  view.setUint32(0, Magic.ExtendedReply);
  view.setUint16(4, head.flags);
  view.setUint16(6, head.type);
  view.setBigUint64(8, head.cookie);
  view.setBigUint64(16, head.offset);
  view.setBigUint64(24, BigInt(head.lengthBytes));
}

/** A length beyond 2⁵³ is rounded: nobody will read so much. */
export function decodeExtendedHead(bytes: Uint8Array): ExtendedChunkHead {
  const reader = new ByteReader(bytes);
  const magic = reader.u32();
  expect(magic === Magic.ExtendedReply, `an extended chunk begins with ${magic.toString(16).padStart(8, '0')}`);
  const [flags, type] = [reader.u16(), reader.u16()];
  return { flags, type, cookie: reader.u64(), offset: reader.u64(), lengthBytes: Number(reader.u64()) };
}

//   0                8                                12
//   ┌────────────────┬────────────────────────────────┐
//   │ offset         │ data, at least a byte          │   OFFSET_DATA
//   ├────────────────┼───────────────┬────────────────┘
//   │ offset         │ size, not 0   │   OFFSET_HOLE
//   ├───────┼────────┴──────────────────────┴──┐
//   │ ctx   │ n × (length (32), flags (32))    │      BLOCK_STATUS; no length is 0
//   ├───────┼────────┬─────────────────────────┴──┐
//   │ ctx   │ n      │ n × (length, flags), 64 bits │   BLOCK_STATUS_EXT
//   ├───────┼────────┼──────────────────┬────────┬┘
//   │ error │ n (16) │ sentence[n]      │ offset │   ERROR ends before the offset, ERROR_OFFSET behind it
//   └───────┴────────┴──────────────────┴────────┘   n lies at 4, the sentence at 6

export function encodeChunkBody(body: Exclude<ChunkBody, { readonly kind: 'unknown' }>): Uint8Array {
  const writer = new ByteWriter();
  switch (body.kind) {
    case 'none':
      return writer.done();
    case 'data':
      return writer.u64(body.offset).bytes(body.data).done();
    case 'hole':
      return writer.u64(body.offset).u32(body.lengthBytes).done();
    case 'blockStatus':
      writer.u32(body.contextId);
      for (const { lengthBytes, flags } of body.extents) writer.u32(lengthBytes).u32(flags);
      return writer.done();
    case 'blockStatusExtended':
      writer.u32(body.contextId).u32(body.extents.length);
      for (const { lengthBytes, flags } of body.extents) writer.u64(BigInt(lengthBytes)).u64(BigInt(flags));
      return writer.done();
    case 'error':
      return sentenceTo(writer, body).done();
    case 'errorAt':
      return sentenceTo(writer, body).u64(body.offset).done();
    default:
      return unreachable(body);
  }
}

/** An error of a type nobody knows is an error still: all of them begin alike. */
export function decodeChunkBody(type: number, bytes: Uint8Array): ChunkBody {
  const reader = new ByteReader(bytes);
  switch (type) {
    case ReplyType.None:
      expect(bytes.length === 0, 'a NONE with something in it');
      return { kind: 'none' };
    case ReplyType.OffsetData:
      expect(bytes.length > DATA_OFFSET_BYTES, 'an OFFSET_DATA without data');
      return { kind: 'data', offset: reader.u64(), data: reader.rest() };
    case ReplyType.OffsetHole: {
      const hole = { kind: 'hole', offset: reader.u64(), lengthBytes: reader.u32() } as const;
      expect(hole.lengthBytes > 0 && reader.remaining === 0, 'an OFFSET_HOLE that is none');
      return hole;
    }
    case ReplyType.BlockStatus:
      return { kind: 'blockStatus', contextId: reader.u32(), extents: descriptorsFrom(reader) };
    case ReplyType.BlockStatusExt:
      return { kind: 'blockStatusExtended', contextId: reader.u32(), extents: extendedDescriptorsFrom(reader) };
    case ReplyType.ErrorOffset:
      return { kind: 'errorAt', ...sentenceFrom(reader), offset: reader.u64() };
    default:
      return type >= ReplyType.Error - 1 ? { kind: 'error', ...sentenceFrom(reader) } : { kind: 'unknown', type };
  }
}

export function chunkType(body: Exclude<ChunkBody, { readonly kind: 'unknown' }>): number {
  switch (body.kind) {
    case 'none':
      return ReplyType.None;
    case 'data':
      return ReplyType.OffsetData;
    case 'hole':
      return ReplyType.OffsetHole;
    case 'blockStatus':
      return ReplyType.BlockStatus;
    case 'blockStatusExtended':
      return ReplyType.BlockStatusExt;
    case 'error':
      return ReplyType.Error;
    case 'errorAt':
      return ReplyType.ErrorOffset;
    default:
      return unreachable(body);
  }
}

function descriptorsFrom(reader: ByteReader): readonly Descriptor[] {
  expect(reader.remaining % 8 === 0, 'a BLOCK_STATUS that ends in the middle');
  return extentsFrom(reader.remaining / 8, () => ({ lengthBytes: reader.u32(), flags: reader.u32() }));
}

function extendedDescriptorsFrom(reader: ByteReader): readonly Descriptor[] {
  const count = reader.u32();
  expect(reader.remaining === count * 16, `${count} extents in ${reader.remaining} bytes`);
  return extentsFrom(count, () => ({ lengthBytes: Number(reader.u64()), flags: Number(reader.u64()) }));
}

function extentsFrom(count: number, next: () => Descriptor): readonly Descriptor[] {
  expect(count > 0, 'a BLOCK_STATUS of nothing');
  const extents = Array.from({ length: count }, next);
  expect(
    extents.every(({ lengthBytes }) => lengthBytes > 0),
    'an extent of nothing',
  );
  return extents;
}

interface Told {
  readonly error: number;
  readonly sentence: string;
}

function sentenceTo(writer: ByteWriter, { error, sentence }: Told): ByteWriter {
  const text = new TextEncoder().encode(sentence);
  return writer.u32(error).u16(text.length).bytes(text);
}

function sentenceFrom(reader: ByteReader): Told {
  const error = reader.u32();
  expect(error !== 0, 'an error that is none');
  return { error, sentence: new TextDecoder().decode(reader.bytes(reader.u16())) };
}

function expect(condition: boolean, otherwise: string): void {
  if (!condition) throw new Malformed(otherwise);
}
