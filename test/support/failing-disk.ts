import { execFileSync } from 'node:child_process';
import { rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { whenOver } from './cleanup.js';
import { anyOf, without, withoutRoot } from './programs.js';
import { smallFilesystem, withoutMounts } from './small-filesystem.js';

/** For `test(name, { skip: withoutFailingDisk() }, …)`. */
export function withoutFailingDisk(): string | false {
  return anyOf(withoutRoot(), without('losetup', 'util-linux'), withoutMounts());
}

/** A block device of the kernel that takes writes into memory, and really loses them: its flushes fail until it is mended. */
export interface FailingDisk {
  readonly node: string;
  mend(): void;
}

/** Its sectors lie in a sparse file on a filesystem that is full. What is in the file `content` is there from the beginning. */
export async function failingDisk(context: TestContext, sizeBytes: number, content?: string): Promise<FailingDisk> {
  const disk = await smallFilesystem(context, sizeBytes * 2);
  const backing = disk.reach('backing.img');
  if (content === undefined) writeFileSync(backing, '');
  else execFileSync('cp', ['--sparse=always', content, backing]);
  truncateSync(backing, sizeBytes);
  const filler = disk.reach('filler');
  const { bavail, bsize } = statfsSync(disk.reach());
  writeFileSync(filler, Buffer.alloc(bavail * bsize, 1));
  const node = execFileSync('losetup', ['-f', '--show', backing]).toString().trim();
  whenOver(context, () => void execFileSync('losetup', ['-d', node]));
  return { node, mend: () => rmSync(filler) };
}
