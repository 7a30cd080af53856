import type { BlockDevice } from '../../block/block-device.js';
import { DiskFault } from '../disk-fault.js';
import { readBytes, readFront } from '../read-bytes.js';
import { BOOT_SECTOR_BYTES, decodeBootSector } from './boot-sector.js';
import { type FatGeometry, geometryOf } from './geometry.js';

export type FatLook =
  | { readonly answer: 'fat'; readonly geometry: FatGeometry }
  /** `because` is a sentence for `check`: what it holds instead, or what is wrong with its boot sector. */
  | { readonly answer: 'other'; readonly because: string };

/** Does this device hold a FAT? Reads its first sector, and a second where something else is recognised by it. Throws BlockError only. */
export async function lookForFat(device: BlockDevice): Promise<FatLook> {
  try {
    return { answer: 'fat', geometry: await readGeometry(device) };
  } catch (error) {
    if (!(error instanceof DiskFault)) throw error;
    const other = await recognise(device);
    return { answer: 'other', because: other === undefined ? error.message : `it holds ${other}` };
  }
}

/** Throws DiskFault where the boot sector is not sound, BlockError. */
export async function readGeometry(device: BlockDevice): Promise<FatGeometry> {
  return geometryOf(decodeBootSector(await readFront(device, BOOT_SECTOR_BYTES)), device.sizeBytes);
}

/** What people do put on a Pi's disk. Not a search for truth: it only makes the reason readable. */
const SIGNATURES = [
  { name: 'ext2, ext3 or ext4', offset: 1080, text: '\x53\xef' },
  { name: 'exFAT', offset: 3, text: 'EXFAT   ' },
  { name: 'NTFS', offset: 3, text: 'NTFS    ' },
  { name: 'squashfs', offset: 0, text: 'hsqs' },
  { name: 'LUKS', offset: 0, text: 'LUKS\xba\xbe' },
  { name: 'XFS', offset: 0, text: 'XFSB' },
  { name: 'an LVM physical volume', offset: 536, text: 'LVM2 001' },
] as const;

async function recognise(device: BlockDevice): Promise<string | undefined> {
  const front = await readBytes(device, 0, Math.min(device.sizeBytes, 4096));
  const found = SIGNATURES.find(({ offset, text }) => startsWith(front.subarray(offset), text));
  if (found !== undefined) return found.name;
  return front.every((byte) => byte === 0) ? 'zeroes' : undefined;
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return bytes.length >= text.length && [...text].every((character, index) => bytes[index] === character.charCodeAt(0));
}
