import type { RecordMedium } from '../../block/overlay/map-record.js';
import { SECTOR_BYTES } from '../../block/overlay/overlay-format.js';
import type { SharedLayers } from '../../block/overlay/shared-layers.js';
import type { SharedFile } from '../../block/shared-file.js';
import { addressOf, syncFile, writeFile } from '../../os/stream-calls.js';

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

/** A file, for what a flush does to it. There is one of each lane. */
export class FileMedium implements RecordMedium {
  readonly #bytes = new Uint8Array(new SharedArrayBuffer(SECTOR_BYTES));
  readonly #address = addressOf(this.#bytes);
  #descriptor = -1;

  of(descriptor: number): this {
    this.#descriptor = descriptor;
    return this;
  }

  write(offset: number, bytes: Uint8Array): boolean {
    this.#bytes.set(bytes);
    return writeFile(this.#descriptor, this.#address, bytes.length, offset) === bytes.length;
  }

  sync(): boolean {
    return syncFile(this.#descriptor) === 0;
  }
}
