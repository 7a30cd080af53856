import { createInflateRaw } from 'node:zlib';
import { ByteReader } from '../../base/byte-reader.js';
import { messageOf } from '../../base/errors.js';
import { Malformed } from '../../base/malformed.js';
import { PIECE_BYTES, type Unpacking } from './unpacking.js';

/**
 * One gzip member (RFC 1952). The header is read here and only the deflate stream given to zlib, because Node's gunzip takes
 * whatever follows a member for another one, and fails on the next archive. The CRC at the end is not checked: this only looks.
 */
export async function* unpackGzip(bytes: Uint8Array): Unpacking {
  const reader = new ByteReader(bytes);
  skipHeader(reader);
  const headerBytes = reader.position;
  const inflate = createInflateRaw({ chunkSize: PIECE_BYTES });
  inflate.end(reader.rest());
  try {
    for await (const piece of inflate) {
      if (piece instanceof Uint8Array) yield piece;
    }
  } catch (error) {
    throw new Malformed(`gzip: ${messageOf(error)}`);
  } finally {
    inflate.destroy();
  }
  const end = headerBytes + inflate.bytesWritten + TRAILER_BYTES;
  if (end > bytes.length) throw new Malformed('gzip that ends within its checksum');
  return end;
}

function skipHeader(reader: ByteReader): void {
  reader.skip(2);
  const method = reader.u8();
  if (method !== DEFLATE) throw new Malformed(`gzip with method ${method}, which is not deflate`);
  const flags = reader.u8();
  reader.skip(6); // time, extra flags, system
  if (flags & Flag.Extra) reader.skip(reader.u16Le());
  if (flags & Flag.Name) skipText(reader);
  if (flags & Flag.Comment) skipText(reader);
  if (flags & Flag.HeaderCrc) reader.skip(2);
}

function skipText(reader: ByteReader): void {
  while (reader.u8() !== 0);
}

const DEFLATE = 8;
/** CRC and length of what was packed. */
const TRAILER_BYTES = 8;
/** RFC 1952, 2.3.1. */
const Flag = { HeaderCrc: 0x02, Extra: 0x04, Name: 0x08, Comment: 0x10 } as const;
