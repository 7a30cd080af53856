import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './commands.js';
import { anyOf, without } from './programs.js';

const MEBI = 1024 * 1024;
export const PI_IMAGE_BYTES = 120 * MEBI;
export const PI_ROOT = { offset: 49 * MEBI, sizeBytes: 64 * MEBI };
/** What its root has in `/note`. */
export const PI_NOTE = 'what the image had in it\n';

/** For `makePiImage`: what it takes, and to look into what it has made. */
export function withoutPiImage(): string | false {
  return anyOf(without('sfdisk', 'fdisk'), without('mke2fs', 'e2fsprogs'), without('mformat', 'mtools'));
}

/** Two partitions, as every image of a Pi has them, and some space behind them: a FAT with a kernel, and an ext4 with a note. */
export async function makePiImage(folder: string, label: 'gpt' | 'dos'): Promise<string> {
  const [image, root, files] = [join(folder, 'pi.img'), join(folder, 'root.img'), join(folder, 'files')];
  for (const [path, bytes] of [
    [image, PI_IMAGE_BYTES],
    [root, PI_ROOT.sizeBytes],
  ] as const) {
    writeFileSync(path, '');
    truncateSync(path, bytes);
  }
  const type =
    label === 'gpt' ? { boot: 'EBD0A0A2-B9E5-4433-87C0-68B6B72699C7', root: 'linux' } : { boot: 'c', root: '83' };
  const script = `label: ${label}\nstart=1MiB, size=48MiB, type=${type.boot}\nstart=49MiB, size=64MiB, type=${type.root}\n`;
  const table = join(folder, 'table');
  writeFileSync(table, script);
  await run('sh', ['-c', 'sfdisk -q "$1" < "$2"', 'sh', image, table]);
  await run('mformat', ['-i', `${image}@@1M`, '-T', String((48 * MEBI) / 512), '-h', '64', '-s', '32', '::']);
  for (const [name, text] of [
    ['config.txt', 'kernel=kernel8.img\n'],
    ['cmdline.txt', 'console=tty1 rootwait\n'],
    ['kernel8.img', 'a kernel'],
  ] as const) {
    writeFileSync(join(folder, name), text);
    await run('mcopy', ['-i', `${image}@@1M`, join(folder, name), '::']);
  }
  mkdirSync(files);
  writeFileSync(join(files, 'note'), PI_NOTE);
  await run('mke2fs', ['-q', '-t', 'ext4', '-b', '1024', '-d', files, root]);
  await run('dd', [`if=${root}`, `of=${image}`, 'bs=1M', 'seek=49', 'conv=notrunc,sparse', 'status=none']);
  return image;
}
