import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { withoutNamespaces } from '../support/network-namespace.js';
import { anyOf, without } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { scratchFolder } from '../support/scratch.js';
import { type HostProgram, type TwoHosts, twoHosts } from '../support/two-hosts.js';

const skip = anyOf(withoutNamespaces(), without('nft', 'nftables'));

const repairModule = JSON.stringify(projectFile('build/src/os/tcp-repair.js'));
const holdModule = JSON.stringify(projectFile('build/src/os/connection-hold.js'));
const PORT = 7000;

/** Echoes what one client sends; told to, it keeps the connection in a file and ends, or takes it up from there. */
function echoServer(file: string): string {
  return `
    import { readFileSync, writeFileSync } from 'node:fs';
    import { createServer, Socket } from 'node:net';
    import { createInterface } from 'node:readline';
    import { ConnectionHold } from ${holdModule};
    import { freezeTcp, thawTcp } from ${repairModule};
    const hold = new ConnectionHold('echo');
    const asText = (_key, value) => (value?.type === 'Buffer' ? { bytes: Buffer.from(value.data).toString('base64') } : value);
    const asBytes = (_key, value) => (typeof value?.bytes === 'string' ? Buffer.from(value.bytes, 'base64') : value);
    let peer;
    const echo = (socket) => {
      peer = socket;
      socket.on('data', (chunk) => void (socket.write(chunk) || socket.pause()));
      socket.on('drain', () => socket.resume());
      socket.on('error', ({ code }) => console.log(code));
    };
    const server = createServer((socket) => {
      echo(socket);
      console.log('accepted');
    });
    async function freeze() {
      for (const event of ['drain', 'data']) peer.removeAllListeners(event);
      peer.pause();
      while (peer.writableLength > 0) await new Promise((resolve) => setTimeout(resolve, 1));
      const local = { address: peer.localAddress, port: peer.localPort };
      const far = { address: peer.remoteAddress, port: peer.remotePort };
      await hold.hold({ connections: [{ local, peer: far }], ports: [${PORT}], seconds: 60 });
      const unseen = peer.read() ?? Buffer.alloc(0); // a paused socket reads on until its buffer is full
      const { tcp, received } = freezeTcp(peer._handle.fd);
      const buffers = Object.fromEntries(Object.entries(tcp).map(([name, value]) => [name, value instanceof Uint8Array ? Buffer.from(value) : value]));
      writeFileSync(${JSON.stringify(file)}, JSON.stringify({ tcp: buffers, input: Buffer.concat([unseen, received]) }, asText));
      console.log('frozen');
      process.exit();
    }
    async function thaw() {
      const { tcp, input } = JSON.parse(readFileSync(${JSON.stringify(file)}, 'utf8'), asBytes);
      const socket = new Socket({ fd: thawTcp(tcp) });
      socket.write(Buffer.concat([tcp.unsent, input]));
      echo(socket);
      await listen();
      await hold.release();
      console.log('thawed');
    }
    const listen = () => new Promise((resolve) => server.listen(${PORT}, '0.0.0.0', resolve));
    createInterface(process.stdin).on('line', async (line) => {
      if (line === 'listen') await listen().then(() => console.log('listening'));
      if (line === 'freeze') await freeze();
      if (line === 'thaw') await thaw();
      if (line === 'say something') peer.write('x');
    });
  `;
}

