import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { run } from '../../support/commands.js';
import { anyOf, without, withoutRoot } from '../../support/programs.js';
import { projectFile } from '../../support/project.js';

/** Where the boot partition and the root lie in it, as make-image.sh lays them out. */
export const BOOT_PARTITION = { offsetBytes: 1 * 1024 * 1024, sizeBytes: 256 * 1024 * 1024 };
export const ROOT_PARTITION = { offsetBytes: 257 * 1024 * 1024, sizeBytes: 2815 * 1024 * 1024 };

const SCRIPT = projectFile('test', 'boot', 'machine', 'make-image.sh');
/** Two minutes where nothing else runs. */
const MAKING_MS = 1_200_000;

/** What make-image.sh needs. */
export function withoutImageTools(): string | false {
  return anyOf(
    withoutRoot(),
    without('mmdebstrap', 'mmdebstrap'),
    without('mkfs.vfat', 'dosfstools'),
    without('mkfs.ext4', 'e2fsprogs'),
    without('mcopy', 'mtools'),
    without('sfdisk', 'fdisk'),
  );
}

/**
 * The image file as made, for whoever only reads it. It is made once for each state of the script, and kept in
 * BRAMBLEBOOT_TEST_CACHE, or `brambleboot` in the user's cache folder.
 */
export async function machineImage(): Promise<string> {
  const folder = cacheFolder();
  const key = createHash('sha256').update(readFileSync(SCRIPT)).digest('hex').slice(0, 16);
  const file = join(folder, `machine-${key}.img`);
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true });
  const unfinished = `${file}.${process.pid}`;
  await promisify(execFile)('bash', [SCRIPT, unfinished], { timeout: MAKING_MS });
  renameSync(unfinished, file);
  return file;
}

/** A copy that may be written to. */
export async function copyMachineImage(target: string): Promise<void> {
  await run('cp', ['--sparse=always', '--reflink=auto', await machineImage(), target]);
}

function cacheFolder(): string {
  const { BRAMBLEBOOT_TEST_CACHE, XDG_CACHE_HOME } = process.env;
  return BRAMBLEBOOT_TEST_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'brambleboot');
}
