import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { libcFunction } from '../../src/os/libc.js';
import { type Ending, whenOver } from './cleanup.js';
import { anyOf, without, withoutRoot } from './programs.js';

/** A network of its own: interfaces, addresses, ports. Gone, with what was started in it, when the test is over. */
export interface NetworkNamespace {
  readonly name: string;
  /**
   * Calls `action` as if this thread lived there. What it opens stays there (a socket belongs to the namespace that made
   * it), so it must open it before it returns: `action` may not be asynchronous.
   */
  inside<Result>(action: () => Result): Result;
  /** Starts a program there; it is killed, by its id, when the test is over, and by the kernel should this process be killed. */
  spawn(program: string, ...programArguments: readonly string[]): ChildProcessWithoutNullStreams;
  /** The same, with these as its descriptors from 3 on. */
  spawnWith(
    descriptors: readonly number[],
    program: string,
    ...programArguments: readonly string[]
  ): ChildProcessWithoutNullStreams;
  /** `ip -n THIS …`; throws if ip does not like it. */
  ip(...ipArguments: readonly string[]): void;
}

/** For `test(name, { skip: withoutNamespaces() }, …)`. */
export function withoutNamespaces(): string | false {
  const missing = anyOf(withoutRoot(), without('ip', 'iproute2'), without('setpriv', 'util-linux'));
  if (missing !== false) return missing;
  return spawnSync('unshare', ['--net', 'true']).status === 0 ? false : 'needs the right to make network namespaces';
}

export function networkNamespace(context: Ending): NetworkNamespace {
  removeOrphans();
  const name = `${PREFIX}${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  const children: ChildProcess[] = [];
  ip('netns', 'add', name);
  whenOver(context, async () => {
    await Promise.all(children.map(end));
    ip('netns', 'delete', name);
  });
  ip('-n', name, 'link', 'set', 'lo', 'up');
  const spawnWith: NetworkNamespace['spawnWith'] = (descriptors, program, ...programArguments) => {
    const inside = ['ip', 'netns', 'exec', name, program, ...programArguments];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...inside], { stdio: [...PIPES, ...descriptors] });
    children.push(child);
    if (!hasPipes(child)) throw new Error(`${program} has no pipes`);
    return child;
  };
  return {
    name,
    inside: (action) => insideNamespace(name, action),
    spawn: (program, ...programArguments) => spawnWith([], program, ...programArguments),
    spawnWith,
    ip: (...ipArguments) => ip('-n', name, ...ipArguments),
  };
}

/** A cable between two namespaces. Each end is an interface name and an address with its prefix length, or none. */
export function connectNamespaces(...ends: readonly [CableEnd, CableEnd]): void {
  const [left, right] = ends;
  const peer = ['peer', 'name', right.interfaceName, 'netns', right.namespace.name];
  left.namespace.ip('link', 'add', left.interfaceName, 'type', 'veth', ...peer);
  for (const { namespace, interfaceName, address } of ends) {
    if (address !== undefined) namespace.ip('address', 'add', address, 'dev', interfaceName);
    namespace.ip('link', 'set', interfaceName, 'up');
  }
  // The kernel does that in a thread of its own, and what is sent before that is lost: the end that came up first had no peer then.
  for (const { namespace, interfaceName } of ends) waitUntilUp(namespace, interfaceName);
}

export interface CableEnd {
  readonly namespace: NetworkNamespace;
  readonly interfaceName: string;
  /** `192.0.2.1/24`. */
  readonly address?: string;
}

const PREFIX = 'brambleboot-';
const PIPES = ['pipe', 'pipe', 'pipe'] as const;
const CLONE_NEWNET = 0x40000000;

const setns = libcFunction('setns', 'int setns(int fd, int kind)');

function insideNamespace<Result>(name: string, action: () => Result): Result {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  const away = openSync(`/run/netns/${name}`, 'r');
  try {
    setns.now(away, CLONE_NEWNET);
    try {
      return action();
    } finally {
      setns.now(home, CLONE_NEWNET);
    }
  } finally {
    closeSync(away);
    closeSync(home);
  }
}

function hasPipes(child: ChildProcess): child is ChildProcessWithoutNullStreams {
  return [child.stdin, child.stdout, child.stderr].every((stream) => stream !== null);
}

/** Namespaces outlive a test process that was killed; their names tell whose they were. */
function removeOrphans(): void {
  const names = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout.split('\n');
  const living = new Set(readdirSync('/proc'));
  for (const name of names.map((line) => line.split(' ')[0] ?? '').filter((line) => line.startsWith(PREFIX))) {
    const owner = name.slice(PREFIX.length).split('-')[0] ?? '';
    if (!living.has(owner)) spawnSync('ip', ['netns', 'delete', name]);
  }
}

function ip(...ipArguments: readonly string[]): void {
  const { status, stderr } = spawnSync('ip', ipArguments, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${ipArguments.join(' ')}: ${stderr.trim()}`);
}

/** Busily: each look is a program that is started, which takes some milliseconds. */
function waitUntilUp(namespace: NetworkNamespace, interfaceName: string): void {
  const words = ['-n', namespace.name, '-brief', 'link', 'show', 'dev', interfaceName];
  const endMs = performance.now() + 60_000;
  while (!/ UP /.test(spawnSync('ip', words, { encoding: 'utf8' }).stdout)) {
    if (performance.now() > endMs) throw new Error(`${interfaceName} does not come up`);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}
