/**
 * Every key that an inventory may have: what it takes and means. The messages are made from it, the compiler checks the
 * schema against it (`Shape` below), and a test reads docs/config.md against it.
 */

/** One row; each text is part of a sentence, without markup other than backticks. */
export interface KeyReference {
  /** "port takes …". */
  readonly expects: string;
  /** A value as it would stand in the file. */
  readonly example: string;
  /** What holds without the key, as it would stand in the file or in words; undefined: the key is needed. */
  readonly default: string | undefined;
  readonly meaning: string;
}

const PORT = 'a whole number from 1 to 65535';
const SWITCH = 'true or false';
const PARTITION = 'auto or a partition number from 1 to 128';

/** `*` stands for the name of an image or a board. */
export const KEYS = {
  'server.interface': {
    expects: 'an interface name or a list of them',
    example: 'eth0',
    default:
      'every interface that is up and has an IPv4 address and a MAC, without loopback, `docker*`, `br-<hex>`, `veth*`, `tun*`, `wg*`',
    meaning: 'Interfaces whose boards are served: with DHCP, files and disks.',
  },
  'server.address': {
    expects: 'an IPv4 address, or one for each interface',
    example: '192.168.1.10',
    default: 'the primary address of the interface that the request came in on',
    meaning:
      'What boards are told to ask for their files. A mapping gives each interface its own: `{ eth0: 192.168.1.10, eth1: 10.0.0.1 }`.',
  },
  'server.state': {
    expects: 'a folder',
    example: './state',
    default: './state',
    meaning:
      'Folder for what must outlive the process, and for its control socket; made if missing. Relative to the inventory.',
  },
  'server.allow': {
    expects: 'an address, a network (CIDR), or a list of them',
    example: '[192.168.2.0/24, 10.0.0.7]',
    default: '[]',
    meaning:
      'Who is answered by TFTP, NBD and HTTP besides this machine itself and the subnets of the served interfaces, such as a Prometheus in another network.',
  },
  'server.on_full': {
    expects: 'wait or error',
    example: 'wait',
    default: 'wait',
    meaning:
      'What becomes of writes that the filesystem under a disk has no space for. `wait`: they are held until there is space, and the board waits with them. `error`: the board is told, and a Linux board then makes its root read-only for good.',
  },
  'server.state_limit': {
    expects: 'a size such as 200GiB',
    example: '200GiB',
    default: 'what the filesystem has',
    meaning:
      "How much space the boards' disks and snapshots in the state folder may take together. What would need more meets a full disk (`on_full`).",
  },
  'server.handover_limit': {
    expects: 'a duration such as 10min',
    example: '10min',
    default: '10min',
    meaning:
      'How long boards that are attached wait for the server while it is restarted. What was stopped longer ago is not gone on with: a Linux kernel gives up after about 15 minutes.',
  },
  'server.watch': {
    expects: SWITCH,
    example: 'true',
    default: 'false',
    meaning:
      'Whether to reload this file by itself when it has changed. Without it a reload is asked for: `brambleboot reload`, or SIGHUP.',
  },
  'dhcp.enabled': {
    expects: SWITCH,
    example: 'true',
    default: 'true',
    meaning: 'Whether to answer the DHCP requests of boards. It never gives out an address: the router does.',
  },
  'dhcp.port': { expects: PORT, example: '67', default: '67', meaning: 'UDP port to listen on.' },
  'dhcp.reply_port': { expects: PORT, example: '68', default: '68', meaning: 'UDP port that answers go to.' },
  'dhcp.answer': {
    expects: 'known or any',
    example: 'known',
    default: 'known',
    meaning:
      '`known`: only boards of this inventory. `any`: every Pi gets an offer, so that its requests can be seen and decoded; a board that is not listed still gets no file and no disk.',
  },
  'tftp.enabled': { expects: SWITCH, example: 'true', default: 'true', meaning: 'Whether to serve boot files.' },
  'tftp.port': {
    expects: PORT,
    example: '69',
    default: '69',
    meaning: 'UDP port to listen on. A Pi knows no other than 69.',
  },
  'tftp.block_size_max': {
    expects: 'a whole number from 8 to 65464',
    example: '1468',
    default: '1468',
    meaning:
      'Largest block size (RFC 2348, in bytes) that is agreed to. 1468 fits an Ethernet frame; more means IP fragments, which a boot loader may not put together.',
  },
  'tftp.window_size_max': {
    expects: 'a whole number from 1 to 64',
    example: '64',
    default: '64',
    meaning: 'Largest window (RFC 7440, in blocks) that is agreed to. A board has to ask for one.',
  },
  'tftp.single_port': {
    expects: SWITCH,
    example: 'false',
    default: 'false',
    meaning:
      '`true`: transfers go on from `tftp.port` instead of a port of their own, for firewalls that let only that one through.',
  },
  'nbd.enabled': { expects: SWITCH, example: 'true', default: 'true', meaning: 'Whether to serve disks.' },
  'nbd.port': { expects: PORT, example: '10809', default: '10809', meaning: 'TCP port to listen on.' },
  'nbd.socket': {
    expects: 'a path',
    example: '/run/brambleboot/nbd.sock',
    default: 'nothing',
    meaning:
      'Unix socket to listen on besides, for programs on this host; its owner and group may connect. Relative to the inventory.',
  },
  'nbd.tls.mode': {
    expects: 'off, allowed or required',
    example: 'required',
    default: 'off',
    meaning:
      'Whether disks are served over TLS. `allowed`: to who asks for it, and without. `required`: to nobody without. A board may say otherwise (`boards.NAME.tls`). Who comes by `nbd.socket` needs none.',
  },
  'nbd.tls.certificate': {
    expects: 'a path',
    example: 'tls/server-cert.pem',
    default: 'nothing',
    meaning:
      "PEM file with the server's certificate, and behind it those that it was issued by, without the last. Relative to the inventory, as all of these; read when the server starts and at each reload.",
  },
  'nbd.tls.key': {
    expects: 'a path',
    example: 'tls/server-key.pem',
    default: 'nothing',
    meaning: 'PEM file with the key of that certificate, without a passphrase.',
  },
  'nbd.tls.client_ca': {
    expects: 'a path',
    example: 'tls/ca-cert.pem',
    default: 'nothing',
    meaning:
      'PEM file with the CAs whose certificates clients must show. One is for the board that it names, and for no other; without `client_ca` clients are not asked who they are.',
  },
  'nbd.tls.psk': {
    expects: 'a path',
    example: 'tls/keys.psk',
    default: 'nothing',
    meaning:
      "File with a key for each board, as GnuTLS's psktool writes it (`NAME:HEXKEY`): TLS without certificates. A key is for the board of that name, and for no other.",
  },
  'http.enabled': {
    expects: SWITCH,
    example: 'true',
    default: 'true',
    meaning: 'Whether to serve metrics, health and the status page.',
  },
  'http.address': {
    expects: 'an IP address',
    example: '127.0.0.1',
    default: '0.0.0.0',
    meaning: 'Address that metrics and the status page are served on; `127.0.0.1` keeps them on this machine.',
  },
  'http.port': { expects: PORT, example: '9069', default: '9069', meaning: 'TCP port to listen on.' },
  'images.*.file': {
    expects: 'a path',
    example: 'images/noble.img',
    default: undefined,
    meaning: 'A disk image, or a block device. Relative to the inventory; symbolic links are followed.',
  },
  'images.*.boot_partition': {
    expects: PARTITION,
    example: '1',
    default: 'auto',
    meaning: 'Partition that boot files come from. `auto`: the first that holds a FAT.',
  },
  'images.*.root_partition': {
    expects: PARTITION,
    example: '2',
    default: 'auto',
    meaning: 'Partition that becomes `root=/dev/nbd0pN`. `auto`: the first that holds no FAT.',
  },
  'boards.*.serial': {
    expects: '1 to 16 hex digits',
    example: 'bf9fed6f',
    default: undefined,
    meaning:
      'Serial number, from `/proc/cpuinfo` or from the log line of a board that is not listed. The last 8 digits count, zeroes in front may be left out, case does not matter.',
  },
  'boards.*.mac': {
    expects: 'a MAC address',
    example: 'dc:a6:32:01:02:03',
    default: 'none; for a Pi 1 to 3 it follows from the serial',
    meaning:
      'Ethernet address, with colons or dashes. Needed for a board that asks by it (`TFTP_PREFIX=2`) or says neither serial nor prefix.',
  },
  'boards.*.image': {
    expects: 'the name of an image',
    example: 'noble',
    default: undefined,
    meaning: 'What the board boots: a name under `images`.',
  },
  'boards.*.disk': {
    expects: 'direct, overlay or volatile',
    example: 'overlay',
    default: 'direct',
    meaning:
      '`direct`: the board writes to the image file itself, so only one board may use that image. `overlay`: what it writes is kept in the state folder; the image stays as it is, and other boards may lie over it too. `volatile`: as `overlay`, but thrown away when the board boots anew.',
  },
  'boards.*.size': {
    expects: 'a size such as 32GiB',
    example: '32GiB',
    default: 'that of the image',
    meaning:
      'How large the board finds its disk, for `overlay` and `volatile`: more than the image has, which is not touched. It takes no space until it is written to.',
  },
  'boards.*.allow': {
    expects: 'an address, a network (CIDR), or a list of them',
    example: '[192.168.1.21, 192.168.1.0/28]',
    default: 'whoever the server answers',
    meaning:
      "Who may use this board's disk over the network, and see it in a list of disks; this machine too has to be named. It only narrows: others are let in by `server.allow`.",
  },
  'boards.*.tls': {
    expects: 'off, allowed or required',
    example: 'off',
    default: 'what `nbd.tls.mode` says',
    meaning:
      "Whether this board's disk is served over TLS: `off`, only without; `allowed`, either way; `required`, only with.",
  },
  'boards.*.cmdline': {
    expects: 'auto, as-is, or changes (append, remove)',
    example: 'auto',
    default: 'auto',
    meaning:
      "The kernel's command line. `auto`: the image's `cmdline.txt` with the arguments put in that boot from this server and, for `overlay` and `volatile`, give the board a hostname and a machine id of its own. `as-is`: the file untouched. A mapping: as `auto`, with the changes below.",
  },
  'boards.*.cmdline.append': {
    expects: 'kernel arguments on one line',
    example: 'console=ttyS0',
    default: 'nothing',
    meaning: 'Arguments to put at the end. Inside `{ }` a value with a comma needs quotes.',
  },
  'boards.*.cmdline.remove': {
    expects: 'a list of kernel arguments',
    example: '[quiet, splash]',
    default: 'nothing',
    meaning: 'Arguments to leave out, each a word as it stands in `cmdline.txt` (`quiet`, `console=serial0,115200`).',
  },
} as const satisfies Readonly<Record<string, KeyReference>>;

