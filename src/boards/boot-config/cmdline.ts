import type { Ipv4Address } from '../../base/addresses.js';
import { CMDLINE_BYTES_MAX } from '../../base/limits.js';
import type { TwinIdentity } from '../identity/twin.js';

/** `cmdline:` of a board in the inventory. */
export type CmdlineWish =
  | 'auto'
  | 'as-is'
  | { readonly append?: string | undefined; readonly remove?: readonly string[] | undefined };

export interface BootArgumentsOptions {
  /** Where the board's disk is: the address that its request came in on. */
  readonly address: Ipv4Address;
  /** Of our NBD server. */
  readonly port: number;
  readonly exportName: string;
  /** As Linux counts: 2 for `/dev/nbd0p2`. */
  readonly rootPartition: number;
  /** What tells the board from others on its image; undefined where there are none. */
  readonly twin: TwinIdentity | undefined;
  readonly cmdline: CmdlineWish;
}

export type CmdlineVerdict =
  | { readonly answer: 'line'; readonly text: string }
  /** With our arguments it would have this many bytes, more than CMDLINE_BYTES_MAX: the kernel would cut it. */
  | { readonly answer: 'tooLong'; readonly lengthBytes: number };

/** IANA's port for NBD: not said in the arguments, and what whoever reads them takes for granted. */
export const NBD_PORT = 10809;

/**
 * Arguments that say where the root is, and so are ours. `nbddev=` would take precedence over `root=` in the script of
 * nbd-client's package if it stood behind it. `ip=` is special: see `addressArguments`.
 */
const REPLACED: ReadonlySet<string> = new Set(['root', 'ip', 'nbdroot', 'nbddev', 'netroot']);

/**
 * The kernel arguments with which a board boots from us, made of those in the image: in place of `root=` stand
 *
 *     ip=dhcp nbdroot=ADDRESS/EXPORT netroot=nbd:ADDRESS:EXPORT root=/dev/nbd0pN
 *
 * and behind them, where the image is not this board's alone and does not say it itself,
 *
 *     systemd.hostname=NAME systemd.machine_id=ID
 *
 * `nbdroot=` is for initramfs-tools with nbd-client, `netroot=` for dracut; each ignores the other's. All else stays where it
 * is, `rootfstype=` and `rootwait` too. So do the first-boot arguments of Raspberry Pi OS (`init=…/firstboot`,
 * `init=…/init_resize.sh`, `resize`): they work on whatever `/` is mounted from, make the SSH keys that the board needs, and
 * take themselves out of the file beneath this one. Made from its own result it is the same again.
 *
 * Only the first line counts, as for the firmware (Ubuntu's README of the boot partition: "anything beyond the first line
 * is ignored"); further ones are left out. A newline at the end is there if the original had one. One character is one
 * byte (Latin-1). `as-is` is the original untouched.
 */
export function bootArguments(original: string, options: BootArgumentsOptions): CmdlineVerdict {
  if (options.cmdline === 'as-is') return { answer: 'line', text: original };
  const wish = options.cmdline === 'auto' ? {} : options.cmdline;
  const append = splitLine(asOneLine(wish.append ?? ''));
  const isRemoved = removal(wish.remove ?? []);

  const [firstLine = ''] = original.split(/[\r\n\0]/, 1);
  const line = splitLine(firstLine);
  const found = withoutTail(line.kernel, append.kernel);
  const isOurs = (argument: string) => REPLACED.has(nameOf(argument));
  const isKept = (argument: string) => !isOurs(argument) && !isRemoved(argument);
  const appendedNames = new Set(append.kernel.map(nameOf));
  const present = new Set([...found, ...line.init].map(nameOf));
  const ours = [
    ...networkRoot(found, options),
    ...twinArguments(options.twin).filter((argument) => !present.has(nameOf(argument))),
  ].filter((argument) => !appendedNames.has(nameOf(argument)) && !isRemoved(argument));

  const place = placeOfRoot(found, isOurs);
  const kernel = [
    ...found.slice(0, place).filter(isKept),
    ...ours,
    ...found.slice(place).filter(isKept),
    ...append.kernel,
  ];
  // What stands behind `--` is for init, but initramfs-tools looks for these in all of /proc/cmdline, and takes the last.
  const init = [...withoutTail(line.init, append.init).filter((argument) => !isOurs(argument)), ...append.init];
  const text =
    [...kernel, ...(init.length > 0 ? ['--', ...init] : [])].join(' ') + (/[\r\n]/.test(original) ? '\n' : '');
  return text.length <= CMDLINE_BYTES_MAX ? { answer: 'line', text } : { answer: 'tooLong', lengthBytes: text.length };
}

/** `bootArguments` from the bytes of a file to the bytes that are served in its place. */
export function virtualCmdline(
  file: Uint8Array,
  options: BootArgumentsOptions,
):
  | { readonly answer: 'file'; readonly bytes: Uint8Array }
  | { readonly answer: 'tooLong'; readonly lengthBytes: number } {
  const verdict = bootArguments(Buffer.from(file).toString('latin1'), options);
  if (verdict.answer === 'tooLong') return verdict;
  return { answer: 'file', bytes: Buffer.from(verdict.text, 'latin1') };
}

