import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { whenOver } from './cleanup.js';
import { background, run, until } from './commands.js';
import { anyOf, without, withoutAccess } from './programs.js';
import { scratchFolder } from './scratch.js';

/** For `test(name, { skip: withoutSlowDisk() }, …)`. */
export function withoutSlowDisk(): string | false {
  return anyOf(
    without('nbdkit', 'nbdkit'),
    without('nbdfuse', 'nbdfuse'),
    without('fusermount3', 'fuse3'),
    withoutAccess('/dev/fuse'),
  );
}

/** A file on a disk of its own that takes long for everything, and for ever while it hangs. */
export interface SlowDisk {
  readonly file: string;
  hang(): void;
  goOn(): void;
}

/** The content of `image`, behind nbdkit's delay filter and nbdfuse: to the kernel it is a filesystem like any other. */
export async function slowDisk(context: TestContext, image: string, delayMs: number): Promise<SlowDisk> {
  const folder = scratchFolder(context);
  const socket = join(folder, 'nbdkit.sock');
  const file = join(folder, 'disk.img');
  const pidFile = join(folder, 'nbdkit.pid');
  writeFileSync(file, '');
  const delays = [`rdelay=${delayMs}ms`, `wdelay=${delayMs}ms`];
  const nbdkit = background(context, 'nbdkit', [
    ...['-f', '-U', socket, '-P', pidFile, '--filter=delay', 'file', image, ...delays],
  ]);
  await until(
    () =>
      run('cat', [pidFile]).then(
        ({ length }) => length > 0,
        () => false,
      ),
    'nbdkit',
  ); // written when it listens
  const nbdfuse = background(context, 'nbdfuse', [file, `nbd+unix:///?socket=${socket}`]);
  await until(async () => (await sizeOf(file)) > 0, 'nbdfuse');
  whenOver(context, async () => {
    nbdkit.kill('SIGCONT');
    await run('fusermount3', ['-u', '-z', file]);
    if (nbdfuse.exitCode === null) await new Promise((resolve) => nbdfuse.once('exit', resolve));
  });
  const hang = () => {
    nbdkit.kill('SIGSTOP');
    while (!areStopped(nbdkit.pid ?? 0)); // one of its threads may do what comes next before it hears of it
  };
  return { file, hang, goOn: () => void nbdkit.kill('SIGCONT') };
}

/** All threads of that process (proc_pid_stat(5): the state stands behind the name). */
function areStopped(pid: number): boolean {
  const states = readdirSync(`/proc/${pid}/task`).map((task) => {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2)[0];
  });
  return states.every((state) => state === 'T' || state === 't');
}

async function sizeOf(file: string): Promise<number> {
  return Number(await run('stat', ['-c', '%s', file]));
}
