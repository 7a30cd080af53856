import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { background, outputOf, until } from './commands.js';
import { type TestPorts, testPorts } from './ports.js';
import { projectFile } from './project.js';
import { scratchFolder } from './scratch.js';

/** The built program, run as its user runs it: `node dist/main.js serve`. */
export interface RunningProgram {
  readonly child: ChildProcess;
  readonly folder: string;
  readonly config: string;
  readonly ports: TestPorts;
  /** All that it has written to stdout so far. */
  output(): string;
  /** Bytes of memory that it holds now (VmRSS), and has held at most (VmHWM). */
  memory(): { readonly nowBytes: number; readonly mostBytes: number };
}

export interface ProgramOptions {
  readonly logLevel?: 'debug' | 'info';
  /** More of `tftp:`, such as `single_port: true`. */
  readonly tftp?: string;
  /** Files of further images, each with a board of the same name. */
  readonly images?: Readonly<Record<string, string>>;
}

export const MAIN = projectFile('dist/main.js');

/** The board of its inventory, whose image is the demo's. */
export const LISTED_SERIAL = 'bf9fed6f';

/** Resolves when it is ready, on ports that were free; it is stopped when the test is over. */
export async function runProgram(context: TestContext, options: ProgramOptions = {}): Promise<RunningProgram> {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const ports = await testPorts(context);
  const config = join(folder, 'config.yaml');
  writeFileSync(config, inventoryText(ports, options));
  const serve = [MAIN, 'serve', '--log-level', options.logLevel ?? 'info', '--config', config];
  const child = background(context, process.execPath, serve);
  const said: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => said.push(chunk));
  await until(outputOf(child, 'server.ready'), 'the server');
  return {
    ...{ child, folder, config, ports },
    output: () => Buffer.concat(said).toString('utf8'),
    memory: () => memoryOf(child.pid),
  };
}

function inventoryText(ports: TestPorts, { tftp, images = {} }: ProgramOptions): string {
  const more = Object.entries(images);
  return `server: { interface: lo, state: ./state }
dhcp: { port: ${ports.dhcp}, reply_port: ${ports.dhcpReply} }
tftp: { port: ${ports.tftp}${tftp === undefined ? '' : `, ${tftp}`} }
nbd: { port: ${ports.nbd} }
http: { address: 127.0.0.1, port: ${ports.http} }
images:
  demo: { file: demo.img }
${more.map(([name, file]) => `  ${name}: { file: ${file} }\n`).join('')}boards:
  node1: { serial: ${LISTED_SERIAL}, image: demo, disk: direct }
${more.map(([name], index) => `  ${name}: { serial: ${index + 1}, image: ${name}, disk: direct }\n`).join('')}`;
}

export interface ProgramOutcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command to its end, while this process goes on: it may be the server that the command talks to. */
export function brambleboot(...words: readonly string[]): Promise<ProgramOutcome> {
  const child = spawn(process.execPath, [MAIN, ...words], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.stderr += text;
  });
  return new Promise((resolve) => child.once('close', (status) => resolve({ status, ...said })));
}

function memoryOf(pid: number | undefined): { readonly nowBytes: number; readonly mostBytes: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
  return { nowBytes: kibibytes('VmRSS') * 1024, mostBytes: kibibytes('VmHWM') * 1024 };
}