/** Arguments that only make sense once: on a disk that is thrown away they would run at every boot. */
export function firstBootArguments(original: string): readonly string[] {
  const [firstLine = ''] = original.split(/[\r\n\0]/, 1);
  return splitLine(firstLine).kernel.filter((argument) =>
    /^(init=.*\/(firstboot|init_resize\.sh)|resize|systemd\.run=.*\/firstrun\.sh)$/.test(argument),
  );
}

/** The inventory is UTF-8 and may fold a text over lines. */
function asOneLine(text: string): string {
  return Buffer.from(text, 'utf8')
    .toString('latin1')
    .replace(/[\r\n\0]/g, ' ');
}

interface SplitLine {
  readonly kernel: readonly string[];
  /** Behind `--`: for init, not for the kernel. */
  readonly init: readonly string[];
}

/** At white space outside double quotes, as Linux does (lib/cmdline.c, `next_arg`). A quote left open is closed. */
function splitLine(line: string): SplitLine {
  const found = line.match(/(?:"[^"]*(?:"|$)|[^\s"])+/g) ?? [];
  const closed = found.map((argument) => (argument.split('"').length % 2 === 0 ? `${argument}"` : argument));
  const end = closed.indexOf('--');
  return end < 0 ? { kernel: closed, init: [] } : { kernel: closed.slice(0, end), init: closed.slice(end + 1) };
}

/** Linux takes `-` and `_` in a name for the same, and an argument may be quoted as a whole. */
function nameOf(argument: string): string {
  const [name = ''] = argument.replace(/^"/, '').split('=', 1);
  return name.replaceAll('-', '_').replace(/"$/, '');
}

/** `quiet` takes `quiet` and `quiet=1` away, `console=tty1` only that one. */
function removal(remove: readonly string[]): (argument: string) => boolean {
  const wholes = new Set(remove);
  const names = new Set(
    remove
      .map((text) => text.replace(/=$/, ''))
      .filter((text) => !text.includes('='))
      .map(nameOf),
  );
  return (argument) => wholes.has(argument) || names.has(nameOf(argument));
}

/** So that what is appended is not appended a second time to a line that has it. */
function withoutTail(found: readonly string[], tail: readonly string[]): readonly string[] {
  const start = found.length - tail.length;
  const ends = start >= 0 && tail.every((argument, index) => found[start + index] === argument);
  return ends ? found.slice(0, start) : found;
}

/** Index of `root=`; without one, of the first argument that we replace; without any, the end. */
function placeOfRoot(found: readonly string[], isOurs: (argument: string) => boolean): number {
  const root = found.findIndex((argument) => nameOf(argument) === 'root');
  const place = root >= 0 ? root : found.findIndex(isOurs);
  return place >= 0 ? place : found.length;
}

function networkRoot(found: readonly string[], options: BootArgumentsOptions): readonly string[] {
  const { address, port, exportName, rootPartition } = options;
  const server = port === NBD_PORT ? address : `${address}:${port}`;
  return [
    ...addressArguments(found),
    `nbdroot=${server}/${exportName}`,
    `netroot=${dracutNetroot(options)}`,
    `root=/dev/nbd0p${rootPartition}`,
  ];
}

/** systemd takes either before what lies in /etc (hostname(5), machine-id(5)); whatever else is init does not know them. */
function twinArguments(twin: TwinIdentity | undefined): readonly string[] {
  return twin === undefined ? [] : [`systemd.hostname=${twin.hostname}`, `systemd.machine_id=${twin.machineId}`];
}

/** Values of `ip=` with which an initramfs would bring up no IPv4 at all. */
const NO_IPV4: ReadonlySet<string> = new Set(['', 'off', 'none', 'dhcp6', 'auto6', 'either6', 'link6', 'link-local']);

/**
 * An `ip=` that is there already was put there by somebody who needs it (a fixed address, one of two interfaces), and stays,
 * once; one that brings up no IPv4 would leave the board without its disk.
 */
function addressArguments(found: readonly string[]): readonly string[] {
  const present = found.filter(
    (argument) => nameOf(argument) === 'ip' && !NO_IPV4.has(argument.replace(/^"?ip=?/, '').replaceAll('"', '')),
  );
  return present.length > 0 ? [...new Set(present)] : ['ip=dhcp'];
}

/**
 * dracut's `nbd:SERVER:PORT|EXPORT[:FSTYPE[:MOUNTFLAGS[:NBDOPTIONS]]]`: one field for port or export, a number being a port
 * (modules.d/nbd/nbdroot.sh). Whoever needs both, or has an export called `42`, gives the export among the options, which
 * go to nbd-client as they are. The file system is the one of `root=`, so `auto` is of no consequence.
 */
function dracutNetroot({ address, port, exportName }: BootArgumentsOptions): string {
  const plain = port === NBD_PORT && !/^\d+$/.test(exportName);
  return plain ? `nbd:${address}:${exportName}` : `nbd:${address}:${port}:auto::-name,${exportName}`;
}
