import { randomBytes } from 'node:crypto';
import { link, lstat, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../base/clock.js';
import { codeOf } from '../../base/errors.js';
import { BlockError } from '../../block/block-error.js';
import { openFileDevice } from '../../block/file-device.js';
import type { WatchedDevice } from '../../block/watched-device.js';
import { settleFolder } from '../../os/whole-file.js';
import type { DiskVerdict } from './board-disk.js';
import { type CopyOptions, HeldCopy } from './held-copy.js';

/** What was copied. */
export interface Promoted {
  readonly bytes: number;
  /** For how long the change of the board's was held that was held longest. */
  readonly heldMs: number;
}

export interface PromoteOptions extends CopyOptions {
  readonly clock: Clock;
}

/**
 * Makes an image file of a disk, as it is at this instant, while its board may go on: a new file, sparse, under its name only once it is
 * whole and on stable storage. It is ended by the signal, and then nothing is left of it.
 */
export async function promoteDisk(
  disk: WatchedDevice,
  file: string,
  options: PromoteOptions,
): Promise<DiskVerdict<Promoted>> {
  // Of its own: one that was left by a process that was killed is in nobody's way.
  const half = `${file}.${randomBytes(4).toString('hex')}.half`;
  try {
    if (await isThere(file)) return refused(`${file} is there already: move it away, or name another file`);
    await makeSparse(half, disk.sizeBytes);
  } catch (error) {
    return refused(isMissing(error) ? `there is no folder ${dirname(file)}` : wordsOf(error));
  }
  try {
    const heldMs = await copyInto(half, disk, options);
    await giveName(half, file);
    await settleFolder(dirname(file));
    return { answer: 'done', bytes: disk.sizeBytes, heldMs };
  } catch (error) {
    await rm(half, { force: true });
    if (options.signal.aborted) return refused('it was broken off');
    return refused(wordsOf(error));
  }
}

/** Answers for how long changes were held. */
async function copyInto(half: string, disk: WatchedDevice, options: PromoteOptions): Promise<number> {
  const target = await openFileDevice(half, { access: 'readWrite', lock: 'exclusive' });
  try {
    const copy = new HeldCopy(disk, target, options);
    await copy.run();
    return copy.heldMs;
  } finally {
    await target.close();
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await lstat(file); // a link to nowhere is there, too
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}

/** Never in the place of a file that somebody has made there meanwhile, where the filesystem knows how. */
async function giveName(half: string, file: string): Promise<void> {
  try {
    await link(half, file);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST') throw error;
    await rename(half, file); // no hard links there
    return;
  }
  await rm(half);
}

/** Throws where somebody else makes it too. */
async function makeSparse(file: string, sizeBytes: number): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.truncate(sizeBytes);
  } finally {
    await handle.close();
  }
}

function refused(because: string): DiskVerdict<never> {
  return { answer: 'refused', because };
}

function wordsOf(error: unknown): string {
  if (error instanceof BlockError && error.code === 'ENOSPC') {
    return `there is no space for it: ${error.message}`;
  }
  if (error instanceof Error && 'code' in error) return error.message;
  throw error; // a bug of ours
}
