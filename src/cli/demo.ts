import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { type App, startApp } from '../app/app.js';
import { openConfiguration } from '../app/configuration.js';
import { systemClock } from '../base/clock.js';
import { silentLog } from '../base/log.js';
import { renderFaults } from '../inventory/fault.js';
import { loopbackLine } from '../pretend/line.js';
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

/** The main job from end to end on one machine: image, inventory, server, and a board that boots from it. */
export async function demo(): Promise<ExitStatus> {
  const folder = await mkdtemp(join(tmpdir(), 'brambleboot-demo-'));
  try {
    say(`Brambleboot ${programVersion()}: a boot from end to end, on this machine alone\n`);
    const image = await makeDemoImage(join(folder, 'demo.img'));
    say(`image   ${image.file}: MBR, FAT32 boot partition with ${image.files.size} files, root partition`);
    return await demonstrate(folder, image);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function demonstrate(folder: string, image: DemoImage): Promise<ExitStatus> {
  const server = await startServer(folder);
  if (server === undefined) return ExitStatus.Failed;
  const { app, ports } = server;
  say(`server  127.0.0.1: DHCP ${ports.dhcp}, TFTP ${ports.tftp}, NBD ${ports.nbd}, HTTP ${ports.http}`);
  say(`board   ${PROFILES.pi4.title}, serial ${SERIAL}\n`);
  const line = loopbackLine({ interfaceName: 'lo', serverPort: ports.dhcp, clientPort: ports.dhcpReply });
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
      result.outcome === 'booted' ? await compare(result, image) : [`stuck at ${result.stage}: ${result.because}`];
    for (const fault of faults) say(`WRONG: ${fault}`);
    if (faults.length === 0) say('\nEvery file and the root partition arrived byte for byte. That was the whole boot.');
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

/** A server on ports that are free; tries others where one is taken. */
async function startServer(folder: string): Promise<{ readonly app: App; readonly ports: DemoPorts } | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const ports = choosePorts();
    const path = join(folder, 'config.yaml');
    await writeFile(path, inventoryText(ports));
    const opened = await openConfiguration(path, systemClock);
    if (opened.answer !== 'open') {
      say(opened.answer === 'faults' ? renderFaults(opened.faults) : opened.because);
      return undefined;
    }
    const { inventory, boards, state } = opened;
    const app = await startApp({
      inventory,
      boards,
      state,
      clock: systemClock,
      log: silentLog,
      version: programVersion(),
    });
    const missing = app.status().listeners.find((listener) => listener.missing !== undefined);
    if (missing === undefined) return { app, ports };
    await app.stop();
    if (attempt === ATTEMPTS - 1) say(`${missing.name}: ${missing.missing}`);
  }
  return undefined;
}

function choosePorts(): DemoPorts {
  const first = 20_000 + Math.floor(Math.random() * 10_000);
  return { dhcp: first, dhcpReply: first + 1, tftp: first + 2, nbd: first + 3, http: first + 4 };
}

function inventoryText(ports: DemoPorts): string {
  return `server: { interface: lo, state: ./state }
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
