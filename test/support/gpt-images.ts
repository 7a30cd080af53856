import { crc32 } from 'node:zlib';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { encodeMbr, MbrType } from '../../src/disk/partition/mbr.js';
import { poke } from './faults.js';

export interface GptImage {
  readonly sectorBytes: number;
  readonly sectorCount: number;
  /** First and last LBA by entry from 1. */
  readonly partitions: ReadonlyMap<number, readonly [first: number | bigint, last: number | bigint]>;
  /** 128 if not said. */
  readonly entryCount?: number;
}

export const SMALL_GPT: GptImage = {
  sectorBytes: 512,
  sectorCount: 256,
  partitions: new Map([
    [1, [64, 127]],
    [3, [128, 200]],
  ]),
};

const ENTRY_BYTES = 128;

/** A disk with a protective MBR and both tables, all CRCs right. */
export function makeGptImage(image: GptImage): MemoryDevice {
  const { sectorBytes, sectorCount, entryCount = 128 } = image;
  const device = new MemoryDevice(sectorBytes * sectorCount);
  const protective = { type: MbrType.GptProtective, firstSector: 1, sectorCount: sectorCount - 1 };
  device.bytes.set(encodeMbr({ diskSignature: 0, partitions: [protective] }));
  const arraySectors = Math.ceil((entryCount * ENTRY_BYTES) / sectorBytes);
  const array = encodeEntries(image, entryCount);
  const last = sectorCount - 1;
  for (const [lba, alternate, entries] of [
    [1, last, 2],
    [last, 1, last - arraySectors],
  ] as const) {
    device.bytes.set(array, entries * sectorBytes);
    const at = lba * sectorBytes;
    device.bytes.set(new TextEncoder().encode('EFI PART'), at);
    poke(device.bytes, at + 8, 4, 0x0001_0000);
    poke(device.bytes, at + 12, 4, 92);
    poke(device.bytes, at + 24, 8, lba);
    poke(device.bytes, at + 32, 8, alternate);
    poke(device.bytes, at + 40, 8, 2 + arraySectors);
    poke(device.bytes, at + 48, 8, last - arraySectors - 1);
    poke(device.bytes, at + 72, 8, entries);
    poke(device.bytes, at + 80, 4, entryCount);
    poke(device.bytes, at + 84, 4, ENTRY_BYTES);
    poke(device.bytes, at + 88, 4, crc32(array));
    sealHeader(device.bytes, at);
  }
  return device;
}

/** Makes a header's CRC right again after a field was changed. */
export function sealHeader(bytes: Uint8Array, at: number): void {
  poke(bytes, at + 16, 4, 0);
  poke(bytes, at + 16, 4, crc32(bytes.subarray(at, at + 92)));
}

function encodeEntries({ partitions }: GptImage, entryCount: number): Uint8Array {
  const array = new Uint8Array(entryCount * ENTRY_BYTES);
  for (const [number, [first, last]] of partitions) {
    const at = (number - 1) * ENTRY_BYTES;
    array.set(Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex'), at);
    array.fill(number, at + 16, at + 32);
    poke(array, at + 32, 8, first);
    poke(array, at + 40, 8, last);
    array.set(Buffer.from(`part${number}`, 'utf16le'), at + 56);
  }
  return array;
}
