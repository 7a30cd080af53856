import { type BigIntStats, fstatSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';

/** The same for every name (link, hard link) of one file or device, and another one for a file that has taken its place; undefined where nothing is found. */
export async function fileIdentity(path: string): Promise<string | undefined> {
  const status = await stat(path, { bigint: true }).catch(() => undefined);
  return status && identityIn(status);
}

/** Another one whenever the file may have been written, replaced, removed or made. */
export async function fileSight(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return String(error);
  }
}

/** Whether what is there has no name any more: a file that was mounted by itself, and replaced where it came from. */
export async function isLeftBehind(path: string): Promise<boolean> {
  const status = await stat(path).catch(() => undefined);
  return status?.nlink === 0;
}

/** The same of a file that is open, under whatever name it lies by now. */
export function descriptorIdentity(descriptor: number): string | undefined {
  try {
    return identityIn(fstatSync(descriptor, { bigint: true }));
  } catch {
    return undefined;
  }
}

/** When a regular file was written last, in nanoseconds; undefined for what is none. */
export function descriptorModified(descriptor: number): string | undefined {
  const status = fstatSync(descriptor, { bigint: true });
  return status.isFile() ? String(status.mtimeNs) : undefined;
}

/** Digits and an underscore that no other file of this host has while it is there. Throws what Node says where there is none. */
export function fileNumber(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}_${ino}`;
}

function identityIn(status: BigIntStats): string {
  return status.isBlockDevice() ? `device ${status.rdev}` : `file ${status.dev} ${status.ino}`;
}
