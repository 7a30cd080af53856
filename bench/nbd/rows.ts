// What the bench's clients do, row by row: load.c, and nbdcopy.
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectFile } from '../../test/support/project.js';
import { type DiskName, LOAD_REGION, sparsePieces } from './disks.js';
import type { NbdServer } from './servers.js';

export type Row = { readonly title: string; readonly unit: 'requests/s' | 'MB/s' } & (LoadRow | CopyRow);

export interface LoadRow {
  readonly kind: 'load';
  /** As load.c calls it. */
  readonly mode: 'read' | 'write' | 'flushed' | 'readseq' | 'writeseq' | 'mixed';
  readonly connections: number;
  readonly depth: number;
  readonly blockBytes: number;
}

interface CopyRow {
  readonly kind: 'copy';
  readonly direction: 'out' | 'in';
}

export const SECONDS = 0.7;
const KIB = 1024;
const SMALL = { kind: 'load', unit: 'requests/s', connections: 1, blockBytes: 4 * KIB } as const;
const LARGE = { kind: 'load', unit: 'MB/s', connections: 1, depth: 8, blockBytes: 128 * KIB } as const;
const COPY = { kind: 'copy', unit: 'MB/s' } as const;

export const ROWS: readonly Row[] = [
  { ...SMALL, title: '4 KiB random read, depth 1', mode: 'read', depth: 1 },
  { ...SMALL, title: '4 KiB random read, depth 4', mode: 'read', depth: 4 },
  { ...SMALL, title: '4 KiB random read, depth 32', mode: 'read', depth: 32 },
  { ...SMALL, title: '4 KiB random write, depth 32', mode: 'write', depth: 32 },
  { ...SMALL, title: '4 KiB random write, each flushed', mode: 'flushed', depth: 1 },
  { ...LARGE, title: '128 KiB sequential read, depth 8', mode: 'readseq' },
  { ...LARGE, title: '128 KiB sequential write, depth 8', mode: 'writeseq' },
  { ...SMALL, title: '4 KiB, 70 % read, 16 connections of depth 4', mode: 'mixed', connections: 16, depth: 4 },
  { ...COPY, title: 'nbdcopy of a sparse image, out', direction: 'out' },
  { ...COPY, title: 'nbdcopy of a sparse image, in', direction: 'in' },
];

/** What a client has to say of its run. */
export interface Ran {
  readonly seconds: number;
  /** Of the payloads; holes are not counted. */
  readonly bytes: number;
  readonly operations: number;
  /** From a request to the end of its reply; nbdcopy does not tell. */
  readonly p50Us: number | undefined;
  /** CPU time of the client. */
  readonly loadSeconds: number;
}

export interface Clients {
  /** load.c, compiled. */
  readonly load: string;
  /** What is copied in. */
  readonly source: string;
}

export const COPIED_BYTES = sparsePieces().reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);

const execute = promisify(execFile);

export function compileLoad(folder: string): string {
  const program = join(folder, 'load');
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-o', program, projectFile('bench/nbd/load.c')]);
  return program;
}

export function diskFor(row: Row): DiskName {
  if (row.kind === 'load') return 'load';
  return row.direction === 'out' ? 'source' : 'target';
}

export function play(row: Row, server: NbdServer, clients: Clients): Promise<Ran> {
  return row.kind === 'load' ? playLoad(row, server, clients.load) : playCopy(row, server, clients.source);
}

/** Once before the rounds: fills the page cache and looks whether every byte came over. */
export async function rehearse(row: Row, server: NbdServer, clients: Clients): Promise<void> {
  await play(row, server, clients);
  if (row.kind === 'load') return; // load.c looks at what it reads
  const compare =
    row.direction === 'out'
      ? 'set -o pipefail; nbdcopy "$1" - | cmp - "$0"'
      : 'nbdcopy --flush "$0" "$1" && cmp "$2" "$0"';
  const disk = diskFor(row);
  await execute('bash', ['-c', compare, clients.source, uriOf(server, disk), server.diskOf(disk).file]);
}

let seed = 0;

function playLoad(row: LoadRow, { address, diskOf }: NbdServer, load: string): Promise<Ran> {
  return loadExport(row, { address, ...diskOf('load') }, load);
}

export interface Export {
  readonly address: string;
  readonly port: number;
  readonly exportName: string;
}

/** One run of load.c. */
export async function loadExport(
  row: Omit<LoadRow, 'kind'>,
  { address, port, exportName }: Export,
  load: string,
): Promise<Ran> {
  seed += 1;
  const { stdout } = await execute(
    load,
    [
      ...[address, port, exportName, row.connections, row.depth, row.mode, row.blockBytes, SECONDS],
      ...[LOAD_REGION.firstByte, LOAD_REGION.endByte, seed],
    ].map(String),
  );
  const { seconds, operations, bytes, p50, load: loadSeconds }: Record<string, number> = JSON.parse(stdout);
  if (seconds === undefined || operations === undefined || bytes === undefined || loadSeconds === undefined) {
    throw new Error(`load said ${stdout}`);
  }
  return { seconds, operations, bytes, p50Us: p50, loadSeconds };
}

/** Bash tells what its child has used; Node doesn't. */
async function playCopy(row: CopyRow, server: NbdServer, source: string): Promise<Ran> {
  const words = row.direction === 'out' ? [uriOf(server, 'source'), 'null:'] : [source, uriOf(server, 'target')];
  const { stderr } = await execute('bash', ['-c', 'TIMEFORMAT=\'%R %U %S\'; time nbdcopy "$@"', 'bash', ...words], {
    env: { ...process.env, LC_ALL: 'C' },
  });
  const [seconds, userSeconds, systemSeconds] = stderr.trim().split(' ').map(Number);
  if (seconds === undefined || userSeconds === undefined || systemSeconds === undefined) {
    throw new Error(`nbdcopy said ${stderr}`);
  }
  return { seconds, operations: 0, bytes: COPIED_BYTES, p50Us: undefined, loadSeconds: userSeconds + systemSeconds };
}

function uriOf({ address, diskOf }: NbdServer, disk: DiskName): string {
  const { port, exportName } = diskOf(disk);
  return `nbd://${address}:${port}/${exportName}`;
}
