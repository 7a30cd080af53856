import { execFileSync } from 'node:child_process';
import type { TestContext } from 'node:test';
import { connectNamespaces, type NetworkNamespace, networkNamespace } from './network-namespace.js';

/**
 * Two hosts with a cable between them: network namespaces of this test's own, gone when it is over. `near`
 * is 10.91.0.1, `far` 10.91.0.2; nothing else can be reached from either.
 */
export interface TwoHosts {
  readonly nearAddress: string;
  readonly farAddress: string;
  /** Runs node in a host, with `script` as an ES module. `plain` takes CAP_NET_ADMIN from it. */
  run(host: 'near' | 'far', script: string, options?: { readonly plain: boolean }): HostProgram;
  cutCable(): void;
  mendCable(): void;
  /** The far host forgets its TCP connections without a word, as one that was switched off and on. */
  forgetConnections(): void;
}

export interface HostProgram {
  /** The next line of its standard output. Rejects when it ends without one. */
  line(): Promise<string>;
  /** Tells it something: a line on its standard input. */
  say(text: string): void;
  /** Ends it without letting it close anything. */
  kill(): Promise<void>;
}

export function twoHosts(context: TestContext): TwoHosts {
  const near = networkNamespace(context);
  const far = networkNamespace(context);
  connectNamespaces(
    { namespace: near, interfaceName: 'cable0', address: '10.91.0.1/24' },
    { namespace: far, interfaceName: 'cable0', address: '10.91.0.2/24' },
  );
  return {
    nearAddress: '10.91.0.1',
    farAddress: '10.91.0.2',
    run: (host, script, options) => hostProgram(host === 'near' ? near : far, script, options?.plain ?? false),
    cutCable: () => far.ip('link', 'set', 'cable0', 'down'),
    mendCable: () => far.ip('link', 'set', 'cable0', 'up'),
    forgetConnections() {
      const words = ['netns', 'exec', far.name, 'ss', '--kill', '--tcp', 'dst', '10.91.0.1'];
      execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'inherit'] });
    },
  };
}

/** Runs node in a namespace, with `script` as an ES module. */
export function hostProgram(host: NetworkNamespace, script: string, plain = false): HostProgram {
  const lessPower = plain ? ['setpriv', '--bounding-set', '-net_admin'] : [];
  const child = host.spawn('env', ...lessPower, process.execPath, '--input-type=module', '-e', script);
  child.stderr.on('data', (chunk: Buffer) => void process.stderr.write(chunk));
  const lines: string[] = [];
  let wake: () => void = () => {};
  let rest = '';
  let ended = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = `${rest}${text}`.split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
    wake();
  });
  const gone = new Promise<void>((resolve) => {
    child.once('close', () => {
      ended = true;
      wake();
      resolve();
    });
  });
  const kill = async () => {
    child.kill('SIGKILL'); // `ip netns exec` and env become the program: it is the same process
    await gone;
  };
  return {
    async line() {
      for (;;) {
        const line = lines.shift();
        if (line !== undefined) return line;
        if (ended) throw new Error('the program ended');
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    say: (text) => void child.stdin.write(`${text}\n`),
    kill,
  };
}
