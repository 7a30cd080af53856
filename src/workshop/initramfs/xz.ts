import { createRequire } from 'node:module';
import { ReadableStream } from 'node:stream/web';
import { crc32 } from 'node:zlib';
import type * as XzDecompress from 'xz-decompress';
import { messageOf } from '../../base/errors.js';
import { Malformed } from '../../base/malformed.js';
import { PIECE_BYTES, type Unpacking } from './unpacking.js';

// Its types promise named exports, but it is CommonJS in a wrapper that Node finds no names in.
const { XzReadableStream }: typeof XzDecompress = createRequire(import.meta.url)('xz-decompress');

/**
 * One .xz stream. The decoder (xz-embedded, with windows of up to 64 MiB as in Linux) wants nothing behind it, so its end is
 * looked for first; where there is none, all is given to the decoder, which unpacks what is there and then complains.
 */
export async function* unpackXz(bytes: Uint8Array): Unpacking {
  const length = streamLength(bytes);
  const source = bytes.subarray(0, length ?? bytes.length);
  const reader = new XzReadableStream(inPieces(source)).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield value;
    }
  } catch (error) {
    throw new Malformed(`xz: ${messageOf(error)}`);
  } finally {
    // The library lets one stream decode at a time: one that is left without a word would block all later ones.
    await reader.cancel().catch(() => {});
  }
  return length ?? bytes.length;
}

function inPieces(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let start = 0;
  return new ReadableStream({
    pull(controller) {
      if (start >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(start, start + PIECE_BYTES));
      start += PIECE_BYTES;
    },
  });
}

/**
 *     fd "7zXZ" 00 | flags | crc | blocks … | 00 index | crc | u32 backward size | flags | "YZ"
 *
 * All of it in multiples of four bytes. The footer counts as one if its checksum is right, its flags are the header's, and an
 * index begins where its backward size says (The .xz File Format, 2.1.2).
 */
function streamLength(bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let end = HEADER_BYTES + FOOTER_BYTES; end <= bytes.length; end += 4) {
    if (bytes[end - 2] !== 0x59 || bytes[end - 1] !== 0x5a) continue;
    const footer = end - FOOTER_BYTES;
    if (view.getUint32(footer, true) !== crc32(bytes.subarray(footer + 4, footer + 10))) continue;
    if (view.getUint16(footer + 8) !== view.getUint16(6)) continue;
    const index = footer - (view.getUint32(footer + 4, true) + 1) * 4;
    if (index >= HEADER_BYTES && bytes[index] === 0) return end;
  }
  return undefined;
}

const HEADER_BYTES = 12;
const FOOTER_BYTES = 12;
