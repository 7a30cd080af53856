import { parseMac } from '../base/addresses.js';
import { INVENTORY_ALLOW_MAX, INVENTORY_FAULTS_MAX, SOCKET_PATH_BYTES_MAX } from '../base/limits.js';
import { unlessMalformed } from '../base/malformed.js';
import { parseSerial } from '../base/serial.js';
import { parseSubnet, subnetText } from '../base/subnets.js';
import { controlSocketPath, type DiskKind } from './inventory.js';
import { absolute, finding, lineOf, namesUnder, type ParsedFile, textAt } from './parsed-file.js';
import { quote, shown } from './quotation.js';
import { type SharingBoard, sharedStorage } from './shared-storage.js';
import type { Finding, KeyPath, PositionTable, SourceText } from './source.js';
import { nearest } from './suggestion.js';
import { tlsClashes } from './tls-clashes.js';
import { at, type Tree } from './tree.js';

/**
 * Values that are sound each by itself and wrong together. They are looked for in the tree, not in what the schema made of
 * it: that is nothing at all when there is one fault anywhere, and all faults are to be listed.
 */
export function findClashes(tree: Tree, positions: PositionTable, source: SourceText): readonly Finding[] {
  const file: ParsedFile = { tree, positions, source };
  return [
    ...sharedBy(file, 'serial', parseSerial, 'every board has a serial of its own: compare with its `/proc/cpuinfo`'),
    ...sharedBy(file, 'mac', parseMac, 'every board has a MAC address of its own: compare with its `ip link`'),
    ...unknownImages(file),
    ...sharedImages(file),
    ...sizedDirect(file),
    ...samePartitions(file),
    ...samePorts(file),
    ...unservedInterfaces(file),
    ...allowedTwice(file, ['server', 'allow']),
    ...boardsAllow(file),
    ...longStatePath(file),
    ...wrongNbdSocket(file),
    ...tlsClashes(file),
  ];
}

/** Two boards with one serial, or one MAC, however each is spelled. */
function sharedBy(file: ParsedFile, key: string, parse: (text: string) => string, remedy: string): readonly Finding[] {
  const first = new Map<string, string>();
  return namesUnder(file, 'boards').flatMap((board) => {
    const path = ['boards', board, key];
    const text = textAt(file, path);
    const value = text === undefined ? undefined : unlessMalformed(() => parse(text));
    if (value === undefined) return [];
    const owner = first.get(value);
    if (owner === undefined) {
      first.set(value, board);
      return [];
    }
    const line = lineOf(file, ['boards', owner, key]);
    return [
      finding(file, path, { problem: `${key} ${value} belongs to ${quote(owner)} already, on line ${line}`, remedy }),
    ];
  });
}

function unknownImages(file: ParsedFile): readonly Finding[] {
  const images = new Set(namesUnder(file, 'images'));
  const unknown = namesUnder(file, 'boards').filter((board) => {
    const image = textAt(file, ['boards', board, 'image']);
    return image !== undefined && !images.has(image);
  });
  return unknown.slice(0, INVENTORY_FAULTS_MAX).map((board) => {
    const path = ['boards', board, 'image'];
    const image = textAt(file, path) ?? '';
    const complaint = { problem: `there is no image ${quote(image)}`, remedy: knownImages(image, [...images]) };
    return { ...finding(file, path, complaint), dependsOn: 'rest' };
  });
}

function knownImages(image: string, images: readonly string[]): string {
  const meant = nearest(image, images);
  if (meant !== undefined) return `did you mean \`${shown(meant)}\`?`;
  if (images.length === 0) return 'list it under `images:`, with the `file:` it is in';
  const some = images.slice(0, 5).map(quote).join(', ');
  return `list it under \`images:\`, where there ${images.length === 1 ? 'is' : 'are'} ${some}${images.length > 5 ? ', …' : ''}`;
}

