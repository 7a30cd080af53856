import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { withoutNamespaces } from '../support/network-namespace.js';
import { anyOf, without } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { type HostProgram, twoHosts } from '../support/two-hosts.js';

const skip = anyOf(withoutNamespaces(), without('setpriv', 'util-linux'));

const probeModule = JSON.stringify(projectFile('build/src/os/tcp-probe.js'));
const clockModule = JSON.stringify(projectFile('build/src/base/clock.js'));

/** Accepts one connection, then does what a line on its input says and prints what came of it. */
const server = `
  import { createServer } from 'node:net';
  import { createInterface } from 'node:readline';
  import { keepConnected, probePeer } from ${probeModule};
  import { systemClock } from ${clockModule};
  let peer;
  const listener = createServer((socket) => {
    peer = socket;
    keepConnected(socket);
    socket.on('error', () => {});
    console.log('accepted');
  });
  listener.listen(7000, () => console.log('listening'));
  createInterface(process.stdin).on('line', async (line) => {
    if (line === 'probe') {
      let listenedMs = 0;
      const after = (delayMs, action) => {
        listenedMs += delayMs;
        return systemClock.after(delayMs, action);
      };
      const verdict = await probePeer(peer, { ...systemClock, after });
      console.log(JSON.stringify({ verdict, listenedMs }));
    }
    if (line === 'send') peer.write(Buffer.alloc(1000), () => console.log('sent'));
    if (line === 'fill') {
      peer.write(Buffer.alloc(50_000_000));
      console.log('filling');
    }
  });
`;

/** Connects and reads, or does not. */
function client(address: string, reads: boolean): string {
  return `
    import { connect } from 'node:net';
    const socket = connect(7000, '${address}', () => console.log('connected'));
    socket.on('error', () => {});
    socket.${reads ? 'resume' : 'pause'}();
    setInterval(() => {}, 1000);
  `;
}

interface Bench {
  readonly server: HostProgram;
  readonly client: HostProgram;
  readonly hosts: ReturnType<typeof twoHosts>;
}

async function bench(context: TestContext, { reads = true, plain = false } = {}): Promise<Bench> {
  const hosts = twoHosts(context);
  const near = hosts.run('near', server, { plain });
  assert.equal(await near.line(), 'listening');
  const far = hosts.run('far', client(hosts.nearAddress, reads));
  assert.equal(await near.line(), 'accepted');
  assert.equal(await far.line(), 'connected');
  return { server: near, client: far, hosts };
}

interface Answer {
  readonly verdict: string;
  /** What the probe waited for, as it counts: a machine that is busy with something else adds nothing to it. */
  readonly listenedMs: number;
}

async function probe({ server: near }: Bench): Promise<Answer> {
  near.say('probe');
  const answer: Answer = JSON.parse(await near.line());
  return answer;
}

describe('a probed peer', { skip, concurrency: true }, () => {
  test('that is idle and there is alive, well before a keepalive would be due', async (context) => {
    const at = await bench(context);
    const { verdict, listenedMs } = await probe(at);
    assert.equal(verdict, 'alive');
    assert.ok(listenedMs < 900, `${listenedMs} ms`);
    assert.equal((await probe(at)).verdict, 'alive', 'and can be asked again');
  });

  test('is found alive without CAP_NET_ADMIN too, by the keepalive', async (context) => {
    const at = await bench(context, { plain: true });
    const { verdict, listenedMs } = await probe(at);
    assert.equal(verdict, 'alive');
    assert.ok(listenedMs < 2900, `${listenedMs} ms`);
  });

  test('whose cable is cut is gone after three seconds, idle as it was', async (context) => {
    const at = await bench(context);
    at.hosts.cutCable();
    const { verdict, listenedMs } = await probe(at);
    assert.equal(verdict, 'gone');
    assert.ok(listenedMs >= 3000 && listenedMs < 4000, `${listenedMs} ms`);
  });

  test('whose cable is cut is gone, with data that it never acknowledged', async (context) => {
    const at = await bench(context);
    at.hosts.cutCable();
    at.server.say('send');
    assert.equal(await at.server.line(), 'sent');
    assert.equal((await probe(at)).verdict, 'gone');
  });

  test('that was judged gone too early is no worse for it: the kernel has given up nothing', async (context) => {
    const at = await bench(context);
    at.hosts.cutCable();
    assert.equal((await probe(at)).verdict, 'gone');
    at.hosts.mendCable();
    assert.equal((await probe(at)).verdict, 'alive');
  });

  test('that reads nothing, and whose window is closed, is alive', async (context) => {
    const at = await bench(context, { reads: false });
    at.server.say('fill');
    assert.equal(await at.server.line(), 'filling');
    await probe(at); // data is still acknowledged here
    await new Promise((resolve) => setTimeout(resolve, 1500)); // until the window is closed and its probes are rare
    const { verdict } = await probe(at);
    assert.equal(verdict, 'alive');
  });

  test('that rebooted answers with a RST and is gone at once', async (context) => {
    const at = await bench(context);
    at.hosts.cutCable(); // so that nothing of its end is heard, as when power fails
    at.hosts.forgetConnections();
    at.hosts.mendCable();
    const { verdict, listenedMs } = await probe(at);
    assert.equal(verdict, 'gone');
    assert.ok(listenedMs < 2900, `${listenedMs} ms`);
  });
});
