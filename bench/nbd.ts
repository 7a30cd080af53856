// Our NBD beside nbd-server, nbdkit and qemu-nbd: `npm run bench:nbd`. One run, the same bytes; in each round of a row all of
// them are asked one after the other, in turn. `-- --rounds 2 --dry` for a look that leaves docs/benchmarks.md alone;
// `-- --only read` for the rows whose title has "read" in it, which leaves it alone too.
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { anyOf, without } from '../test/support/programs.js';
import { scratchFolder } from '../test/support/scratch.js';
import { LOAD_REGION, makeDisks, SPARSE } from './nbd/disks.js';
import {
  type Clients,
  COPIED_BYTES,
  compileLoad,
  diskFor,
  play,
  type Ran,
  ROWS,
  type Row,
  rehearse,
  SECONDS,
} from './nbd/rows.js';
import { detailsOf, type Figures, type MeasuredRow, sectionOf } from './nbd/sections.js';
import { type NbdServer, startOurs, startPeers } from './nbd/servers.js';
import { type Usage, watchUsage } from './process-usage.js';
import { writeSection } from './report.js';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    only: { type: 'string', default: '' },
    dry: { type: 'boolean', default: false },
    /** Arguments of node for our server: `--node="--cpu-prof --cpu-prof-dir=/tmp/profile"`. */
    node: { type: 'string', default: '' },
  },
});

const endings: (() => Promise<void>)[] = [];
const ending = { after: (action: () => Promise<void>) => void endings.push(action) };
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void finish().finally(() => process.exit(1))); // nbd-server would stay, and gigabytes of disks
}
try {
  await bench();
} finally {
  await finish();
}

async function finish(): Promise<void> {
  for (let end = endings.pop(); end !== undefined; end = endings.pop()) await end();
}

async function bench(): Promise<void> {
  const missing = anyOf(without('cc', 'gcc'), without('bash', 'bash'), without('nbdcopy', 'libnbd-bin'));
  if (missing !== false) throw new Error(`the bench ${missing}`);
  const folder = scratchFolder(ending);
  const disks = await makeDisks(folder);
  const place = { ending, folder, disks };
  const servers = [await startOurs(place, options.node), ...(await startPeers(place))];
  const clients = { load: compileLoad(folder), source: disks.source };

  const measured: MeasuredRow[] = [];
  for (const row of ROWS.filter(({ title }) => title.includes(options.only))) {
    measured.push(await measure(row, servers, clients, folder));
    console.log(`\n${measured.slice(-1).map(detailsOf)}\n`);
  }
  const section = sectionOf(measured);
  console.log(section.slice(0, section.indexOf('\n\n###')));
  if (!options.dry && options.only === '') writeSection('nbd', `${preface()}\n\n${section}`);
}

async function measure(
  row: Row,
  servers: readonly NbdServer[],
  clients: Clients,
  folder: string,
): Promise<MeasuredRow> {
  const measured = servers.map((server) => ({ server, figures: [] as Figures[] }));
  for (const server of servers) await rehearse(row, server, clients);
  execFileSync('sync', ['--file-system', folder]);
  for (let round = 0; round < Number(options.rounds); round += 1) {
    for (const index of measured.keys()) {
      const one = measured[(index + round) % measured.length];
      if (one === undefined) continue;
      const figures = await askOnce(row, one.server, clients);
      execFileSync('sync', [one.server.diskOf(diskFor(row)).file]); // or it is written back in the next one's time
      one.figures.push(figures);
      console.log(lineOf(round, row, one.server, figures));
    }
  }
  return { row, servers: measured };
}

async function askOnce(row: Row, server: NbdServer, clients: Clients): Promise<Figures> {
  const { ran, usage } = await watched(server.diskOf(diskFor(row)).pid, () => play(row, server, clients));
  return {
    speed: (row.unit === 'MB/s' ? ran.bytes / 1e6 : ran.operations) / ran.seconds,
    p50Us: ran.p50Us,
    cpuSecondsPerGigabyte: usage.cpuSeconds / (ran.bytes / 1e9),
    peakMegabytes: usage.peakMemoryBytes / 1e6,
    loadBusyPercent: (ran.loadSeconds / ran.seconds) * 100,
  };
}

async function watched(pid: number, act: () => Promise<Ran>): Promise<{ readonly ran: Ran; readonly usage: Usage }> {
  const watch = watchUsage(pid);
  try {
    const ran = await act();
    return { ran, usage: watch.stop() };
  } catch (error) {
    watch.stop();
    throw error;
  }
}

function lineOf(round: number, row: Row, server: NbdServer, figures: Figures): string {
  const latency = figures.p50Us === undefined ? '' : `p50 ${figures.p50Us.toFixed(0)} us  `;
  const speed = `${figures.speed.toFixed(0).padStart(7)} ${row.unit}`;
  const costs = `${figures.cpuSecondsPerGigabyte.toFixed(2)} s/GB  ${figures.peakMegabytes.toFixed(0)} MB`;
  return `round ${round + 1}  ${row.title.padEnd(43)} ${server.title.padEnd(17)} ${speed}  ${latency}${costs}  client busy ${figures.loadBusyPercent.toFixed(0)} %`;
}

function preface(): string {
  const regionMegabytes = (LOAD_REGION.endByte - LOAD_REGION.firstByte) / 1e6;
  return `\`npm run bench:nbd\`: ${options.rounds} rounds in one run on ${cpus().length} cores, which the clients share with the servers; in each round every server is asked in turn, over loopback, for ${SECONDS} s of the same load. Each serves the same bytes out of files of its own, which are in the page cache; what was written is on the disk before the next one's turn. nbd-server with flush and fua, nbdkit with its file plugin, qemu-nbd with \`-f raw --cache=writeback\`, all else as they come. Medians; ratios are the median of ours to theirs in each round, lowest and highest in brackets: above 1 is better. The client is one process in C that speaks simple replies as the Linux kernel does, in ${regionMegabytes.toFixed(0)} MB of the disk; it looks at what it reads. Where it is busy for nearly 100 % of the time, it is the bottleneck, and the servers differ by more than is seen. nbdcopy as it comes: it copies an image of ${(SPARSE.sizeBytes / 1e9).toFixed(1)} GB with ${(COPIED_BYTES / 1e9).toFixed(1)} GB of data in pieces of 64 KiB to 4 MiB and holes between them, out to \`null:\` or into an image of the same size; MB/s and GB are of its data, so that whoever has to be asked for the holes too is slower by that. Peak memory: of all processes of a server, shared pages in each. Node ${process.versions.node}.`;
}
