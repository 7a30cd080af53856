// The disks that bench/overlay.ts plays against, served by us and by qemu-nbd.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import type { Ending } from '../../test/support/cleanup.js';
import { until } from '../../test/support/commands.js';
import { projectFile } from '../../test/support/project.js';
import { fillWithOffsets, LOAD_REGION } from '../nbd/disks.js';
import type { Export } from '../nbd/rows.js';
import { start, untilReady } from '../nbd/servers.js';

export interface Contestant {
  readonly title: string;
  /** In that round, with the file that takes what is written. */
  exportIn(round: number): Export & { readonly file: string };
}

export interface OverlayPlace {
  readonly ending: Ending;
  readonly folder: string;
  readonly image: string;
  readonly rounds: number;
}

const MIB = 1024 * 1024;
const PORT = 42_831;
const ADDRESS = '127.0.0.1';
/** Of which there is one in each round. */
const FIRST = ['first', 'firstLarge', 'firstFlushed'] as const;
/** The same for images themselves, of holes. */
const HOLES = ['holes', 'holesLarge', 'holesFlushed'] as const;
const ONCE = [...FIRST, ...HOLES] as const;
const TITLES: Readonly<Record<string, string>> = {
  direct: 'direct',
  fresh: 'overlay, fresh',
  halfInPieces: 'overlay, half in pieces',
  halfInBlocks: 'overlay, half in blocks',
  snapshots: 'overlay, after 3 snapshots',
  own: 'overlay, written whole',
  first: 'overlay',
  firstLarge: 'overlay',
  firstFlushed: 'overlay',
  holes: 'direct, into holes',
  holesLarge: 'direct, into holes',
  holesFlushed: 'direct, into holes',
};

export async function serveOurs(place: OverlayPlace): Promise<Record<string, Contestant>> {
  const folder = join(place.folder, 'ours');
  mkdirSync(folder);
  for (const name of ['direct', 'base']) copy(place.image, join(folder, `${name}.img`));
  const boards = ['fresh', 'half-in-pieces', 'half-in-blocks', 'snapshots', 'own', ...roundNames(FIRST, place.rounds)];
  const images = ['direct', ...roundNames(HOLES, place.rounds)];
  for (const name of images.slice(1)) makeHoles(place.image, join(folder, `${name}.img`));
  const config = join(folder, 'config.yaml');
  writeFileSync(config, inventory(boards, images));
  const log = join(folder, 'log');
  const program = projectFile('dist/main.js');
  start(place.ending, log, process.execPath, [program, 'serve', '--config', config]);
  await untilReady(log);
  await prepare(config);
  const exportOf = (board: string) => {
    const layers = images.includes(board) ? undefined : join(folder, 'state', 'disks', board);
    const file = layers === undefined ? join(folder, `${board}.img`) : join(layers, layerIn(layers));
    return { address: ADDRESS, port: PORT, exportName: board, file };
  };
  return Object.fromEntries(
    Object.entries(TITLES).map(([name, title]) => [
      name,
      { title, exportIn: (round: number) => exportOf(isOnce(name) ? `${dashed(name)}-${round}` : dashed(name)) },
    ]),
  );
}

export async function serveQcow2(place: OverlayPlace): Promise<Record<string, Contestant>> {
  const folder = join(place.folder, 'qemu');
  mkdirSync(folder);
  const base = join(folder, 'base.img');
  copy(place.image, base);
  const names = ['qcow2', 'own-qcow2', ...roundNames(FIRST, place.rounds).map((name) => `${name}-qcow2`)];
  const ports = new Map<string, number>();
  for (const [index, name] of names.entries()) {
    const file = join(folder, `${name}.qcow2`);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', file]);
    const port = PORT + 1 + index;
    const words = ['-t', '-e', '0', '-f', 'qcow2', '--cache=writeback', '-x', name, '-b', ADDRESS, '-p', String(port)];
    start(place.ending, join(folder, `${name}.log`), 'qemu-nbd', [...words, file]);
    ports.set(name, port);
  }
  const exportOf = (name: string) => {
    return { address: ADDRESS, port: ports.get(name) ?? 0, exportName: name, file: join(folder, `${name}.qcow2`) };
  };
  for (const name of names) await until(() => isThere(exportOf(name)), `qemu-nbd for ${name}`);
  await write(exportOf('own-qcow2'), everyNth(MIB, 1, 0));
  const contestant = (nameIn: (round: number) => string): Contestant => {
    return { title: 'qemu-nbd, qcow2', exportIn: (round) => exportOf(nameIn(round)) };
  };
  const once = FIRST.map((name) => [`${name}Qcow2`, contestant((round) => `${dashed(name)}-${round}-qcow2`)] as const);
  return { qcow2: contestant(() => 'qcow2'), ownQcow2: contestant(() => 'own-qcow2'), ...Object.fromEntries(once) };
}

