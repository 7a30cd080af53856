// The two that are compared: our server, and dnsmasq with nbd-server, each on a host of its own (a network namespace).
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Ending, whenOver } from '../../test/support/cleanup.js';
import { until } from '../../test/support/commands.js';
import type { NetworkNamespace } from '../../test/support/network-namespace.js';
import { projectFile } from '../../test/support/project.js';
import { type Usage, watchUsage } from '../process-usage.js';
import type { RackBoard, RackInputs } from './inputs.js';

export interface Stack {
  readonly title: string;
  /** Of every process that belongs to it. */
  watch(): { stop(): Usage };
}

export interface StackPlace {
  readonly ending: Ending;
  readonly host: NetworkNamespace;
  /** In `host`; the boards are behind it. */
  readonly interfaceName: string;
  readonly address: string;
  /** For configuration and logs. */
  readonly folder: string;
  readonly inputs: RackInputs;
  readonly rack: readonly RackBoard[];
}

/** `nodeArguments`: for a profile (`--cpu-prof`). */
export async function startOurs(place: StackPlace, nodeArguments: readonly string[]): Promise<Stack> {
  const { folder, rack, inputs } = place;
  mkdirSync(folder);
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: ${place.interfaceName}, state: ./state }
images:
${rack.map((board) => `  ${board.name}: { file: ${inputs.imageOf(board)} }`).join('\n')}
boards:
${rack.map((board) => `  ${board.name}: { serial: "${board.serial}", mac: "${board.mac}", image: ${board.name}, disk: direct }`).join('\n')}
`,
  );
  const log = join(folder, 'log');
  const server = start(
    place,
    log,
    process.execPath,
    ...nodeArguments,
    projectFile('dist/main.js'),
    'serve',
    '--config',
    config,
  );
  await until(() => readFileSync(log, 'utf8').includes('server.ready'), 'our server');
  whenOver(place.ending, async () => {
    if (server.child.exitCode !== null || server.child.signalCode !== null) return;
    const ended = once(server.child, 'exit');
    server.child.kill('SIGTERM'); // not SIGKILL: a profile is written at the end
    await ended;
  });
  return stackOf('Brambleboot', [server.pid]);
}

export async function startTheirs(place: StackPlace): Promise<Stack> {
  const { folder } = place;
  mkdirSync(folder);
  const stack = stackOf('dnsmasq and nbd-server', [await startDnsmasq(place), await startNbdServer(place)]);
  return stack;
}

async function startDnsmasq(place: StackPlace): Promise<number> {
  const { folder } = place;
  const config = join(folder, 'dnsmasq.conf');
  const log = join(folder, 'dnsmasq.log');
  writeFileSync(
    config,
    `port=0
user=root
keep-in-foreground
log-facility=${log}
interface=${place.interfaceName}
bind-interfaces
dhcp-range=${place.address},proxy
dhcp-leasefile=${join(folder, 'leases')}
pxe-service=0,"Raspberry Pi Boot"
enable-tftp
tftp-root=${place.inputs.tftpRoot}
tftp-max=1000
`,
  );
  writeFileSync(log, '');
  const { pid } = start(place, join(folder, 'dnsmasq.out'), 'dnsmasq', `--conf-file=${config}`);
  await until(() => readFileSync(log, 'utf8').includes('TFTP'), 'dnsmasq');
  return pid;
}

/** It goes into the background, and forks a process for each connection. */
async function startNbdServer(place: StackPlace): Promise<number> {
  const { folder, rack, inputs } = place;
  const config = join(folder, 'nbd-server.conf');
  const pidFile = join(folder, 'nbd-server.pid');
  const exports = rack.map(
    (board) => `[${board.name}]\nexportname = ${inputs.imageOf(board)}\nflush = true\nfua = true\n`,
  );
  writeFileSync(config, `[generic]\nlistenaddr = ${place.address}\n${exports.join('')}`);
  start(place, join(folder, 'nbd-server.out'), 'nbd-server', '-C', config, '-p', pidFile);
  await until(() => pidIn(pidFile) !== undefined, 'nbd-server');
  const pid = pidIn(pidFile) ?? 0;
  whenOver(place.ending, () => {
    process.kill(pid, 'SIGKILL');
  });
  return pid;
}

function pidIn(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, 'latin1'));
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** What it says goes into a file: a pipe would have to be read, by a process of ours that costs CPU time. */
function start({ host }: Pick<StackPlace, 'host'>, log: string, program: string, ...programArguments: string[]) {
  openSync(log, 'w');
  const child = host.spawn('sh', '-c', `exec "$0" "$@" >${log} 2>&1`, program, ...programArguments);
  if (child.pid === undefined) throw new Error(`${program} did not start`);
  return { child, pid: child.pid };
}

function stackOf(title: string, pids: readonly number[]): Stack {
  return {
    title,
    watch() {
      const watches = pids.map((pid) => watchUsage(pid));
      return { stop: () => watches.map((watch) => watch.stop()).reduce(sum) };
    },
  };
}

function sum(left: Usage, right: Usage): Usage {
  return {
    cpuSeconds: left.cpuSeconds + right.cpuSeconds,
    peakMemoryBytes: left.peakMemoryBytes + right.peakMemoryBytes,
    sharedMemoryBytes: left.sharedMemoryBytes + right.sharedMemoryBytes,
  };
}

/** As they say it themselves. */
export function versionsOfPeers(): string {
  const said = (program: string, pattern: RegExp, ...programArguments: string[]) =>
    pattern.exec(execFileSync(program, programArguments, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }))?.[1];
  const dnsmasq = said('dnsmasq', /version (\S+)/i, '--version');
  return `dnsmasq ${dnsmasq}, nbd-server ${said('nbd-server', /version (\S+)/i, '-V')}`;
}
