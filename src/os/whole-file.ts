import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { codeOf } from '../base/errors.js';

export type FileVerdict =
  | { readonly answer: 'content'; readonly content: string }
  | { readonly answer: 'none' }
  /** Something is there that can't be a file of ours. */
  | { readonly answer: 'foreign'; readonly because: string };

/** What a file has behind its name while it is written. Such files are left behind by a process that was killed. */
export const HALF_WRITTEN = '.new';

/** A small file of ours, no more than its first `bytesMax` bytes. Rejects with what Node says of the disk. */
export async function readWholeFile(path: string, bytesMax: number): Promise<FileVerdict> {
  // Whatever lies there must neither be waited for (a pipe) nor lead elsewhere (a link).
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const file = await open(path, flags).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    if (codeOf(error) === 'ELOOP') return 'it is a symbolic link';
    throw error;
  });
  if (file === undefined) return { answer: 'none' };
  if (typeof file === 'string') return { answer: 'foreign', because: file };
  try {
    const status = await file.stat();
    if (!status.isFile()) return { answer: 'foreign', because: 'it is no file' };
    const buffer = Buffer.alloc(Math.min(status.size, bytesMax));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    return { answer: 'content', content: buffer.toString('utf8', 0, bytesRead) };
  } finally {
    await file.close();
  }
}

/**
 * Puts a file in the place of the one before in one step, so that what is read is whole whenever the process or the host died. Its
 * content is on stable storage when it resolves; its name is after `settleFolder`.
 */
export async function replaceWholeFile(path: string, content: string): Promise<void> {
  const half = `${path}${HALF_WRITTEN}`;
  try {
    const file = await open(half, 'w', 0o600);
    try {
      await file.writeFile(content);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(half, path);
  } catch (error) {
    await rm(half, { force: true }).catch(() => {}); // on a full disk its bytes are wanted back
    throw error;
  }
}

/** The names of what was written or removed there outlive the host too. */
export async function settleFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
