import { readFileSync } from 'node:fs';

/**
 * Whether the block device of this number (`st_dev`, `st_rdev`) is a disk that turns, so that far seeks cost. False where
 * nobody knows: btrfs, overlayfs and network filesystems have numbers that are no device's. `sysfs` is another folder in tests.
 */
export function isRotational(device: bigint, sysfs = '/sys'): boolean {
  const folder = `${sysfs}/dev/block/${major(device)}:${minor(device)}`;
  // A partition has no queue of its own: the link leads to its folder, which lies in the disk's.
  return (queueOf(folder) ?? queueOf(`${folder}/..`)) === '1';
}

function queueOf(folder: string): string | undefined {
  try {
    return readFileSync(`${folder}/queue/rotational`, 'latin1').trim();
  } catch {
    return undefined;
  }
}

// gnu_dev_major and gnu_dev_minor: 32 bits each, their low parts as they were when there were 8.
function major(device: bigint): bigint {
  return ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
}

function minor(device: bigint): bigint {
  return (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
}