/** What stands above those keys. */
export const SECTIONS = {
  server: { expects: 'keys with values', example: '{ state: ./state }' },
  dhcp: { expects: 'keys with values', example: '{ answer: known }' },
  tftp: { expects: 'keys with values', example: '{ block_size_max: 1468 }' },
  nbd: { expects: 'keys with values', example: '{ port: 10809 }' },
  'nbd.tls': {
    expects: 'keys with values (mode, certificate, …)',
    example: '{ mode: allowed, psk: tls/keys.psk }',
  },
  http: { expects: 'keys with values', example: '{ port: 9069 }' },
  images: { expects: 'names of images, each with its keys beneath', example: '{ noble: { file: images/noble.img } }' },
  'images.*': { expects: 'keys with values (file, …)', example: '{ file: images/noble.img }' },
  boards: {
    expects: 'names of boards, each with its keys beneath',
    example: '{ node1: { serial: bf9fed6f, image: noble } }',
  },
  'boards.*': { expects: 'keys with values (serial, image, …)', example: '{ serial: bf9fed6f, image: noble }' },
} as const satisfies Readonly<Record<string, Pick<KeyReference, 'expects' | 'example'>>>;

/** Keys whose meaning is settled but not built: what the user would get. Not part of the documentation until then. */
export const NOT_YET: Readonly<Record<string, string>> = {};

