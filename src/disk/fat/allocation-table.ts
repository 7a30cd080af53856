import { FAT_PIECE_BYTES, FAT_PIECES_MAX } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import { readBytes } from '../read-bytes.js';
import type { FatGeometry, FatType } from './geometry.js';

// The file allocation table: one entry per cluster, which says what comes after that cluster in its file.
//
//    FAT12 packs two entries into three bytes, little-endian:   | a a a | b b b |  →  bytes  a₁a₀  b₀a₂  b₂b₁
//    FAT16 has 16 bits; FAT32 has 32, of which the upper four are reserved and mean nothing.
//
//    0 free · 1 reserved · 2 … next cluster · …7 bad · …8 to …f end of chain   (…: all ones above)

/** Entries that are no cluster number, per type. */
export const TableMark = {
  12: { bad: 0xff7, endFrom: 0xff8 },
  16: { bad: 0xfff7, endFrom: 0xfff8 },
  32: { bad: 0x0fff_fff7, endFrom: 0x0fff_fff8 },
} as const satisfies Record<FatType, { bad: number; endFrom: number }>;

/** Answered by `entryNow` where the entry is not in memory. */
export const NOT_LOADED = -1;

/** Reads entries of the table in pieces of `FAT_PIECE_BYTES` and keeps `FAT_PIECES_MAX` of them. */
export class AllocationTable {
  readonly #device: BlockDevice;
  readonly #geometry: FatGeometry;
  readonly #tableBytes: number;
  readonly #pieces = new Map<number, DataView>();
  #recentIndex = -1;
  #recent: DataView = new DataView(new ArrayBuffer(0));

  constructor(device: BlockDevice, geometry: FatGeometry) {
    this.#device = device;
    this.#geometry = geometry;
    this.#tableBytes = Math.ceil(((geometry.clusterCount + 2) * geometry.type) / 8);
  }

  /** The entry of a cluster of the volume, or NOT_LOADED: then `load` has it. This is the inner loop of every chain. */
  entryNow(cluster: number): number {
    const offset = entryOffset(this.#geometry.type, cluster);
    const index = Math.floor(offset / FAT_PIECE_BYTES);
    if (index !== this.#recentIndex) {
      const piece = this.#pieces.get(index);
      if (piece === undefined) return NOT_LOADED;
      this.#recentIndex = index;
      this.#recent = piece;
    }
    return entryAt(this.#geometry.type, this.#recent, offset % FAT_PIECE_BYTES, cluster);
  }

  /** Reads the piece that the cluster's entry lies in, and answers the entry. */
  async load(cluster: number): Promise<number> {
    const offset = entryOffset(this.#geometry.type, cluster);
    const index = Math.floor(offset / FAT_PIECE_BYTES);
    const start = index * FAT_PIECE_BYTES;
    const lengthBytes = Math.min(FAT_PIECE_BYTES, this.#tableBytes - start);
    const bytes = await readBytes(this.#device, this.#geometry.tableOffset + start, lengthBytes);
    const piece = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#keep(index, piece);
    return entryAt(this.#geometry.type, piece, offset - start, cluster);
  }

  /** Where the entry lies on the device, for faults. */
  placeOf(cluster: number): number {
    return this.#geometry.tableOffset + entryOffset(this.#geometry.type, cluster);
  }

  #keep(index: number, piece: DataView): void {
    if (this.#pieces.size >= FAT_PIECES_MAX) {
      const [oldest] = this.#pieces.keys();
      if (oldest !== undefined) this.#pieces.delete(oldest);
    }
    this.#pieces.set(index, piece);
    this.#recentIndex = index;
    this.#recent = piece;
  }
}

export function entryOffset(type: FatType, cluster: number): number {
  if (type === 32) return cluster * 4;
  return type === 16 ? cluster * 2 : cluster + (cluster >> 1);
}

function entryAt(type: FatType, bytes: DataView, offset: number, cluster: number): number {
  if (type === 32) return bytes.getUint32(offset, true) & 0x0fff_ffff;
  const entry = bytes.getUint16(offset, true);
  if (type === 16) return entry;
  return cluster % 2 === 0 ? entry & 0x0fff : entry >> 4;
}
