import { open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf } from '../base/errors.js';
import { allocate } from './file-space.js';
import { spaceOf } from './filesystem.js';

/**
 * Space of a filesystem, held by a file of zeroes: for what has to be written although the filesystem is full by then.
 * `noRoom`: it would take more than half of what is free. Rejects with what the kernel says.
 */
export async function reserveSpace(file: string, lengthBytes: number): Promise<'reserved' | 'noRoom'> {
  const known = await stat(file).catch(() => undefined);
  if (known?.isFile() && known.blocks * 512 >= lengthBytes) return 'reserved';
  await rm(file, { recursive: true, force: true });
  const { freeBytes } = await spaceOf(dirname(file));
  if (freeBytes < 2 * lengthBytes) return 'noRoom';
  try {
    await fill(file, lengthBytes);
    return 'reserved';
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
}

async function fill(file: string, lengthBytes: number): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await allocate(handle.fd, lengthBytes).catch(async (error: unknown) => {
      if (codeOf(error) !== 'EOPNOTSUPP') throw error;
      const zeroes = Buffer.alloc(ZEROES_BYTES);
      for (let at = 0; at < lengthBytes; at += zeroes.length) await handle.write(zeroes, 0, zeroes.length, at);
    });
  } finally {
    await handle.close();
  }
}

/** The space may be taken by others from here on. */
export async function releaseSpace(file: string): Promise<void> {
  await rm(file, { force: true });
}

/** Written at once, where a filesystem knows no other way to reserve space. */
const ZEROES_BYTES = 1024 * 1024;
