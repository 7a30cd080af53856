import { execFileSync, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';

/**
 * Two hosts with a cable between them: network namespaces of this test's own, gone when it is over. Needs root and
 * iproute2. `near` is 10.91.0.1, `far` 10.91.0.2; nothing else can be reached from either.
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

let count = 0;

export function twoHosts(context: TestContext): TwoHosts {
  count += 1;
  const id = `${process.pid}-${count}`;
  const near = `bbn-${id}`;
  const far = `bbf-${id}`;
  context.after(() => {
    for (const host of [near, far]) ip('netns', 'del', host);
  });
  ip('netns', 'add', near);
  ip('netns', 'add', far);
  ip('link', 'add', 'cable0', 'netns', near, 'type', 'veth', 'peer', 'name', 'cable0', 'netns', far);
  for (const [host, address] of [
    [near, '10.91.0.1/24'],
    [far, '10.91.0.2/24'],
  ] as const) {
    ip('-n', host, 'address', 'add', address, 'dev', 'cable0');
    ip('-n', host, 'link', 'set', 'cable0', 'up');
    ip('-n', host, 'link', 'set', 'lo', 'up');
  }
  return {
    nearAddress: '10.91.0.1',
    farAddress: '10.91.0.2',
    run: (host, script, options) => program(context, host === 'near' ? near : far, script, options?.plain ?? false),
    cutCable: () => ip('-n', far, 'link', 'set', 'cable0', 'down'),
    mendCable: () => ip('-n', far, 'link', 'set', 'cable0', 'up'),
    forgetConnections: () => ip('netns', 'exec', far, 'ss', '--kill', '--tcp', 'dst', '10.91.0.1'),
  };
}

function ip(...values: readonly string[]): void {
  execFileSync('ip', values, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function program(context: TestContext, host: string, script: string, plain: boolean): HostProgram {
  const lessPower = plain ? ['setpriv', '--bounding-set', '-net_admin'] : [];
  const command = ['netns', 'exec', host, ...lessPower, process.execPath, '--input-type=module', '-e', script];
  const child = spawn('ip', command, { stdio: ['pipe', 'pipe', 'inherit'] });
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
    child.kill('SIGKILL'); // `ip netns exec` becomes the program: it is the same process
    await gone;
  };
  context.after(kill);
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
