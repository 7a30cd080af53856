// The NBD servers that are compared: all serve the same bytes out of files of their own, each at an address of its own of
// this machine.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Ending, whenOver } from '../../test/support/cleanup.js';
import { until } from '../../test/support/commands.js';
import { without } from '../../test/support/programs.js';
import { projectFile } from '../../test/support/project.js';
import { copyDisks, DISK_NAMES, type DiskFiles, type DiskName } from './disks.js';
import type { PeerName } from './target.js';

export interface NbdServer {
  readonly name: 'Brambleboot' | PeerName;
  /** With its version. */
  readonly title: string;
  readonly address: string;
  diskOf(name: DiskName): ServedDisk;
}

export interface ServedDisk {
  readonly file: string;
  readonly port: number;
  readonly exportName: string;
  /** Of the process that serves it; it may have children. */
  readonly pid: number;
}

export interface NbdPlace {
  readonly ending: Ending;
  /** A folder for each server is made in it. */
  readonly folder: string;
  /** To be copied for each of them, in the same way: what lies in memory in large pieces is written to more slowly. */
  readonly disks: DiskFiles;
}

const FIRST_PORT = 42_831;

export async function startOurs(place: NbdPlace, nodeArguments: string): Promise<NbdServer> {
  const { ending } = place;
  const { folder, disks } = filesFor(place, 'brambleboot');
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: lo, state: ./state }
dhcp: { enabled: false }
tftp: { enabled: false }
nbd: { port: ${FIRST_PORT} }
http: { enabled: false }
images:
${DISK_NAMES.map((name) => `  ${name}: { file: ${disks[name]} }`).join('\n')}
boards:
${DISK_NAMES.map((name, index) => `  ${name}: { serial: "1000000${index}", image: ${name}, disk: direct }`).join('\n')}
`,
  );
  const log = join(folder, 'log');
  const words = [...nodeArguments.split(' ').filter(Boolean), projectFile('dist/main.js'), 'serve', '--config', config];
  const pid = start(ending, log, process.execPath, words);
  await untilReady(log);
  const diskOf = (name: DiskName) => ({ file: disks[name], port: FIRST_PORT, exportName: name, pid });
  return { name: 'Brambleboot', title: 'Brambleboot', address: '127.0.0.1', diskOf };
}

/** The log is gone with the folder, so it is told. */
export async function untilReady(log: string): Promise<void> {
  const said = () => readFileSync(log, 'utf8');
  await until(() => said().includes('server.ready'), 'our server').catch((error: unknown) => {
    throw new Error(`${String(error)}, which said:\n${said()}`);
  });
}

/** Those that are on this machine; says which are not. */
export async function startPeers(place: NbdPlace): Promise<readonly NbdServer[]> {
  const starters = [startNbdServer, startNbdkit, startQemuNbd];
  const peers: NbdServer[] = [];
  for (const startPeer of starters) {
    const peer = await startPeer(place);
    if (peer === undefined) continue;
    for (const name of DISK_NAMES) await until(() => answers(peer, name), peer.title);
    peers.push(peer);
  }
  return peers;
}

/** It goes into the background, and forks a process for each connection. */
async function startNbdServer(place: NbdPlace): Promise<NbdServer | undefined> {
  if (isMissing('nbd-server', 'nbd-server')) return undefined;
  const address = '127.109.0.1';
  const { folder, disks } = filesFor(place, 'nbd-server');
  const [config, pidFile] = [join(folder, 'config'), join(folder, 'pid')];
  const exports = DISK_NAMES.map((name) => `[${name}]\nexportname = ${disks[name]}\nflush = true\nfua = true\n`);
  writeFileSync(config, `[generic]\nlistenaddr = ${address}\nport = ${FIRST_PORT}\n${exports.join('')}`);
  start(place.ending, join(folder, 'log'), 'nbd-server', ['-C', config, '-p', pidFile]);
  await until(() => pidIn(pidFile) > 0, 'nbd-server');
  const pid = pidIn(pidFile);
  whenOver(place.ending, () => {
    process.kill(pid, 'SIGTERM');
  });
  const diskOf = (name: DiskName) => ({ file: disks[name], port: FIRST_PORT, exportName: name, pid });
  return { name: 'nbd-server', title: `nbd-server ${versionOf('nbd-server', '-V')}`, address, diskOf };
}

async function startNbdkit(place: NbdPlace): Promise<NbdServer | undefined> {
  if (isMissing('nbdkit', 'nbdkit')) return undefined;
  const address = '127.109.0.2';
  const { folder, disks } = filesFor(place, 'nbdkit');
  const diskOf = oneProcessEach(disks, (name, port) => {
    const words = ['--foreground', '--ipaddr', address, '--port', String(port), 'file', disks[name]];
    return start(place.ending, join(folder, `${name}.log`), 'nbdkit', words);
  });
  return { name: 'nbdkit', title: `nbdkit ${versionOf('nbdkit', '--version')}`, address, diskOf };
}

async function startQemuNbd(place: NbdPlace): Promise<NbdServer | undefined> {
  if (isMissing('qemu-nbd', 'qemu-utils')) return undefined;
  const address = '127.109.0.3';
  const { folder, disks } = filesFor(place, 'qemu-nbd');
  const diskOf = oneProcessEach(disks, (name, port) => {
    const serving = ['-t', '-e', '0', '-f', 'raw', '--cache=writeback', '-x', name];
    const words = [...serving, '-b', address, '-p', String(port), disks[name]];
    return start(place.ending, join(folder, `${name}.log`), 'qemu-nbd', words);
  });
  return { name: 'qemu-nbd', title: `qemu-nbd ${versionOf('qemu-nbd', '--version')}`, address, diskOf };
}

function filesFor(
  { folder, disks }: NbdPlace,
  peer: PeerName | 'brambleboot',
): { readonly folder: string; readonly disks: DiskFiles } {
  const own = join(folder, peer);
  mkdirSync(own);
  return { folder: own, disks: copyDisks(disks, own) };
}

function oneProcessEach(
  disks: DiskFiles,
  startFor: (name: DiskName, port: number) => number,
): (name: DiskName) => ServedDisk {
  const served = new Map<DiskName, ServedDisk>();
  for (const [index, name] of DISK_NAMES.entries()) {
    const port = FIRST_PORT + index;
    served.set(name, { file: disks[name], port, exportName: name, pid: startFor(name, port) });
  }
  return (name) => {
    const disk = served.get(name);
    if (disk === undefined) throw new Error(`no server for the disk ${name}`);
    return disk;
  };
}

function isMissing(program: PeerName, debianPackage: string): boolean {
  const why = without(program, debianPackage);
  if (why !== false) console.log(`not compared: ${program}, ${why}`);
  return why !== false;
}

function versionOf(program: PeerName, option: string): string {
  const said = execFileSync(program, [option], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  return /\d+\.\d+[\d.]*/.exec(said)?.[0] ?? '';
}

/** 0 as long as there is none. */
function pidIn(path: string): number {
  try {
    return Number(readFileSync(path, 'latin1'));
  } catch {
    return 0;
  }
}

/** Whether it takes a connection. */
async function answers(server: NbdServer, name: DiskName): Promise<boolean> {
  const socket = connect(server.diskOf(name).port, server.address);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** What it says goes into a file: a pipe would have to be read, by a process of ours that costs CPU time. */
export function start(ending: Ending, log: string, program: string, words: readonly string[]): number {
  const output = openSync(log, 'w');
  const child = spawn(program, words, { stdio: ['ignore', output, output] });
  whenOver(ending, async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM'); // not SIGKILL: a profile is written at the end
    await ended;
  });
  if (child.pid === undefined) throw new Error(`${program} did not start`);
  return child.pid;
}
