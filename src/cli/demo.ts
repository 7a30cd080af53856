import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { type App, startApp } from '../app/app.js';
import { openConfiguration } from '../app/configuration.js';
import { systemClock } from '../base/clock.js';
import { silentLog } from '../base/log.js';
import { renderFaults } from '../inventory/fault.js';
import { UdpSocketError } from '../os/udp-socket.js';
import { type DhcpLine, loopbackLine } from '../pretend/line.js';
import { type PlayResult, playBoot } from '../pretend/play.js';
import { PROFILES } from '../pretend/profile.js';
import { type DemoImage, makeDemoImage } from '../workshop/demo-image.js';
import { ExitStatus } from './exit-status.js';
import { programVersion } from './version.js';

const SERIAL = 'bf9fed6f';
const MAC = 'dc:a6:32:01:02:03';
const ATTEMPTS = 5;
const LOOKS_MAX = 100;
const LOOK_MS = 10;

export interface DemoOptions {
  /** A folder where image and inventory stay. */
  readonly keep?: string;
}

/** The main job from end to end on one machine: image, inventory, server, and a board that boots from it. */
export async function demo({ keep }: DemoOptions): Promise<ExitStatus> {
  const folder = keep === undefined ? await mkdtemp(join(tmpdir(), 'brambleboot-demo-')) : await folderToKeep(keep);
  try {
    say(`Brambleboot ${programVersion()}: a boot from end to end, on this machine alone\n`);
    const image = await makeDemoImage(join(folder, 'demo.img'));
    say(`image   ${image.file}: MBR, FAT32 boot partition with ${image.files.size} files, root partition`);
    return await demonstrate(folder, image, keep !== undefined);
  } finally {
    if (keep === undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** What somebody has there already is not ours to overwrite. */
async function folderToKeep(wanted: string): Promise<string> {
  const folder = resolve(wanted);
  await mkdir(folder, { recursive: true });
  const taken = ['demo.img', 'config.yaml'].map((name) => join(folder, name)).find((path) => existsSync(path));
  if (taken !== undefined) throw new Error(`${taken} is there already: name another folder`);
  return folder;
}

async function demonstrate(folder: string, image: DemoImage, isKept: boolean): Promise<ExitStatus> {
  const server = await startServer(folder);
  if (server === undefined) return ExitStatus.Failed;
  const { app, line, ports } = server;
  say(`server  127.0.0.1: DHCP ${ports.dhcp}, TFTP ${ports.tftp}, NBD ${ports.nbd}, HTTP ${ports.http}`);
  say(`board   ${PROFILES.pi4.title}, serial ${SERIAL}\n`);
  try {
    const result = await playBoot({
      profile: PROFILES.pi4,
      identity: { serial: SERIAL, mac: MAC, revisionCode: PROFILES.pi4.revisionCode },
      prefix: { kind: 'serial' },
      start: { kind: 'dhcp', line, needsAddress: false },
      tftpPort: ports.tftp,
      takeAddress: () => '127.0.0.1',
      clock: systemClock,
      report: () => {},
    });
    await printTimeline(app);
    const faults =
      result.outcome === 'booted' ? await compare(result, image) : [`the boot ended early: ${result.because}`];
    for (const fault of faults) say(`WRONG: ${fault}`);
    if (faults.length === 0) say('\nEvery file and the root partition arrived byte for byte. That was the whole boot.');
    if (isKept) say(howToGoOn(folder, ports));
    return faults.length === 0 ? ExitStatus.Done : ExitStatus.Failed;
  } finally {
    await line.close();
    await app.stop();
  }
}

interface DemoPorts {
  readonly dhcp: number;
  readonly dhcpReply: number;
  readonly tftp: number;
  readonly nbd: number;
  readonly http: number;
}

/** What runs without root, and with no board: the server in one terminal, a pretend board in another. */
function howToGoOn(folder: string, { tftp, http }: DemoPorts): string {
  return `
Image and inventory stay in ${folder}. To go on with them:
  ${asStarted()} serve --config ${join(folder, 'config.yaml')}
  ${asStarted()} pretend --serial ${SERIAL} --server 127.0.0.1 --tftp-port ${tftp} --http-port ${http}`;
}

/** `brambleboot` where it is on the PATH under that name, else with what runs it: what is printed is to be copied. */
function asStarted(): string {
  const [, script = 'brambleboot'] = process.argv;
  return basename(script) === 'brambleboot' ? 'brambleboot' : `node ${script}`;
}

interface Running {
  readonly app: App;
  /** The board's. */
  readonly line: DhcpLine;
  readonly ports: DemoPorts;
}

/** A server on ports that are free, and the board's end of DHCP; tries others where one is taken. */
async function startServer(folder: string): Promise<Running | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const ports = choosePorts();
    const path = join(folder, 'config.yaml');
    await writeFile(path, inventoryText(ports));
    const opened = await openConfiguration(path, systemClock);
    if (opened.answer !== 'open') {
      say(opened.answer === 'faults' ? renderFaults(opened.faults) : opened.because);
      return undefined;
    }
    const app = await startApp({ ...opened, path, clock: systemClock, log: silentLog, version: programVersion() });
    const line = lineFor(ports);
    const missing = app.status().listeners.find((listener) => listener.missing !== undefined);
    if (missing === undefined && typeof line !== 'string') return { app, line, ports };
    await app.stop();
    if (typeof line !== 'string') await line.close();
    const because = typeof line === 'string' ? line : `${missing?.name}: ${missing?.missing}`;
    if (attempt === ATTEMPTS - 1) say(because);
  }
  return undefined;
}

function lineFor({ dhcp, dhcpReply }: DemoPorts): DhcpLine | string {
  try {
    return loopbackLine({ interfaceName: 'lo', serverPort: dhcp, clientPort: dhcpReply });
  } catch (error) {
    if (error instanceof UdpSocketError) return error.message;
    throw error;
  }
}

function choosePorts(): DemoPorts {
  // Five that no other demo has in part: DHCP's two are shared with whoever wants to share them.
  const first = 20_000 + Math.floor(Math.random() * 2_000) * 5;
  return { dhcp: first, dhcpReply: first + 1, tftp: first + 2, nbd: first + 3, http: first + 4 };
}

function inventoryText(ports: DemoPorts): string {
  return `# Made by brambleboot demo: on this machine alone. Without the interface and the ports it would serve your LAN.
server: { interface: lo, state: ./state }
dhcp: { port: ${ports.dhcp}, reply_port: ${ports.dhcpReply} }
tftp: { port: ${ports.tftp} }
nbd: { port: ${ports.nbd} }
http: { address: 127.0.0.1, port: ${ports.http} }
images:
  demo: { file: demo.img }
boards:
  node1: { serial: ${SERIAL}, mac: "${MAC}", image: demo, disk: direct }
`;
}

async function printTimeline(app: App): Promise<void> {
  // The board is through a moment before the server has heard of its last ACK.
  for (let look = 0; look < LOOKS_MAX && lastBoot(app)?.state.at !== 'booted'; look += 1) await passed(LOOK_MS);
  const boot = lastBoot(app);
  for (const step of boot?.steps ?? []) say(`${(step.afterMs / 1000).toFixed(3).padStart(8)} s  ${step.text}`);
  say(`            ${boot?.probes ?? 0} probes for files, of which most are never there`);
}

function lastBoot(app: App) {
  return app.status().boards[0]?.lastBoot;
}

/** What differs between what the board has got and what the image holds. */
async function compare(result: Extract<PlayResult, { outcome: 'booted' }>, image: DemoImage): Promise<string[]> {
  const { disk, files, cmdline } = result;
  const wrong = [...files]
    .filter(([name, bytes]) => name !== 'cmdline.txt' && !same(bytes, image.files.get(name)))
    .map(([name]) => name);
  const root = await disk.read(image.root.offset, image.root.content.length);
  await disk.disconnect();
  say(`\ncmdline ${cmdline}`);
  return [
    ...wrong.map((name) => `${name} is not what the image holds`),
    ...(same(root, image.root.content) ? [] : ['the root partition is not what the image holds']),
  ];
}

function same(one: Uint8Array, other: Uint8Array | undefined): boolean {
  return other !== undefined && Buffer.compare(one, other) === 0;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