/** Sends bytes that can be told apart from then on, as fast as they are taken, and looks whether they come back in order. */
function client(address: string, isPlain: boolean): string {
  return `
    import { writeFileSync } from 'node:fs';
    for (const option of ${JSON.stringify(isPlain ? ['window_scaling', 'timestamps', 'sack'] : [])}) {
      writeFileSync('/proc/sys/net/ipv4/tcp_' + option, '0');
    }
    import { connect } from 'node:net';
    import { createInterface } from 'node:readline';
    const PERIOD = 251 * 257;
    const pattern = Buffer.alloc(2 * PERIOD, (0, Buffer.from(Array.from({ length: PERIOD }, (_, i) => (i * 7 + (i >> 8)) % 251))));
    let sent = 0;
    let seen = 0;
    let stopped = false;
    const socket = connect(${PORT}, '${address}', () => { console.log('connected'); pump(); });
    const pump = () => {
      while (!stopped) {
        const at = sent % PERIOD;
        sent += 8192;
        if (!socket.write(pattern.subarray(at, at + 8192))) break;
      }
    };
    socket.on('drain', pump);
    socket.on('data', (chunk) => {
      const at = seen % PERIOD;
      for (let i = 0; i < chunk.length; ) {
        const length = Math.min(chunk.length - i, PERIOD);
        const from = (seen + i) % PERIOD;
        if (chunk.compare(pattern, from, from + length, i, i + length) !== 0) { console.log('wrong at ' + (seen + i)); process.exit(); }
        i += length;
      }
      seen += chunk.length;
      if (stopped && seen === sent) console.log('all back');
    });
    for (const event of ['error', 'close', 'end']) socket.on(event, (what) => console.log(event + (what?.code ?? '')));
    createInterface(process.stdin).on('line', (line) => {
      if (line === 'seen') console.log(seen);
      if (line === 'stop') { stopped = true; if (seen === sent) console.log('all back'); }
    });
  `;
}

interface Bench {
  readonly hosts: TwoHosts;
  readonly far: HostProgram;
  near: HostProgram;
  readonly file: string;
}

/** `isPlain`: the peer knows nothing of what TCP has learnt since 1981. */
async function bench(context: TestContext, { isPlain = false } = {}): Promise<Bench> {
  const file = join(scratchFolder(context), 'connection');
  const hosts = twoHosts(context);
  const near = hosts.run('near', echoServer(file));
  near.say('listen');
  assert.equal(await near.line(), 'listening');
  const far = hosts.run('far', client(hosts.nearAddress, isPlain));
  assert.equal(await near.line(), 'accepted');
  assert.equal(await far.line(), 'connected');
  return { hosts, far, near, file };
}

async function restart(on: Bench, gapMs = 0): Promise<void> {
  on.near.say('freeze');
  assert.equal(await on.near.line(), 'frozen');
  await new Promise((resolve) => setTimeout(resolve, gapMs));
  on.near = on.hosts.run('near', echoServer(on.file));
  on.near.say('thaw');
  assert.equal(await on.near.line(), 'thawed');
}

async function seenBy(far: HostProgram): Promise<number> {
  far.say('seen');
  const line = await far.line();
  assert.match(line, /^\d+$/);
  return Number(line);
}

describe('a TCP connection that outlives its process', { skip }, () => {
  for (const isPlain of [false, true]) {
    const how = isPlain ? 'with a peer that knows no options' : 'under full load in both directions';
    test(`goes on byte for byte through ten processes, ${how}`, async (context) => {
      const on = await bench(context, { isPlain });
      for (let round = 0; round < 10; round += 1) {
        const before = await seenBy(on.far);
        await restart(on, round * 20);
        // More than a window of 64 bytes lets through, which is what a scale that nobody agreed to would make of it.
        while ((await seenBy(on.far)) <= before + 1_000_000) await new Promise((resolve) => setTimeout(resolve, 20));
      }
      on.far.say('stop');
      assert.equal(await on.far.line(), 'all back');
    });
  }

  test('a peer that is gone meanwhile answers with RST when it is asked', async (context) => {
    const on = await bench(context);
    on.far.say('stop');
    assert.equal(await on.far.line(), 'all back');
    on.near.say('freeze');
    assert.equal(await on.near.line(), 'frozen');
    on.hosts.forgetConnections();
    on.near = on.hosts.run('near', echoServer(on.file));
    on.near.say('thaw');
    assert.equal(await on.near.line(), 'thawed');
    on.near.say('say something');
    assert.equal(await on.near.line(), 'ECONNRESET');
  });

  test('who may not, is told so', async (context) => {
    const { hosts } = await bench(context);
    const script = `
      import { whyNoTcpRepair } from ${repairModule};
      import { ConnectionHold } from ${holdModule};
      console.log(whyNoTcpRepair());
      console.log((await new ConnectionHold("echo").whyNot())?.message);
    `;
    const plain = hosts.run('near', script, { plain: true });
    assert.deepEqual([await plain.line(), await plain.line()], ['no CAP_NET_ADMIN', 'no CAP_NET_ADMIN']);
    const mighty = hosts.run('near', script);
    assert.deepEqual([await mighty.line(), await mighty.line()], ['undefined', 'undefined']);
  });
});
