import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { whenOver } from './cleanup.js';
import { run, until } from './commands.js';
import { anyOf, without, withoutRoot } from './programs.js';
import { scratchFolder } from './scratch.js';

/** A filesystem of so many bytes in a mount namespace of its own: it can really be filled, and it is gone with its test. */
export interface SmallFilesystem {
  /** Where it is mounted, for what is started in it. */
  readonly folder: string;
  /** The same for this process, which lives outside. */
  reach(...parts: readonly string[]): string;
  /** In front of a program that is to see it. */
  readonly words: readonly string[];
  /** Starts a program that sees it; it is killed, by its id, when the test is over. */
  spawn(program: string, words: readonly string[]): ChildProcess;
  /** Whatever writes to it waits in the kernel, as for a disk that hangs, until `goOn`. One on a disk can. */
  hang(): Promise<void>;
  goOn(): Promise<void>;
}

/** For `test(name, { skip: withoutMounts() }, …)`. */
export function withoutMounts(): string | false {
  const missing = anyOf(withoutRoot(), without('unshare', 'util-linux'), without('nsenter', 'util-linux'));
  if (missing !== false) return missing;
  const tried = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']);
  return tried.status === 0 ? false : 'needs the right to mount in a namespace of its own';
}

export function smallFilesystem(context: TestContext, sizeBytes: number): Promise<SmallFilesystem> {
  return mounted(context, ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'none']);
}

/** For `diskFilesystem`: what it takes to make and mount one of this kind. */
export function withoutDiskFilesystem(kind: DiskFilesystemKind): string | false {
  const debianPackage = { ext4: 'e2fsprogs', xfs: 'xfsprogs' }[kind];
  return anyOf(withoutMounts(), without(`mkfs.${kind}`, debianPackage), without('losetup', 'util-linux'));
}

export type DiskFilesystemKind = 'ext4' | 'xfs';

/** The same with what a server's disk has, in a sparse file: holes, reserved space, writes that find their place later. */
export function diskFilesystem(
  context: TestContext,
  kind: DiskFilesystemKind,
  sizeBytes = 512 * 1024 * 1024, // mkfs.xfs makes none that is smaller than 300 MiB
): Promise<SmallFilesystem> {
  const image = join(scratchFolder(context), `${kind}.img`);
  writeFileSync(image, '');
  truncateSync(image, sizeBytes);
  execFileSync(`mkfs.${kind}`, ['-q', image], { env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } });
  return mounted(context, ['-o', 'loop', image]);
}

/** One that is in a file already, from so many bytes on. To be unmounted before that file goes. */
export function loopFilesystem(
  context: TestContext,
  file: string,
  at: { readonly offset: number; readonly sizeBytes: number },
) {
  return mounted(context, ['-o', `loop,offset=${at.offset},sizelimit=${at.sizeBytes}`, file]);
}

async function mounted(context: TestContext, words: readonly string[]): Promise<SmallFilesystem> {
  const folder = scratchFolder(context);
  const script = 'mount "$@" && echo mounted && exec cat';
  // It holds the namespace for as long as its input is open: also a test that is killed leaves nothing behind.
  const holder = spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', ...words, folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const children: ChildProcess[] = [holder];
  whenOver(context, async () => {
    for (const child of children.reverse()) await end(child);
  });
  let said = '';
  holder.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await until(() => said.includes('mounted'), 'the mount');
  const reach = (...parts: readonly string[]) => join(`/proc/${holder.pid}/root`, folder, ...parts);
  let hangs = false;
  const goOn = async () => {
    if (hangs) await run('fsfreeze', ['--unfreeze', reach()]);
    hangs = false;
  };
  whenOver(context, goOn);
  const inside = `--mount=/proc/${holder.pid}/ns/mnt`;
  return {
    folder,
    reach,
    words: ['nsenter', inside],
    async hang() {
      await run('fsfreeze', ['--freeze', reach()]);
      hangs = true;
    },
    goOn,
    spawn(program, words) {
      const child = spawn('nsenter', [inside, program, ...words], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      children.push(child);
      return child;
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}
