// The TFTP servers that are compared: all serve the same bytes, each at an address of its own of this machine.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openFileDevice } from '../../src/block/file-device.js';
import { slice } from '../../src/block/slice.js';
import { formatFat } from '../../src/disk/fat/format.js';
import { encodeMbr, MbrType } from '../../src/disk/partition/mbr.js';
import { type Ending, whenOver } from '../../test/support/cleanup.js';
import { until } from '../../test/support/commands.js';
import { without } from '../../test/support/programs.js';
import { projectFile } from '../../test/support/project.js';

export interface TftpPeer {
  readonly title: string;
  readonly address: string;
  readonly port: number;
  /** What to ask for to get the file of that name. */
  pathOf(file: string): string;
  readonly pid: number;
}

export interface ServedFiles {
  /** The files, extracted. */
  readonly root: string;
  /** An image with the same files in its boot partition. */
  readonly image: string;
  /** Where servers may keep what they need. */
  readonly folder: string;
  readonly ending: Ending;
}

const SERIAL = '10000000';
const MIB = 1024 * 1024;

/** MBR and FAT32 in clusters of 4 KiB. */
export async function makeImage(
  path: string,
  files: readonly { readonly path: string; readonly bytes: Uint8Array }[],
): Promise<void> {
  const bootBytes = 300 * MIB;
  writeFileSync(path, '');
  execFileSync('truncate', ['-s', String(2 * MIB + bootBytes), path]);
  const device = await openFileDevice(path, { access: 'readWrite', lock: 'exclusive' });
  const boot = { type: MbrType.Fat32, firstSector: 2048, sectorCount: bootBytes / 512, active: true };
  const root = { type: MbrType.Linux, firstSector: 2048 + bootBytes / 512, sectorCount: 2048 };
  await device.write(0, encodeMbr({ diskSignature: 1, partitions: [boot, root] }), { durable: false });
  const content = [{ path: 'config.txt', bytes: Buffer.from('kernel=whole\n') }, ...files];
  await formatFat(slice(device, MIB, bootBytes), { type: 32, sectorsPerCluster: 8, files: content });
  await device.close();
}

export async function startOurs({ image, folder, ending }: ServedFiles, nodeArguments: string): Promise<TftpPeer> {
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: lo, state: ./state }
dhcp: { enabled: false }
tftp: { port: 42069 }
nbd: { port: 42809 }
http: { enabled: false }
images: { bench: { file: ${image} } }
boards: { bench: { serial: "${SERIAL}", image: bench, disk: direct } }
`,
  );
  const log = join(folder, 'log');
  const words = [...nodeArguments.split(' ').filter(Boolean), projectFile('dist/main.js'), 'serve', '--config', config];
  const pid = start(ending, log, process.execPath, words);
  await until(() => readFileSync(log, 'utf8').includes('server.ready'), 'our server');
  return { title: 'Brambleboot', address: '127.0.0.1', port: 42_069, pathOf: (file) => `${SERIAL}/${file}`, pid };
}

/** Those that are on this machine; says which are not. */
export async function startPeers(files: ServedFiles): Promise<readonly TftpPeer[]> {
  const peers = [dnsmasq(files), tftpdHpa(files), atftpd(files)].filter((peer) => peer !== undefined);
  for (const peer of peers) await until(() => isBound(peer), peer.title);
  return peers;
}

function dnsmasq({ root, folder, ending }: ServedFiles): TftpPeer | undefined {
  if (isMissing('dnsmasq', 'dnsmasq-base')) return undefined;
  const address = '127.69.0.1';
  const config = join(folder, 'dnsmasq.conf');
  // Port 69 it is: dnsmasq has no other.
  writeFileSync(
    config,
    `port=0\nuser=root\nkeep-in-foreground\nlisten-address=${address}\nbind-interfaces\nenable-tftp\ntftp-root=${root}\ntftp-max=1000\n`,
  );
  const pid = start(ending, join(folder, 'dnsmasq.log'), 'dnsmasq', [`--conf-file=${config}`]);
  return { title: `dnsmasq ${versionOf('dnsmasq', '--version')}`, address, port: 69, pathOf: (file) => file, pid };
}

function tftpdHpa({ root, folder, ending }: ServedFiles): TftpPeer | undefined {
  if (isMissing('in.tftpd', 'tftpd-hpa')) return undefined;
  const address = '127.69.0.2';
  const words = ['--foreground', '--secure', '--address', `${address}:69`, root];
  const pid = start(ending, join(folder, 'tftpd-hpa.log'), 'in.tftpd', words);
  return { title: `tftpd-hpa ${versionOf('in.tftpd', '--version')}`, address, port: 69, pathOf: (file) => file, pid };
}

function atftpd({ root, folder, ending }: ServedFiles): TftpPeer | undefined {
  const program = atftpdProgram(folder);
  if (program === undefined) return undefined;
  const address = '127.69.0.3';
  chmodSync(root, 0o777);
  const words = ['--daemon', '--no-fork', '--user', 'root.root', '--bind-address', address, '--port', '69', root];
  const pid = start(ending, join(folder, 'atftpd.log'), program, words);
  return { title: `atftpd ${versionOf(program, '--version')}`, address, port: 69, pathOf: (file) => file, pid };
}

/** Its package and tftpd-hpa's can't be installed beside each other, so it is unpacked by itself. */
function atftpdProgram(folder: string): string | undefined {
  if (without('atftpd', 'atftpd') === false) return 'atftpd';
  try {
    execFileSync('apt-get', ['download', 'atftpd'], { cwd: folder, stdio: 'ignore' });
    const archive = readdirSync(folder).find((name) => /^atftpd_.*\.deb$/.test(name)) ?? '';
    execFileSync('dpkg', ['-x', join(folder, archive), join(folder, 'atftpd')]);
    return join(folder, 'atftpd/usr/sbin/atftpd');
  } catch (error) {
    console.log(`not compared: atftpd, whose package can't be had here (${String(error)})`);
    return undefined;
  }
}

function isMissing(program: string, debianPackage: string): boolean {
  const why = without(program, debianPackage);
  if (why !== false) console.log(`not compared: ${program}, ${why}`);
  return why !== false;
}

function versionOf(program: string, option: string): string {
  const said = execFileSync(program, [option], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  return /\d+\.\d+[\d.]*/.exec(said)?.[0] ?? '';
}

/** Local address and port as /proc/net/udp has them: hexadecimal, the address in the machine's byte order. */
function isBound({ address, port }: TftpPeer): boolean {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  const wanted = `${bytes.reverse().join('')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
  return readFileSync('/proc/net/udp', 'latin1').includes(wanted);
}

/** What it says goes into a file: a pipe would have to be read, by a process of ours that costs CPU time. */
function start(ending: Ending, log: string, program: string, words: readonly string[]): number {
  const output = openSync(log, 'w');
  const child = spawn(program, words, { stdio: ['ignore', output, output] });
  whenOver(ending, async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  });
  if (child.pid === undefined) throw new Error(`${program} did not start`);
  return child.pid;
}