/** Boards on images that are not listed share nothing yet, and of a kind of disk that there is none of nothing is known. */
function sharedImages(file: ParsedFile): readonly Finding[] {
  const images = new Set(namesUnder(file, 'images'));
  const boards = namesUnder(file, 'boards').flatMap((name): SharingBoard[] => {
    const image = textAt(file, ['boards', name, 'image']);
    if (image === undefined || !images.has(image) || !DISK_KINDS.has(kindOf(file, name))) return [];
    const line = lineOf(file, ['boards', name, 'image']);
    return [
      {
        name,
        storage: image,
        isDirect: kindOf(file, name) === 'direct',
        shown: `${quote(name)} (line ${line})`,
        image,
      },
    ];
  });
  return sharedStorage(boards).map(({ path, complaint }) => finding(file, path, complaint));
}

const DISK_KINDS: ReadonlySet<string> = new Set<DiskKind>(['direct', 'overlay', 'volatile']);

function kindOf(file: ParsedFile, board: string): string {
  return textAt(file, ['boards', board, 'disk']) ?? 'direct';
}

function sizedDirect(file: ParsedFile): readonly Finding[] {
  const sized = namesUnder(file, 'boards').filter((board) => textAt(file, ['boards', board, 'size']) !== undefined);
  return sized
    .filter((board) => kindOf(file, board) === 'direct')
    .map((board) => {
      const complaint = {
        problem: '`size` is for overlay and volatile disks: a direct one is the image file, as large as that is',
        remedy: 'write `disk: overlay` too, or remove the line and enlarge the file itself',
      };
      return finding(file, ['boards', board, 'size'], complaint, 'key');
    });
}

function samePartitions(file: ParsedFile): readonly Finding[] {
  return namesUnder(file, 'images').flatMap((image) => {
    const boot = textAt(file, ['images', image, 'boot_partition']);
    const root = textAt(file, ['images', image, 'root_partition']);
    if (boot === undefined || boot !== root || boot === 'auto') return [];
    const complaint = {
      problem: `partition ${boot} can't be both the boot and the root partition`,
      remedy: 'look at the partitions with `fdisk -l`, or leave both at `auto`',
    };
    return [finding(file, ['images', image, 'root_partition'], complaint)];
  });
}

interface Listener {
  readonly section: string;
  readonly protocol: 'UDP' | 'TCP';
  readonly port: string;
}

const LISTENERS: readonly Listener[] = [
  { section: 'dhcp', protocol: 'UDP', port: '67' },
  { section: 'tftp', protocol: 'UDP', port: '69' },
  { section: 'nbd', protocol: 'TCP', port: '10809' },
  { section: 'http', protocol: 'TCP', port: '9069' },
];

function samePorts(file: ParsedFile): readonly Finding[] {
  const listening = LISTENERS.filter(({ section }) => textAt(file, [section, 'enabled']) !== 'false');
  const portOf = (listener: Listener) => textAt(file, [listener.section, 'port']) ?? listener.port;
  const clashes = listening.flatMap((later, index) => {
    const earlier = listening
      .slice(0, index)
      .find((other) => other.protocol === later.protocol && portOf(other) === portOf(later));
    if (earlier === undefined) return [];
    // Of the two the one that the file sets is at fault: the other may be a default.
    const culprit = file.positions.has([later.section, 'port']) ? later : earlier;
    const other = culprit === later ? earlier : later;
    const complaint = {
      problem: `\`${other.section}\` listens on ${later.protocol} port ${portOf(later)} too`,
      remedy: `give each its own; the default of \`${culprit.section}\` is ${culprit.port}`,
    };
    return [finding(file, [culprit.section, 'port'], complaint)];
  });
  return [...clashes, ...replyPort(file)];
}

function replyPort(file: ParsedFile): readonly Finding[] {
  const port = textAt(file, ['dhcp', 'port']) ?? '67';
  const reply = textAt(file, ['dhcp', 'reply_port']) ?? '68';
  if (port !== reply || textAt(file, ['dhcp', 'enabled']) === 'false') return [];
  const key = file.positions.has(['dhcp', 'reply_port']) ? 'reply_port' : 'port';
  const complaint = {
    problem: `answers to port ${reply} would come back to us: we listen on it`,
    remedy: 'leave `port` at 67 and `reply_port` at 68',
  };
  return [finding(file, ['dhcp', key], complaint)];
}

