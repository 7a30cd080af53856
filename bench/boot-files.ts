// The figures that a board's boot depends on, measured on the real program: `npm run bench:boot`.
//
//   start      from the process's start to every listener ready, with 100 boards in the inventory
//   oack       from RRQ to OACK, for a 60 MB file in 4 KiB fragments whose image is in the page cache
//   first      from ACK 0 to DATA 1 of that file
//   idle, rss  resident memory, idle and with 16 clients that read that one file at once
import { execFileSync, spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFileDevice } from '../src/block/file-device.js';
import { slice } from '../src/block/slice.js';
import { strided } from '../src/disk/fat/cluster-pool.js';
import { formatFat } from '../src/disk/fat/format.js';
import { encodeMbr, MbrType } from '../src/disk/partition/mbr.js';
import { projectFile } from '../test/support/project.js';
import { watchUsage } from './process-usage.js';
import { highest, median } from './statistics.js';

const BOARDS = 100;
const CLIENTS = 16;
const ROUNDS = 15;
const FILE_BYTES = 60_000_000;
const MIB = 1024 * 1024;
const FIRST_SERIAL = 0x10000000;
const PORTS = { dhcp: 41_067, reply: 41_068, tftp: 41_069, nbd: 41_809, http: 41_090 };

// As a Pi 4 of today asks, and as it breaks off when it only wanted the size.
const REQUEST = Buffer.from(
  `\0\x01${FIRST_SERIAL.toString(16)}/initrd.img\0octet\0tsize\x000\0blksize\x001468\0`,
  'latin1',
);
const ABORT = Buffer.from('\0\x05\0\0Early terminate\0', 'latin1');

const folder = mkdtempSync(join(tmpdir(), 'brambleboot-bench-'));
try {
  await makeImage(join(folder, 'board0.img'), 512 * MIB, FILE_BYTES);
  await makeImage(join(folder, 'small.img'), 36 * MIB, 1000);
  for (let board = 1; board < BOARDS; board += 1) {
    execFileSync('cp', ['--sparse=always', join(folder, 'small.img'), join(folder, `board${board}.img`)]);
  }
  writeFileSync(join(folder, 'config.yaml'), inventory());
  await measure();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const starts: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const { child, readyMs } = await startServer();
    starts.push(readyMs);
    if (round < 4) await stop(child);
    else await measureRunning(child, starts);
  }
}

async function measureRunning(
  child: Awaited<ReturnType<typeof startServer>>['child'],
  starts: readonly number[],
): Promise<void> {
  const idle = residentMegabytes(child.pid);
  const oacks: number[] = [];
  const firsts: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { oackMs, firstMs } = await beginTransfer();
    oacks.push(oackMs);
    firsts.push(firstMs);
  }
  const before = readBytes(child.pid);
  const watch = watchUsage(child.pid ?? 0);
  const clients = Array.from({ length: CLIENTS }, () => readWhole());
  await Promise.all(clients);
  const peak = watch.stop().peakMemoryBytes / 1e6;
  const calls = readBytes(child.pid) - before;
  await stop(child);
  row('start, 100 boards, ms', starts, 1000);
  row('RRQ to OACK, ms', oacks, 5);
  row('ACK 0 to DATA 1, ms', firsts, 50);
  row('resident memory, idle, MB', [idle], 120);
  row(`resident memory, ${CLIENTS} clients of one 60 MB file, MB`, [peak], 250);
  console.log(
    `reads of the disk while ${CLIENTS} × ${FILE_BYTES / 1e6} MB were served: ${(calls / 1e6).toFixed(1)} MB`,
  );
}

function row(name: string, values: readonly number[], bound: number): void {
  const middle = median(values);
  const worst = highest(values);
  const verdict = middle <= bound ? 'within' : 'OVER';
  console.log(
    `${name.padEnd(52)} median ${middle.toFixed(1).padStart(7)}  worst ${worst.toFixed(1).padStart(7)}  bound ${bound}: ${verdict}`,
  );
}

