import { ByteReader } from '../../base/byte-reader.js';
import { Malformed } from '../../base/malformed.js';
import type { Unpacking } from './unpacking.js';

/**
 * LZ4's legacy format (`lz4 -l`), the only one of its kinds that Linux unpacks an initramfs from:
 *
 *     02 21 4c 18 | u32 length, block | u32 length, block | …
 *
 * Numbers are little-endian, each block unpacks to 8 MiB, the last to less. There is no end mark: people forget that whatever
 * can't be the length of a block (padding, the next archive) ends it.
 */
export function* unpackLz4Legacy(bytes: Uint8Array): Generator<Uint8Array, number> {
  const reader = new ByteReader(bytes);
  const output = new Uint8Array(LEGACY_BLOCK_BYTES);
  reader.skip(4);
  while (reader.remaining >= 4) {
    const start = reader.position;
    const length = reader.u32Le();
    // Appended streams begin with the magic again.
    if (length === LEGACY_MAGIC) continue;
    if (length === 0 || length > LEGACY_COMPRESSED_BYTES_MAX) return start;
    yield output.subarray(0, decodeLz4Block(reader.bytes(length), output, 0));
  }
  return reader.position;
}

/**
 * LZ4's frame format (`lz4` by default; Linux cannot unpack an initramfs from it):
 *
 *     04 22 4d 18 | FLG BD | [u64 size] | [u32 dictionary] | HC | u32 length, block, [u32 checksum] | … | 0 | [u32 checksum]
 *
 * The top bit of a length says that the block is stored as it is. Checksums are not checked: this only looks. Blocks may refer
 * back into the 64 KiB before them.
 */
export function* unpackLz4Frame(bytes: Uint8Array): Unpacking {
  const reader = new ByteReader(bytes);
  const { blockBytes, blockChecksum, contentChecksum } = readFrameHeader(reader);
  // The history of 64 KiB lies in front of where each block is unpacked to.
  const output = new Uint8Array(HISTORY_BYTES + blockBytes);
  for (;;) {
    const field = reader.u32Le();
    if (field === 0) break;
    const length = field & 0x7fff_ffff;
    if (length > blockBytes) throw new Malformed(`an lz4 block of ${length} bytes where ${blockBytes} is the most`);
    const block = reader.bytes(length);
    const stored = field >>> 31 === 1;
    if (stored) output.set(block, HISTORY_BYTES);
    const end = stored ? HISTORY_BYTES + length : decodeLz4Block(block, output, HISTORY_BYTES);
    yield output.subarray(HISTORY_BYTES, end);
    output.copyWithin(0, end - HISTORY_BYTES, end);
    if (blockChecksum) reader.skip(4);
  }
  if (contentChecksum) reader.skip(4);
  return reader.position;
}

/**
 * Unpacks one block into `output` from `start` on; bytes before `start` are the history that it may refer back into. Answers
 * where it ended. A block is tokens of four bits each for literals and match:
 *
 *     token | [more length, 255 = go on] | literals | u16 distance | [more length] …
 *
 * People forget that a match is four bytes longer than it says, that it may overlap what it makes, and that the last
 * sequence has no match.
 */
export function decodeLz4Block(input: Uint8Array, output: Uint8Array, start: number): number {
  let read = 0;
  let written = start;
  const next = (): number => {
    const byte = input[read];
    if (byte === undefined) throw new Malformed('an lz4 block ends within a sequence');
    read += 1;
    return byte;
  };
  const runLength = (nibble: number): number => {
    let length = nibble;
    if (nibble < 15) return length;
    for (;;) {
      const byte = next();
      length += byte;
      if (byte < 255) return length;
    }
  };

  while (read < input.length) {
    const token = next();
    const literals = runLength(token >>> 4);
    if (literals > input.length - read) throw new Malformed('an lz4 block ends within its literals');
    if (literals > output.length - written) throw new Malformed('an lz4 block unpacks to more than its format allows');
    output.set(input.subarray(read, read + literals), written);
    read += literals;
    written += literals;
    if (read === input.length) break;

    const distance = next() | (next() << 8);
    const length = runLength(token & 15) + MATCH_BYTES_MIN;
    if (distance === 0 || distance > written) throw new Malformed('an lz4 match reaches back before the beginning');
    if (length > output.length - written) throw new Malformed('an lz4 block unpacks to more than its format allows');
    copyMatch(output, written, distance, length);
    written += length;
  }
  return written;
}

/** Byte by byte in meaning: what is copied may be part of the copy. */
function copyMatch(output: Uint8Array, at: number, distance: number, length: number): void {
  let done = 0;
  if (length <= SHORT_BYTES) {
    // Most matches are this short, and a call for each costs more than the bytes.
    for (; done < length; done += 1) output[at + done] = output[at + done - distance] ?? 0;
    return;
  }
  while (done < length) {
    // What has been copied is a period more of the same, so the run may double.
    const run = Math.min(length - done, distance + done);
    output.copyWithin(at + done, at - distance, at - distance + run);
    done += run;
  }
}

function readFrameHeader(reader: ByteReader) {
  reader.skip(4);
  const flags = reader.u8();
  const blockDescriptor = reader.u8();
  if (flags >>> 6 !== 1) throw new Malformed(`lz4 frames of version ${flags >>> 6} are not known`);
  const blockBytes = FRAME_BLOCK_BYTES[(blockDescriptor >>> 4) & 7];
  if (blockBytes === undefined) throw new Malformed('an lz4 frame with an unknown size of block');
  if (flags & 0x08) reader.skip(8); // content size: not believed, not needed
  if (flags & 0x01) throw new Malformed('an lz4 frame that needs a dictionary');
  reader.skip(1); // checksum of this header
  return { blockBytes, blockChecksum: (flags & 0x10) !== 0, contentChecksum: (flags & 0x04) !== 0 };
}

const LEGACY_MAGIC = 0x184c_2102;
const LEGACY_BLOCK_BYTES = 8 * 1024 * 1024;
/** LZ4_compressBound of a block: what can't be packed grows by one in 255. */
const LEGACY_COMPRESSED_BYTES_MAX = LEGACY_BLOCK_BYTES + Math.floor(LEGACY_BLOCK_BYTES / 255) + 16;
/** By bits 4 to 6 of BD. */
const FRAME_BLOCK_BYTES = [undefined, undefined, undefined, undefined, 65_536, 262_144, 1_048_576, 4_194_304];
const HISTORY_BYTES = 65_536;
const MATCH_BYTES_MIN = 4;
const SHORT_BYTES = 32;
