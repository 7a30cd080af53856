import { Decompress } from 'fzstd';
import { ByteReader } from '../../base/byte-reader.js';
import { messageOf } from '../../base/errors.js';
import { ZSTD_WINDOW_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { PIECE_BYTES, type Unpacking } from './unpacking.js';

/**
 * One Zstandard frame (RFC 8878), or one skippable one. Its extent and its window are read here before the decoder sees it:
 * fzstd would allocate whatever window the frame asks for, and takes what follows a frame for another one. Time is not bounded
 * here: a block of a few bytes can keep fzstd busy for minutes (see `inspectInitramfs`).
 */
export function* unpackZstd(bytes: Uint8Array): Unpacking {
  const length = frameLength(bytes);
  if (isSkippable(bytes)) return length;
  const pieces: Uint8Array[] = [];
  const decoder = new Decompress((piece) => pieces.push(piece));
  for (let start = 0; start < length; start += PIECE_BYTES) {
    const end = Math.min(start + PIECE_BYTES, length);
    pushTo(decoder, bytes.subarray(start, end), end === length);
    yield* pieces.splice(0);
  }
  return length;
}

/** True for the magics of both kinds of frame. */
export function isZstd(bytes: Uint8Array): boolean {
  return isSkippable(bytes) || (bytes.length >= 4 && new ByteReader(bytes).u32Le() === FRAME_MAGIC);
}

function pushTo(decoder: Decompress, bytes: Uint8Array, isLast: boolean): void {
  try {
    decoder.push(bytes, isLast);
  } catch (error) {
    throw new Malformed(`zstd: ${messageOf(error)}`);
  }
}

/**
 *     28 b5 2f fd | descriptor | [window] | [dictionary] | [content size] | blocks … | [u32 checksum]
 *     block: u24 = last (bit 0), type (bits 1-2), size (bits 3-23); a repeated byte (type 1) takes one byte whatever its size
 */
function frameLength(bytes: Uint8Array): number {
  const reader = new ByteReader(bytes);
  reader.skip(4);
  if (isSkippable(bytes)) {
    reader.skip(reader.u32Le());
    return reader.position;
  }
  const hasChecksum = skipFrameHeader(reader);
  for (;;) {
    const header = reader.u16Le() | (reader.u8() << 16);
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (type === BlockType.Reserved) throw new Malformed('a zstd block of an unknown type');
    if (size > BLOCK_BYTES_MAX) throw new Malformed(`a zstd block of ${size} bytes where 128 KiB is the most`);
    reader.skip(type === BlockType.Repeated ? 1 : size);
    if (header & 1) break;
  }
  if (hasChecksum) reader.skip(4);
  return reader.position;
}

/** Answers whether a checksum ends the frame (RFC 8878, 3.1.1.1). */
function skipFrameHeader(reader: ByteReader): boolean {
  const descriptor = reader.u8();
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const windowBytes = isSingleSegment ? undefined : windowOf(reader.u8());
  reader.skip([0, 1, 2, 4][descriptor & 3] ?? 0); // dictionary
  const sizeFlag = descriptor >>> 6;
  const content = contentSize(reader, sizeFlag === 0 && isSingleSegment ? 1 : ([0, 2, 4, 8][sizeFlag] ?? 0));
  const window = windowBytes ?? content;
  if (window > ZSTD_WINDOW_BYTES_MAX) throw new Malformed(`zstd with a window of ${window} bytes, which Linux refuses`);
  return (descriptor & 0x04) !== 0;
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3));
  return base + (base / 8) * (descriptor & 7);
}

function contentSize(reader: ByteReader, fieldBytes: number): number {
  switch (fieldBytes) {
    case 1:
      return reader.u8();
    case 2:
      return reader.u16Le() + 256;
    case 4:
      return reader.u32Le();
    case 8:
      return Number(reader.u64Le());
    default:
      return 0;
  }
}

function isSkippable(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && (new ByteReader(bytes).u32Le() & 0xffff_fff0) >>> 0 === SKIPPABLE_MAGIC;
}

const FRAME_MAGIC = 0xfd2f_b528;
/** The low four bits are free. */
const SKIPPABLE_MAGIC = 0x184d_2a50;
const BLOCK_BYTES_MAX = 128 * 1024;
const BlockType = { Repeated: 1, Reserved: 3 } as const;
