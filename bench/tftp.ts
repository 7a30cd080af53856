// Our TFTP beside dnsmasq, tftpd-hpa and atftpd: `npm run bench:tftp`. One run, the same file, each row of each round asks all
// of them one after the other, in turn. As root: they have port 69. `-- --rounds 3 --dry` for a look that leaves
// docs/benchmarks.md alone; `-- --only 16` for the rows whose title has "16" in it.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { anyOf, without, withoutRoot } from '../test/support/programs.js';
import { projectFile } from '../test/support/project.js';
import { noise } from '../test/support/random.js';
import { scratchFolder } from '../test/support/scratch.js';
import { type Usage, watchUsage } from './process-usage.js';
import { table, writeSection } from './report.js';
import { highest, lowest, median, medianOfRatios } from './statistics.js';
import { makeImage, startOurs, startPeers, type TftpPeer } from './tftp/servers.js';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    only: { type: 'string', default: '' },
    dry: { type: 'boolean', default: false },
    /** Arguments of node for our server: `--node="--cpu-prof --cpu-prof-dir=/tmp/profile"`. */
    node: { type: 'string', default: '' },
  },
});

interface Row {
  readonly title: string;
  readonly clients: number;
  readonly windowSize: number;
}

const BLOCK_BYTES = 1468;
/** What a client reads; many read less each, so that a row takes about as long. */
const FILES = { whole: 40_000_000, part: 16_000_000 } as const;

const ROWS: readonly Row[] = [
  { title: 'one client', clients: 1, windowSize: 1 },
  { title: '16 clients', clients: 16, windowSize: 1 },
  { title: 'one client, windowsize 16', clients: 1, windowSize: 16 },
  { title: '16 clients, windowsize 16', clients: 16, windowSize: 16 },
  { title: 'one client, windowsize 64', clients: 1, windowSize: 64 },
  { title: '16 clients, windowsize 64', clients: 16, windowSize: 64 },
];

interface Figures {
  readonly megabytesPerSecond: number;
  readonly turnaroundUs: number;
  readonly cpuSecondsPerGigabyte: number;
  readonly peakMegabytes: number;
  readonly loadBusyPercent: number;
  readonly resends: number;
}

const execute = promisify(execFile);

const endings: (() => Promise<void>)[] = [];
const ending = { after: (action: () => Promise<void>) => void endings.push(action) };
try {
  await bench();
} finally {
  for (const end of endings) await end();
}

async function bench(): Promise<void> {
  const missing = anyOf(withoutRoot(), without('cc', 'gcc'));
  if (missing !== false) throw new Error(`the bench ${missing}`);
  const folder = scratchFolder(ending);
  const load = compileLoad(folder);
  const { root, image } = await makeFiles(folder);
  const served = { root, image, folder, ending };
  const ours = await startOurs(served, options.node);
  const servers = [ours, ...(await startPeers(served))];

  const sections: string[] = [];
  for (const row of ROWS.filter(({ title }) => title.includes(options.only))) {
    const able = row.windowSize === 1 ? servers : await thoseWithWindows(load, servers, root);
    sections.push(report(row, able, await measure(row, able, load, root)));
    console.log(`\n${sections.at(-1)}\n`);
  }
  if (!options.dry) writeSection('tftp', `${preface()}\n\n${sections.join('\n\n')}`);
}

function compileLoad(folder: string): string {
  const program = join(folder, 'load');
  execFileSync('cc', ['-O2', '-o', program, projectFile('bench/tftp/load.c')]);
  return program;
}

async function makeFiles(folder: string): Promise<{ readonly root: string; readonly image: string }> {
  const root = join(folder, 'root');
  mkdirSync(root);
  const files = Object.entries(FILES).map(([path, sizeBytes]) => ({ path, bytes: noise(sizeBytes) }));
  for (const { path, bytes } of files) writeFileSync(join(root, path), bytes);
  const image = join(folder, 'bench.img');
  await makeImage(image, files);
  execFileSync('sync', ['--file-system', folder]); // or it is written back while the first rounds run
  return { root, image };
}

/** The load client refuses to measure what was not acknowledged. */
async function thoseWithWindows(load: string, servers: readonly TftpPeer[], root: string): Promise<TftpPeer[]> {
  const able: TftpPeer[] = [];
  for (const server of servers) {
    const answer = await askOnce(load, server, root, { clients: 1, windowSize: 2 }).catch(() => undefined);
    if (answer !== undefined) able.push(server);
  }
  return able;
}

