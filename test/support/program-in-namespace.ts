import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { until } from './commands.js';
import type { NetworkNamespace } from './network-namespace.js';
import { projectFile } from './project.js';

const MAIN = projectFile('dist/main.js');
/** Some looks at the network, on a machine that has much else to do. */
const READY_PATIENCE_MS = 30_000;

/** The real program, serving in a network of its own. */
export interface ServedProgram {
  readonly config: string;
  readonly pid: number;
  /** Lines of its log with this event, as their facts. */
  logged(event: string): readonly Readonly<Record<string, unknown>>[];
  /** Waits for the first such line: the log may come after what it tells of. */
  firstLogged(event: string): Promise<Readonly<Record<string, unknown>>>;
  /** What /readyz answers, asked over the control socket. */
  readiness(): Promise<string>;
  /** Waits until /readyz says just this. */
  ready(text?: string | RegExp): Promise<void>;
  /** Names of all listeners, bound or not. */
  listeners(): Promise<readonly string[]>;
  /** A sample of /metrics, named as there: `brambleboot_boots_total{board="node1"}`. */
  metric(name: string): Promise<number | undefined>;
  /** By SIGTERM. Resolves when it has ended. */
  stop(): Promise<void>;
  /** By SIGKILL. */
  kill(): Promise<void>;
  /** By that signal: its exit status. */
  endsBy(signal: NodeJS.Signals): Promise<number | null>;
}

/** Resolves when its control socket answers, ready or not. `words` come in front of it: `setpriv …`; `program`: another build of it. */
export async function serveIn(
  namespace: NetworkNamespace,
  folder: string,
  inventory: string,
  words: readonly string[] = [],
  program = MAIN,
): Promise<ServedProgram> {
  const config = join(folder, 'config.yaml');
  writeFileSync(config, inventory);
  const child = namespace.spawn('env', ...words, 'node', program, 'serve', '--config', config);
  const text = collect(child);
  const socketPath = join(folder, 'state', 'control.sock');
  const readiness = () => get(socketPath, '/readyz');
  await until(async () => (await readiness()) !== '' || child.exitCode !== null, 'the server');
  if (child.exitCode !== null) throw new Error(`the server ended: ${text()}`);
  const logged = (event: string) => {
    const complete = text().split('\n').slice(0, -1);
    return complete.map((line) => JSON.parse(line)).filter(({ msg }) => msg === event);
  };
  return {
    config,
    pid: child.pid ?? 0,
    logged,
    async firstLogged(event) {
      await until(() => logged(event).length > 0, `${event} in the log`);
      return logged(event)[0];
    },
    readiness,
    async ready(wanted = 'ready\n') {
      let last = '';
      const isSo = async () => {
        last = await readiness();
        return typeof wanted === 'string' ? last === wanted : wanted.test(last);
      };
      await until(isSo, `${wanted}`, READY_PATIENCE_MS).catch((error) => {
        throw new Error(`${error.message}; it says: ${last}`);
      });
    },
    async listeners() {
      const status: { readonly listeners: readonly { readonly name: string }[] } = JSON.parse(
        await get(socketPath, '/api/boards'),
      );
      return status.listeners.map(({ name }) => name);
    },
    async metric(name) {
      const lines = (await get(socketPath, '/metrics')).split('\n');
      const line = lines.find((candidate) => candidate.startsWith(`${name} `));
      return line === undefined ? undefined : Number(line.slice(name.length));
    },
    stop: () => end(child, 'SIGTERM'),
    kill: () => end(child, 'SIGKILL'),
    async endsBy(signal) {
      await end(child, signal);
      return child.exitCode;
    },
  };
}

export interface Played {
  readonly text: string;
  readonly json: { readonly outcome?: string; readonly cmdline?: string };
}

/** A pretend board there; `words` are those of `pretend`. */
export async function playIn(namespace: NetworkNamespace, ...words: readonly string[]): Promise<Played> {
  const text = await outputIn(namespace, 'node', MAIN, 'pretend', '--json', ...words);
  const end = text.lastIndexOf('}');
  return { text, json: end < 0 ? {} : JSON.parse(text.slice(0, end + 1)) };
}

/** All that a program says there, until it ends. */
export async function outputIn(namespace: NetworkNamespace, ...words: readonly [string, ...string[]]): Promise<string> {
  const child = namespace.spawn(...words);
  const text = collect(child);
  await new Promise((resolve) => child.once('close', resolve));
  return text();
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

function collect(child: ChildProcess): () => string {
  let said = '';
  const listen = (chunk: Buffer) => {
    said += chunk.toString('utf8');
  };
  child.stdout?.on('data', listen);
  child.stderr?.on('data', listen);
  return () => said;
}

/** Empty where nobody answers. */
function get(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve) => {
    const asking = request({ socketPath, path }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve(text));
    });
    asking.on('error', () => resolve(''));
    asking.end();
  });
}
