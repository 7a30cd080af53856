// A disk of layers beside the image itself, and beside qemu-nbd with a qcow2 overlay: `npm run bench:overlay`. In each round of a row
// all of them are asked in turn. `-- --rounds 2 --dry` for a look that leaves docs/benchmarks.md alone.
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { anyOf, without } from '../test/support/programs.js';
import { scratchFolder } from '../test/support/scratch.js';
import { makeLoadDisk } from './nbd/disks.js';
import { compileLoad, loadExport, SECONDS } from './nbd/rows.js';
import { type Contestant, serveOurs, serveQcow2 } from './overlay/contestants.js';
import { type MeasuredRow, type OverlayRow, sectionOf } from './overlay/sections.js';
import { writeSection } from './report.js';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '7' }, dry: { type: 'boolean', default: false } },
});
const ROUNDS = Number(options.rounds);
const KIB = 1024;
const SMALL = { unit: 'requests/s', connections: 1, blockBytes: 4 * KIB } as const;
const LARGE = { unit: 'MB/s', connections: 1, depth: 8, blockBytes: 128 * KIB } as const;

const READ = ['direct', 'fresh', 'halfInPieces', 'halfInBlocks', 'snapshots', 'qcow2'];
const ROWS: readonly OverlayRow[] = [
  { ...SMALL, title: '4 KiB random read, depth 1', mode: 'read', depth: 1, disks: READ, goal: 0.9 },
  { ...SMALL, title: '4 KiB random read, depth 32', mode: 'read', depth: 32, disks: READ, goal: 0.9 },
  { ...LARGE, title: '128 KiB sequential read, depth 8', mode: 'readseq', disks: READ, goal: 0.9 },
  ...(['write', 'flushed'] as const).map((mode) => ({
    ...{ ...SMALL, mode, depth: mode === 'write' ? 32 : 1, goal: 0.9 },
    title: `4 KiB random rewrite, ${mode === 'write' ? 'depth 32' : 'each flushed'}`,
    disks: ['direct', 'own', 'ownQcow2'],
  })),
  {
    ...LARGE,
    title: '128 KiB sequential rewrite, depth 8',
    mode: 'writeseq',
    disks: ['direct', 'own', 'ownQcow2'],
    goal: 0.9,
  },
  {
    ...SMALL,
    title: '4 KiB random first write, depth 32',
    mode: 'write',
    depth: 32,
    disks: ['direct', 'holes', 'first', 'firstQcow2'],
    goal: 0.8,
  },
  {
    ...LARGE,
    title: '128 KiB sequential first write, depth 8',
    mode: 'writeseq',
    disks: ['direct', 'holesLarge', 'firstLarge', 'firstLargeQcow2'],
    goal: 0.8,
  },
  {
    ...SMALL,
    title: '4 KiB random first write, each flushed',
    mode: 'flushed',
    depth: 1,
    disks: ['direct', 'holesFlushed', 'firstFlushed', 'firstFlushedQcow2'],
    goal: undefined,
  },
];

const endings: (() => Promise<void>)[] = [];
const ending = { after: (action: () => Promise<void>) => void endings.push(action) };
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void finish().finally(() => process.exit(1)));
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
  const missing = anyOf(without('cc', 'gcc'), without('qemu-nbd', 'qemu-utils'));
  if (missing !== false) throw new Error(`the bench ${missing}`);
  const folder = scratchFolder(ending);
  const place = { ending, folder, image: await makeLoadDisk(folder), rounds: ROUNDS };
  const contestants = { ...(await serveOurs(place)), ...(await serveQcow2(place)) };
  const load = compileLoad(folder);
  const measured: MeasuredRow[] = [];
  for (const row of ROWS) measured.push(await measure(row, contestants, load));
  const section = sectionOf(measured);
  console.log(`\n${section}`);
  if (!options.dry) writeSection('overlay', `${preface()}\n\n${section}`);
}

async function measure(
  row: OverlayRow,
  contestants: Readonly<Record<string, Contestant>>,
  load: string,
): Promise<MeasuredRow> {
  const all = row.disks.map((name) => {
    const contestant = contestants[name];
    if (contestant === undefined) throw new Error(`nobody serves ${name}`);
    return { contestant, speeds: [] as number[] };
  });
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const index of all.keys()) {
      const one = all[(index + round) % all.length];
      if (one === undefined) continue;
      const { file, ...served } = one.contestant.exportIn(round);
      const ran = await loadExport(row, served, load);
      execFileSync('sync', [file]); // or it is written back in the next one's time
      one.speeds.push((row.unit === 'MB/s' ? ran.bytes / 1e6 : ran.operations) / ran.seconds);
      console.log(
        `round ${round + 1}  ${row.title.padEnd(42)} ${one.contestant.title.padEnd(28)} ${one.speeds.at(-1)?.toFixed(0)} ${row.unit}`,
      );
    }
  }
  return { row, contestants: all.map(({ contestant, speeds }) => ({ title: contestant.title, speeds })) };
}

function preface(): string {
  return `\`npm run bench:overlay\`: ${ROUNDS} rounds in one run on ${cpus().length} cores, which the client shares with the servers; in each round every disk is asked in turn for ${SECONDS} s of the same load, by the same client as above. All lie over copies of one image of 1 GiB, in the page cache; what was written is on the disk before the next one's turn. *Half in pieces*: every other MiB was written; *half in blocks*: every other block of 4 KiB, as badly mixed as can be; *snapshots*: three were taken, and between them every fourth piece of 64 KiB was written. A disk that is written to for the first time is a fresh one in each round; *into holes* is an image itself where it takes no space yet, so that what the kernel needs for new pages and new blocks can be told from what a layer costs. Medians; ratios are the median of those of each round, lowest and highest in brackets. Node ${process.versions.node}.`;
}
