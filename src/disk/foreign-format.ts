import type { BlockDevice } from '../block/block-device.js';

/** What an image is that is not a disk's own bytes. */
export interface ForeignFormat {
  readonly name: string;
  /** How to make a plain image of it. */
  readonly remedy: string;
}

interface Signature extends ForeignFormat {
  /** The file begins with these bytes. */
  readonly magic: readonly number[];
}

/** What people have on their disks when they first try: downloads as they come, and images of virtual machines. */
const SIGNATURES: readonly Signature[] = [
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], remedy: 'unpack it with `unxz`' },
  { name: 'gzip', magic: [0x1f, 0x8b], remedy: 'unpack it with `gunzip`' },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd], remedy: 'unpack it with `unzstd`' },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68], remedy: 'unpack it with `bunzip2`' },
  { name: 'zip', magic: [0x50, 0x4b, 0x03, 0x04], remedy: 'unpack it with `unzip`' },
  { name: '7z', magic: [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], remedy: 'unpack it with `7z x`' },
  { name: 'qcow2', magic: [0x51, 0x46, 0x49, 0xfb], remedy: 'make a plain image of it: `qemu-img convert -O raw`' },
  { name: 'VMDK', magic: [0x4b, 0x44, 0x4d, 0x56], remedy: 'make a plain image of it: `qemu-img convert -O raw`' },
  {
    name: 'VHDX',
    magic: [0x76, 0x68, 0x64, 0x78, 0x66, 0x69, 0x6c, 0x65],
    remedy: 'make a plain image of it: `qemu-img convert -O raw`',
  },
];

/** Undefined where it begins with none of the signatures. Throws BlockError. */
export async function foreignFormat(device: BlockDevice): Promise<ForeignFormat | undefined> {
  const head = new Uint8Array(Math.min(8, device.sizeBytes));
  await device.read(0, head);
  return SIGNATURES.find(({ magic }) => magic.every((byte, index) => head[index] === byte));
}