/** A zod shape with exactly the keys that the table has directly under a prefix. */
export type Shape<Prefix extends string, Value> = Readonly<Record<KeyUnder<Prefix>, Value>>;

type KeyUnder<Prefix extends string> = {
  [Pattern in keyof typeof KEYS]: Pattern extends `${Prefix}.${infer Key}`
    ? Key extends `${string}.${string}`
      ? never
      : Key
    : never;
}[keyof typeof KEYS];

/** `['boards', 'node1', 'serial']` → `boards.*.serial`: names are the user's own. */
export function patternOf(path: readonly string[]): string {
  const named = path[0] === 'images' || path[0] === 'boards';
  return path.map((part, index) => (named && index === 1 ? '*' : part)).join('.');
}

/** What belongs at a path; for an item of a list, what belongs at the list. */
export function referenceOf(
  path: readonly string[],
): Pick<KeyReference, 'expects' | 'example' | 'default'> | undefined {
  const pattern = patternOf(path);
  const rows: Readonly<Record<string, Pick<KeyReference, 'expects' | 'example'> & Partial<KeyReference>>> = {
    ...SECTIONS,
    ...KEYS,
  };
  const row = Object.hasOwn(rows, pattern) ? rows[pattern] : undefined;
  if (row !== undefined) return { ...row, default: row.default };
  return path.length > 1 ? referenceOf(path.slice(0, -1)) : undefined;
}

/** The keys directly under a path, in the table's order: `[]` gives the sections. */
export function keysUnder(path: readonly string[]): readonly string[] {
  const prefix = path.length === 0 ? '' : `${patternOf(path)}.`;
  const below = [...Object.keys(SECTIONS), ...Object.keys(KEYS)]
    .filter((pattern) => pattern.startsWith(prefix))
    .map((pattern) => pattern.slice(prefix.length))
    .filter((key) => !key.includes('.') && key !== '*');
  return [...new Set(below)];
}

/** The patterns of every place where a key of this name belongs. */
export function homesOf(key: string): readonly string[] {
  return Object.keys(KEYS).filter((pattern) => pattern.endsWith(`.${key}`));
}