/** `server.address` names an interface that `server.interface` leaves out; and an interface listed twice. */
function unservedInterfaces(file: ParsedFile): readonly Finding[] {
  const value = at(file.tree, ['server', 'interface']);
  const served = typeof value === 'string' ? [value] : Array.isArray(value) ? value.map(String) : undefined;
  if (served === undefined) return [];
  const path = ['server', 'interface'];
  if (served.length === 0) {
    const complaint = {
      problem: 'this list is empty, so no board would be served',
      remedy: 'name an interface, or remove the line',
    };
    return [finding(file, path, complaint)];
  }
  const twice = served.flatMap((name, index) => {
    if (served.indexOf(name, served.indexOf(name) + 1) !== index) return []; // only the second of several
    const complaint = { problem: `${quote(name)} is in this list twice`, remedy: 'remove one of the two' };
    return [finding(file, [...path, String(index)], complaint)];
  });
  const address = at(file.tree, ['server', 'address']);
  const named = address instanceof Map ? [...address.keys()] : [];
  const unserved = named
    .filter((name) => !served.includes(name))
    .map((name) => {
      const meant = nearest(name, served);
      const remedy =
        meant === undefined ? `add it to \`interface:\`, or remove this line` : `did you mean \`${shown(meant)}\`?`;
      return finding(
        file,
        ['server', 'address', name],
        { problem: `${quote(name)} is not among the interfaces that are served`, remedy },
        'key',
      );
    });
  return [...twice, ...unserved];
}

/** However each is spelled: `10.0.0.1` and `::ffff:10.0.0.1/128` are one. */
function allowedTwice(file: ParsedFile, path: KeyPath): readonly Finding[] {
  const value = at(file.tree, path);
  const allow = Array.isArray(value) ? value : [];
  if (allow.length > INVENTORY_ALLOW_MAX) {
    const complaint = {
      problem: `this list has ${allow.length} entries, and ${INVENTORY_ALLOW_MAX} are the most`,
      remedy: 'write networks in place of addresses',
    };
    return [finding(file, path, complaint)];
  }
  const seen = new Set<string>();
  return allow.flatMap((item, index) => {
    const subnet = typeof item === 'string' ? parseSubnet(item) : undefined;
    if (subnet === undefined) return [];
    const text = subnetText(subnet);
    if (!seen.has(text)) {
      seen.add(text);
      return [];
    }
    const complaint = { problem: `${text} is in this list twice`, remedy: 'remove one of the two' };
    return [finding(file, [...path, String(index)], complaint)];
  });
}

function boardsAllow(file: ParsedFile): readonly Finding[] {
  return namesUnder(file, 'boards').flatMap((board) => {
    const path = ['boards', board, 'allow'];
    const value = at(file.tree, path);
    if (!Array.isArray(value) || value.length > 0) return allowedTwice(file, path);
    const complaint = {
      problem: 'this list is empty, so nobody could use the disk',
      remedy: 'name the address of the board, or remove the line: then whoever the server answers may',
    };
    return [finding(file, path, complaint)];
  });
}

function longStatePath(file: ParsedFile): readonly Finding[] {
  const path = controlSocketOf(file);
  const bytes = Buffer.byteLength(path);
  if (bytes <= SOCKET_PATH_BYTES_MAX) return [];
  const complaint = {
    problem: `the control socket would be ${quote(path)}, a path of ${bytes} bytes; Linux takes ${SOCKET_PATH_BYTES_MAX}`,
    remedy: 'choose a shorter `state:`, such as /var/lib/brambleboot',
  };
  return [finding(file, ['server', 'state'], complaint)];
}

function wrongNbdSocket(file: ParsedFile): readonly Finding[] {
  const text = textAt(file, ['nbd', 'socket']);
  if (text === undefined) return [];
  const path = absolute(file, text);
  const bytes = Buffer.byteLength(path);
  const complaint = (problem: string) => ({ problem, remedy: 'choose another, such as /run/brambleboot/nbd.sock' });
  const wrong = (problem: string) => [finding(file, ['nbd', 'socket'], complaint(problem))];
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    return wrong(`${quote(path)} is a path of ${bytes} bytes; Linux takes ${SOCKET_PATH_BYTES_MAX} for a socket`);
  }
  return path === controlSocketOf(file) ? wrong('this is the control socket, at which the command line asks') : [];
}

function controlSocketOf(file: ParsedFile): string {
  return controlSocketPath(absolute(file, textAt(file, ['server', 'state']) ?? './state'));
}