async function measure(
  row: Row,
  servers: readonly TftpPeer[],
  load: string,
  root: string,
): Promise<ReadonlyMap<TftpPeer, Figures[]>> {
  const figures = new Map(servers.map((server) => [server, [] as Figures[]]));
  for (const server of servers) await askOnce(load, server, root, row); // compiled and cached, all of them
  for (let round = 0; round < Number(options.rounds); round += 1) {
    for (const index of servers.keys()) {
      const server = servers[(index + round) % servers.length];
      if (server === undefined) continue;
      const played = await askOnce(load, server, root, row);
      figures.get(server)?.push(played);
      console.log(
        `round ${round + 1}  ${row.title.padEnd(26)} ${server.title.padEnd(15)} ${played.megabytesPerSecond.toFixed(0).padStart(5)} MB/s  p50 ${played.turnaroundUs.toFixed(0)} us  ${played.cpuSecondsPerGigabyte.toFixed(2)} s/GB  client busy ${played.loadBusyPercent.toFixed(0)} %  ${played.resends} said twice`,
      );
    }
  }
  return figures;
}

async function askOnce(
  load: string,
  server: TftpPeer,
  root: string,
  { clients, windowSize }: Omit<Row, 'title'>,
): Promise<Figures> {
  const file = clients === 1 ? 'whole' : 'part';
  const words = [server.address, server.port, server.pathOf(file), join(root, file), clients, BLOCK_BYTES, windowSize];
  const { said, usage } = await watched(server, () => execute(load, words.map(String)));
  const { seconds, bytes, turnaroundMedianUs, loadSeconds, resends }: Record<string, number> = JSON.parse(said);
  if (seconds === undefined || bytes === undefined || loadSeconds === undefined) throw new Error(`load said ${said}`);
  return {
    megabytesPerSecond: bytes / 1e6 / seconds,
    turnaroundUs: turnaroundMedianUs ?? 0,
    cpuSecondsPerGigabyte: usage.cpuSeconds / (bytes / 1e9),
    peakMegabytes: usage.peakMemoryBytes / 1e6,
    loadBusyPercent: (loadSeconds / seconds) * 100,
    resends: resends ?? 0,
  };
}

async function watched(
  { pid }: TftpPeer,
  act: () => Promise<{ readonly stdout: string }>,
): Promise<{ readonly said: string; readonly usage: Usage }> {
  const watch = watchUsage(pid, 50);
  try {
    const { stdout: said } = await act();
    return { said, usage: watch.stop() };
  } catch (error) {
    watch.stop();
    throw error;
  }
}

function preface(): string {
  return `\`npm run bench:tftp\`: ${options.rounds} rounds in one run on ${cpus().length} cores, which the clients share with the servers; in each round every server is asked for the same file in turn, at blksize ${BLOCK_BYTES} (${FILES.whole / 1e6} MB for one client, ${FILES.part / 1e6} MB for each of 16). Ours reads it out of the FAT of an image, the others have it as a file; all of it is in the page cache. Medians; ratios are the median of ours to theirs in each round, lowest and highest in brackets: above 1 is better for MB/s, below 1 for the turnaround (from an ACK to the block that it asks for). The clients are one process in C that compares every byte; where it is busy for 100 % of the time, it is the bottleneck, and the servers differ by more than is seen. Node ${process.versions.node}. Servers without the windowsize option are missing where it is asked for.`;
}

function report(row: Row, servers: readonly TftpPeer[], figures: ReadonlyMap<TftpPeer, Figures[]>): string {
  const of = (server: TftpPeer, what: (one: Figures) => number) => (figures.get(server) ?? []).map(what);
  const [ours] = servers;
  const ratio = (server: TftpPeer, what: (one: Figures) => number) => {
    if (ours === undefined || server === ours) return '';
    const ratios = medianOfRatios(of(ours, what), of(server, what));
    return `${ratios.median.toFixed(2)} (${ratios.lowest.toFixed(2)} to ${ratios.highest.toFixed(2)})`;
  };
  const rows = servers.map((server) => {
    const speeds = of(server, (one) => one.megabytesPerSecond);
    return [
      server.title,
      `${median(speeds).toFixed(0)} (${lowest(speeds).toFixed(0)} to ${highest(speeds).toFixed(0)})`,
      ratio(server, (one) => one.megabytesPerSecond),
      median(of(server, (one) => one.turnaroundUs)).toFixed(0),
      ratio(server, (one) => one.turnaroundUs),
      median(of(server, (one) => one.cpuSecondsPerGigabyte)).toFixed(2),
      highest(of(server, (one) => one.peakMegabytes)).toFixed(0),
      median(of(server, (one) => one.loadBusyPercent)).toFixed(0),
    ];
  });
  const head = ['MB/s', 'ours to theirs', 'p50 µs', 'ours to theirs', 'CPU s per GB', 'peak MB', 'clients busy %'];
  return `### ${row.title}\n\n${table(['', ...head], rows)}`;
}
