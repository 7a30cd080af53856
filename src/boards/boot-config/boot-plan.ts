import { BOOT_NAMES_MAX, BOOT_PREFIXES_MAX } from '../../base/limits.js';
import { foldName } from '../../disk/fat/names.js';
import { type BootConfig, type ConfigSetting, foldPath, type ReadBootFile, readBootConfig } from './config-files.js';

/**
 * What a board that boots from this partition may ask for, whatever its model, its buttons and its tryboot flag: the union
 * over every section of config.txt, tryboot.txt and what they include, times every `os_prefix`. A superset on purpose: which
 * sections hold is decided in the board, and a cmdline.txt that is missed here boots from a disk that isn't there.
 *
 * Paths go in and out in any case, with or without a leading slash; the lists hold them folded (see `foldPath`).
 */
export interface BootPlan {
  /** Whether this file is read as the kernel's arguments: the one that is rewritten. */
  isCmdline(path: string): boolean;
  /** Whether this file may be the kernel, or the `boot.img` that holds it: reading it whole is a sign of boot. */
  isKernel(path: string): boolean;
  readonly cmdlinePaths: readonly string[];
  readonly kernelPaths: readonly string[];
  readonly initramfsPaths: readonly string[];
  /** Sentences for people, about the image. */
  readonly warnings: readonly string[];
}

/**
 * What start*.elf and the bootloaders look for when `kernel=` is not set, by model and `arm_64bit` (Raspberry Pi
 * documentation, "kernel", and the requests seen from each generation); `kernel8-32.img` is asked for by start.elf.
 */
const DEFAULT_KERNELS: readonly string[] = [
  'kernel.img',
  'kernel7.img',
  'kernel7l.img',
  'kernel8.img',
  'kernel8-32.img',
  'kernel_2712.img',
];

/** With `boot_ramdisk=1` or a signed boot this is fetched in place of all other files, and the kernel is inside. */
const BOOT_RAMDISKS = ['boot.img', 'tryboot.img'];

/** The firmware makes the reset with the tryboot flag set read this in place of config.txt. */
const CONFIG_NAMES = ['config.txt', 'tryboot.txt'];

export async function readBootPlan(read: ReadBootFile): Promise<BootPlan> {
  const configs: BootConfig[] = [];
  for (const name of CONFIG_NAMES) configs.push(await readBootConfig(name, read));
  return planBoot(configs);
}

export function planBoot(configs: readonly BootConfig[]): BootPlan {
  const settings = configs.flatMap((config) => config.settings);
  const warnings = new Set(configs.flatMap((config) => config.warnings));
  const files = new Set(configs.flatMap((config) => config.files));
  const atMost = (names: Iterable<string>, largest: number, what: string): string[] => {
    const all = [...new Set(names)];
    if (all.length > largest) warnings.add(`config.txt names ${all.length} ${what}: only ${largest} were looked at`);
    return all.slice(0, largest);
  };

  const prefixes = atMost(osPrefixes(settings), BOOT_PREFIXES_MAX, 'os_prefix values');
  const kernels = atMost([...DEFAULT_KERNELS, ...valuesOf(settings, 'kernel')], BOOT_NAMES_MAX, 'kernels');
  const cmdlines = atMost(['cmdline.txt', ...valuesOf(settings, 'cmdline')], BOOT_NAMES_MAX, 'cmdline files');
  const ramdisks = atMost(initramfsNames(settings, kernels), BOOT_NAMES_MAX, 'initramfs files');

  // A `cmdline=config.txt` would have the board's configuration rewritten: what is read as that stays as it is.
  const cmdlinePaths = prefixed(prefixes, cmdlines).filter((path) => !files.has(path));
  const kernelPaths = [...prefixed(prefixes, kernels), ...BOOT_RAMDISKS];
  return {
    isCmdline: membership(cmdlinePaths),
    isKernel: membership(kernelPaths),
    cmdlinePaths,
    kernelPaths,
    initramfsPaths: prefixed(prefixes, ramdisks),
    warnings: [...warnings],
  };
}

/** Where `auto_initramfs=1` looks for a kernel of this name: `kernel8.img` → `initramfs8`. Undefined for `vmlinuz`. */
export function autoInitramfs(kernel: string): string | undefined {
  const [, folder = '', rest] = /^(.*\/)?kernel([^/]*?)(\.[^./]*)?$/i.exec(kernel) ?? [];
  return rest === undefined ? undefined : `${folder}initramfs${rest}`;
}

/** `initramfs a.gz,b.gz followkernel`, and the older `ramfsfile=a.gz,b.gz`: the names, in order. */
export function initramfsList(value: string): readonly string[] {
  const [list = ''] = value.split(/\s+/);
  return list.split(',').filter((name) => name !== '');
}

/** `name` under `prefix`, unless it begins with a slash: then it bypasses every prefix (documentation, "os_prefix"). */
export function underPrefix(prefix: string, name: string): string {
  return foldPath(name.startsWith('/') ? name : prefix + name);
}

function osPrefixes(settings: readonly ConfigSetting[]): readonly string[] {
  const upstream = settings.some(({ key, value }) => key === 'upstream_kernel' && value !== '0') ? ['upstream/'] : [];
  // The firmware drops a prefix under which it misses kernel or device tree: the root is always possible.
  return ['', ...valuesOf(settings, 'os_prefix'), ...upstream];
}

function initramfsNames(settings: readonly ConfigSetting[], kernels: readonly string[]): readonly string[] {
  const named = [...valuesOf(settings, 'initramfs'), ...valuesOf(settings, 'ramfsfile')].flatMap(initramfsList);
  const auto = settings.some(({ key, value }) => key === 'auto_initramfs' && value !== '0');
  if (!auto) return named;
  return [...named, ...kernels.flatMap((kernel) => autoInitramfs(kernel) ?? [])];
}

function valuesOf(settings: readonly ConfigSetting[], key: string): readonly string[] {
  return settings.filter((setting) => setting.key === key && setting.value !== '').map(({ value }) => value);
}

function prefixed(prefixes: readonly string[], names: readonly string[]): string[] {
  const paths = names.flatMap((name) => prefixes.map((prefix) => underPrefix(prefix, name)));
  // A name with `..` is refused before any file is looked for.
  return [...new Set(paths)].filter((path) => path !== '' && !path.split('/').includes('..'));
}

/** Compared as FAT compares names, so that nothing counts as one of them that FAT would not find by its name. */
function membership(paths: readonly string[]): (path: string) => boolean {
  const spelling = (path: string) => foldPath(path).split('/').map(foldName).join('/');
  const known = new Set(paths.map(spelling));
  return (path) =>
    known.has(
      path
        .split('/')
        .filter((part) => part !== '')
        .map(foldName)
        .join('/'),
    );
}
