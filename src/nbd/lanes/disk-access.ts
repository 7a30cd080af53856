import type { SharedLayers } from '../../block/overlay/shared-layers.js';
import type { SharedFile } from '../../block/shared-file.js';
import { CachedFileReader, writeFile } from '../../os/stream-calls.js';

/** Writes what a lane may write, and answers whether it has. Nothing is lost by doing it once more where it can be waited for, or told why not. */
export function writeHere(file: SharedFile, address: number, length: number, offset: number): boolean {
  const pot = file.beginChange(offset, length);
  if (pot === undefined) return false;
  const { descriptor, layers } = file;
  const isWritten =
    layers === undefined
      ? writeFile(descriptor, address, length, offset) === length
      : writeLayer(layers, descriptor, address, length, offset);
  file.endChange(pot);
  return isWritten;
}

function writeLayer(layers: SharedLayers, top: number, address: number, length: number, offset: number): boolean {
  const at = layers.beginWrite(offset, length);
  if (at === undefined) return false;
  const isWritten = writeFile(top, address, length, at) === length;
  layers.endWrite(offset, length, isWritten);
  return isWritten;
}

/** Where bytes that are read come to lie: the same place twice, since the kernel and we name it differently. */
export interface ReadTarget {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** Reads what the page cache has. */
export class CachedDiskReader {
  readonly #cached = new CachedFileReader();

  /** To behind the first `at` bytes of the target; false if some of it is not in memory. */
  read(file: SharedFile, offset: number, length: number, target: ReadTarget, at: number): boolean {
    const { descriptor, layers } = file;
    if (layers === undefined) return this.#cached.read(descriptor, target.address + at, length, offset) === length;
    const end = offset + length;
    for (let from = offset; from < end; ) {
      const part = layers.locate(from, end);
      const to = at + from - offset;
      if (part.descriptor < 0) target.bytes.fill(0, to, to + part.lengthBytes);
      else if (this.#cached.read(part.descriptor, target.address + to, part.lengthBytes, part.at) !== part.lengthBytes)
        return false;
      from += part.lengthBytes;
    }
    return true;
  }
}