/** MBR, FAT32 in 4 KiB clusters, every second one, so that no two pieces of a file lie together; a root partition behind. */
async function makeImage(file: string, bootBytes: number, kernelBytes: number): Promise<void> {
  writeFileSync(file, '');
  truncateSync(file, MIB + bootBytes + MIB);
  const device = await openFileDevice(file, { access: 'readWrite', lock: 'exclusive' });
  const sectors = (bytes: number) => bytes / 512;
  const boot = { type: MbrType.Fat32, firstSector: sectors(MIB), sectorCount: sectors(bootBytes), active: true };
  const root = { type: MbrType.Linux, firstSector: sectors(MIB + bootBytes), sectorCount: sectors(MIB) };
  await device.write(0, encodeMbr({ diskSignature: 1, partitions: [boot, root] }), { durable: false });
  await formatFat(slice(device, MIB, bootBytes), {
    type: 32,
    sectorsPerCluster: bootBytes > 300 * MIB ? 8 : 1,
    clusterOrder: strided(2),
    files: [
      { path: 'config.txt', bytes: Buffer.from('kernel=initrd.img\n') },
      { path: 'cmdline.txt', bytes: Buffer.from('root=LABEL=writable\n') },
      { path: 'initrd.img', bytes: new Uint8Array(kernelBytes).fill(0x5a) },
    ],
  });
  await device.close();
}

function inventory(): string {
  const numbers = Array.from({ length: BOARDS }, (_, board) => board);
  return `server: { interface: lo, state: ./state }
dhcp: { port: ${PORTS.dhcp}, reply_port: ${PORTS.reply} }
tftp: { port: ${PORTS.tftp} }
nbd: { port: ${PORTS.nbd} }
http: { address: 127.0.0.1, port: ${PORTS.http} }
images:
${numbers.map((board) => `  image${board}: { file: board${board}.img }`).join('\n')}
boards:
${numbers.map((board) => `  node${board}: { serial: ${serialOf(board)}, image: image${board}, disk: direct }`).join('\n')}
`;
}

function serialOf(board: number): string {
  return (FIRST_SERIAL + board).toString(16);
}

async function startServer() {
  const startedMs = performance.now();
  const child = spawn('node', [projectFile('dist/main.js'), 'serve', '--config', join(folder, 'config.yaml')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const readyMs = await new Promise<number>((resolve, reject) => {
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
      if (said.includes('server.ready')) resolve(performance.now() - startedMs);
    });
    child.once('exit', () => reject(new Error(`the server ended: ${said}`)));
  });
  return { child, readyMs };
}

async function stop(child: {
  kill(signal: NodeJS.Signals): boolean;
  once(event: 'exit', listener: () => void): unknown;
}): Promise<void> {
  const ended = new Promise<void>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

/** RRQ, OACK, ACK 0, DATA 1, then as a board that only wanted to know. */
async function beginTransfer(): Promise<{ readonly oackMs: number; readonly firstMs: number }> {
  const socket = await boundSocket();
  const askedMs = performance.now();
  socket.send(REQUEST, PORTS.tftp, '127.0.0.1');
  const oack = await nextPacket(socket);
  const oackMs = performance.now() - askedMs;
  const acknowledgedMs = performance.now();
  socket.send(Buffer.from([0, 4, 0, 0]), oack.port, '127.0.0.1');
  await nextPacket(socket);
  const firstMs = performance.now() - acknowledgedMs;
  socket.send(ABORT, oack.port, '127.0.0.1');
  await new Promise((resolve) => setTimeout(resolve, 30));
  socket.close();
  return { oackMs, firstMs };
}

/** The whole file, in lock-step as a board reads it. */
async function readWhole(): Promise<void> {
  const socket = await boundSocket();
  socket.send(REQUEST, PORTS.tftp, '127.0.0.1');
  await new Promise<void>((resolve) => {
    socket.on('message', (packet, from) => {
      if (packet[1] === 6) socket.send(Buffer.from([0, 4, 0, 0]), from.port, from.address);
      if (packet[1] !== 3) return;
      socket.send(Buffer.from([0, 4, packet[2] ?? 0, packet[3] ?? 0]), from.port, from.address);
      if (packet.length < 1468 + 4) resolve();
    });
  });
  socket.close();
}

async function boundSocket(): Promise<Socket> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return socket;
}

function nextPacket(socket: Socket): Promise<{ readonly port: number }> {
  return new Promise((resolve) => socket.once('message', (_, from) => resolve(from)));
}

function residentMegabytes(pid: number | undefined): number {
  const [, kilobytes = '0'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return Number(kilobytes) / 1000;
}

/** What the process has read by system calls, sockets not counted (proc(5), rchar counts files and pipes). */
function readBytes(pid: number | undefined): number {
  const [, bytes = '0'] = /rchar: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'latin1')) ?? [];
  return Number(bytes);
}
