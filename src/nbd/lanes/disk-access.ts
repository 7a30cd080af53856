import type { SharedLayers } from '../../block/overlay/shared-layers.js';
import type { SharedFile } from '../../block/shared-file.js';
import { writeFile } from '../../os/stream-calls.js';

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