async function prepare(config: string): Promise<void> {
  const board = (exportName: string) => ({ address: ADDRESS, port: PORT, exportName });
  await write(board('half-in-pieces'), everyNth(MIB, 2, 0));
  await write(board('half-in-blocks'), everyNth(4096, 2, 0));
  await write(board('own'), everyNth(MIB, 1, 0));
  for (const snapshot of [0, 1, 2]) {
    await write(board('snapshots'), everyNth(64 * 1024, 4, snapshot));
    const words = [projectFile('dist/main.js'), 'snapshot', 'snapshots', `s${snapshot}`, '--config', config];
    execFileSync(process.execPath, words, { stdio: 'ignore' });
  }
}

interface Piece {
  readonly offset: number;
  readonly lengthBytes: number;
}

function* everyNth(lengthBytes: number, nth: number, first: number): Generator<Piece> {
  const { firstByte, endByte } = LOAD_REGION;
  for (let offset = firstByte + first * lengthBytes; offset + lengthBytes <= endByte; offset += nth * lengthBytes)
    yield { offset, lengthBytes };
}

/** What lies there already, so that whoever reads it finds what it expects. */
async function write({ address, port, exportName }: Export, pieces: Generator<Piece>): Promise<void> {
  const disk = await (await connectNbd({ host: address, port }, systemClock)).go(exportName);
  const hands = Array.from({ length: 16 }, async () => {
    for (const { offset, lengthBytes } of pieces) {
      const bytes = new Uint8Array(lengthBytes);
      fillWithOffsets(bytes, offset);
      await disk.write(offset, bytes);
    }
  });
  await Promise.all(hands);
  await disk.flush();
  await disk.disconnect();
}

async function isThere({ address, port, exportName }: Export): Promise<boolean> {
  try {
    const disk = await (await connectNbd({ host: address, port }, systemClock)).go(exportName);
    await disk.disconnect();
    return true;
  } catch {
    return false;
  }
}

function inventory(boards: readonly string[], images: readonly string[]): string {
  const entries = boards.map((name, index) => {
    const serial = (0x2000_0000 + index).toString(16);
    return `  ${name}: { serial: "${serial}", image: base, disk: overlay }\n`;
  });
  return `server: { interface: lo, state: ./state }
dhcp: { enabled: false }
tftp: { enabled: false }
nbd: { port: ${PORT} }
http: { enabled: false }
images:
  base: { file: base.img }
${images.map((name) => `  ${name}: { file: ${name}.img }\n`).join('')}boards:
${images.map((name, index) => `  ${name}: { serial: "${(0x1000_0000 + index).toString(16)}", image: ${name}, disk: direct }\n`).join('')}${entries.join('')}`;
}

/** The one that is written to. */
function layerIn(folder: string): string {
  const [line = ''] = readFileSync(join(folder, 'disk.json'), 'utf8').split('\n');
  const { current } = JSON.parse(line);
  const found = readdirSync(folder).find((name) => name === `${current}.overlay`);
  if (found === undefined) throw new Error(`no layer in ${folder}`);
  return found;
}

function roundNames(kinds: readonly string[], rounds: number): readonly string[] {
  return kinds.flatMap((name) => Array.from({ length: rounds }, (_, round) => `${dashed(name)}-${round}`));
}

function isOnce(name: string): boolean {
  return ONCE.some((once) => once === name);
}

/** As a board may be called. */
function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** What lies in front of the load's region, and nothing behind it. */
function makeHoles(image: string, file: string): void {
  execFileSync('dd', [
    `if=${image}`,
    `of=${file}`,
    'bs=1M',
    `count=${LOAD_REGION.firstByte / MIB}`,
    'conv=sparse',
    'status=none',
  ]);
  truncateSync(file, LOAD_REGION.endByte);
}

function copy(from: string, to: string): void {
  execFileSync('cp', ['--sparse=always', '--reflink=never', from, to]);
}
