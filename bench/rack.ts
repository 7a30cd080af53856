// A rack powers on: `npm run bench:rack`. Boards boot at once from our server, then the same boards from the stack that it
// replaces (dnsmasq for DHCP and TFTP from extracted files, nbd-server for disks), and so on in turn. As root: it makes
// network namespaces. `-- --rounds 3 --dry` for a look that leaves docs/benchmarks.md alone.
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connectNamespaces, networkNamespace, withoutNamespaces } from '../test/support/network-namespace.js';
import { anyOf, without } from '../test/support/programs.js';
import { scratchFolder } from '../test/support/scratch.js';
import { makeInputs, type RackBoard, type RackInputs, rackOf } from './rack/inputs.js';
import { type BoardsPlace, compileBoards, DISK_BYTES, DISK_REQUEST, playRound, type Round } from './rack/round.js';
import { type Stack, type StackPlace, startOurs, startTheirs, versionsOfPeers } from './rack/stacks.js';
import { table, writeSection } from './report.js';
import { highest, lowest, median, medianOfRatios } from './statistics.js';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    boards: { type: 'string', default: '32' },
    dry: { type: 'boolean', default: false },
    /** Arguments of node for our server: `--node="--cpu-prof --cpu-prof-dir=/tmp/profile"`. */
    node: { type: 'string', default: '' },
  },
});
const ROUNDS = Number(options.rounds);
const rack = rackOf(Number(options.boards));

interface Side {
  readonly stack: Stack;
  readonly boards: BoardsPlace;
  readonly rounds: Round[];
}

const endings: (() => Promise<void>)[] = [];
const ending = { after: (action: () => Promise<void>) => void endings.push(action) };
const cleanUp = async () => {
  for (const end of endings.splice(0)) await end();
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => cleanUp().finally(() => process.exit(1)));
}
try {
  await bench();
} finally {
  await cleanUp();
}

async function bench(): Promise<void> {
  const missing = anyOf(
    withoutNamespaces(),
    without('dnsmasq', 'dnsmasq-base'),
    without('nbd-server', 'nbd-server'),
    without('cc', 'gcc'),
  );
  if (missing !== false) throw new Error(`the rack ${missing}`);
  const folder = scratchFolder(ending);
  const program = compileBoards(folder);
  const inputs = await makeInputs(folder, rack, '10.93.0.1');
  const [ours, theirs] = await startBoth(folder, inputs);
  for (const side of [ours, theirs]) {
    // The first power-on of each is compared byte by byte, and not measured.
    show(side, await playRound(program, side.stack, side.boards, rack, inputs), 'compared');
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const side of round % 2 === 0 ? [ours, theirs] : [theirs, ours]) {
      const played = await playRound(program, side.stack, side.boards, rack);
      side.rounds.push(played);
      show(side, played, `round ${round + 1}`);
    }
  }
  const text = report(ours, theirs);
  console.log(`\n${text}`);
  if (!options.dry) writeSection('rack', text);
}

async function startBoth(folder: string, inputs: RackInputs): Promise<readonly [Side, Side]> {
  const rackHost = networkNamespace(ending);
  const sideOf = async (name: string, network: string, start: (place: StackPlace) => Promise<Stack>): Promise<Side> => {
    const host = networkNamespace(ending);
    const interfaceName = `to-${name}`;
    connectNamespaces(
      { namespace: host, interfaceName: 'rack0', address: `${network}.1/24` },
      { namespace: rackHost, interfaceName, address: `${network}.2/24` },
    );
    const addressOf = ({ number }: RackBoard) => `${network}.${number}`;
    for (const board of rack) rackHost.ip('address', 'add', `${addressOf(board)}/24`, 'dev', interfaceName);
    const place = { ending, host, interfaceName: 'rack0', address: `${network}.1`, inputs, rack };
    const stack = await start({ ...place, folder: join(folder, name) });
    return { stack, boards: { host: rackHost, interfaceName, addressOf }, rounds: [] };
  };
  const nodeArguments = options.node.split(' ').filter((word) => word !== '');
  const ours = await sideOf('ours', '10.92.0', (place) => startOurs(place, nodeArguments));
  return [ours, await sideOf('theirs', '10.93.0', startTheirs)];
}

function show({ stack }: Side, round: Round, what: string): void {
  const facts = [
    `files ${round.lastFiles.toFixed(2)} s`,
    `disk ${round.lastDisk.toFixed(2)} s`,
    `offer ${(round.lastOffer * 1000).toFixed(0)} ms`,
    `CPU ${round.usage.cpuSeconds.toFixed(2)} s`,
    `of the boards ${round.loadSeconds.toFixed(2)} s`,
    `memory ${(round.usage.peakMemoryBytes / 1e6).toFixed(0)} MB (shared ${(round.usage.sharedMemoryBytes / 1e6).toFixed(0)})`,
    `${round.resends} said twice`,
  ];
  console.log(`${what.padEnd(9)} ${stack.title.padEnd(23)} ${facts.join(', ')}`);
}

function report(ours: Side, theirs: Side): string {
  const row = (title: string, digits: number, of: (round: Round) => number) => {
    const [left, right] = [ours.rounds.map(of), theirs.rounds.map(of)];
    const ratios = medianOfRatios(left, right);
    const cell = (values: readonly number[]) =>
      `${median(values).toFixed(digits)} (${lowest(values).toFixed(digits)} to ${highest(values).toFixed(digits)})`;
    return [
      title,
      cell(left),
      cell(right),
      `${ratios.median.toFixed(2)} (${ratios.lowest.toFixed(2)} to ${ratios.highest.toFixed(2)})`,
    ];
  };
  const share = (round: Round) => (round.loadSeconds / round.lastDisk) * 100;
  const megabytes = ((ours.rounds[0]?.fileBytes ?? 0) / rack.length / 1e6).toFixed(1);
  return `\`npm run bench:rack\`: ${rack.length} boards are switched on at once. Each asks by DHCP, reads its ${megabytes} MB of files over TFTP in the order of a Pi 4 (blksize 1468, lock-step), attaches the disk that its cmdline.txt names and reads its first ${DISK_BYTES / 1024 / 1024} MiB (requests of ${DISK_REQUEST.bytes / 1024} KiB, ${DISK_REQUEST.depth} at a time). Each board has an image of its own, of which we serve both; the other stack serves the same files out of a folder per board and the same images. All of it is in the page cache. ${ours.rounds.length} rounds in turn on ${cpus().length} cores, which the boards share with the servers; median, lowest and highest, and the median of the ratios of each round. Node ${process.versions.node}, ${versionsOfPeers()}.

${table(
  ['', 'Brambleboot', theirs.stack.title, 'ratio'],
  [
    row('the last board has its files, s', 2, (round) => round.lastFiles),
    row('the last board has read its disk, s', 2, (round) => round.lastDisk),
    row('the median board has its files, s', 2, (round) => round.medianFiles),
    row('the median board has read its disk, s', 2, (round) => round.medianDisk),
    row('the last OFFER, ms', 0, (round) => round.lastOffer * 1000),
    row('CPU time, s', 2, (round) => round.usage.cpuSeconds),
    row('peak memory, MB', 0, (round) => round.usage.peakMemoryBytes / 1e6),
    row('the same, shared pages once, MB', 0, (round) => round.usage.sharedMemoryBytes / 1e6),
    row('a core busy with the boards, %', 0, share),
  ],
)}`;
}
