// The real program with sockets that systemd's own tool made, as a .socket unit would: clients come before it is up, and are answered.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { libcFunction } from '../../src/os/libc.js';
import { AF_UNIX, bind, SOCK_STREAM, socket } from '../../src/os/socket-calls.js';
import { unixAddress } from '../../src/os/unix-socket.js';
import { fetchFile } from '../../src/tftp/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from '../support/cleanup.js';
import { background, outputOf, until } from '../support/commands.js';
import { runForeign } from '../support/foreign.js';
import { notifySocket } from '../support/notify-socket.js';
import { anyOf, without } from '../support/programs.js';
import { LISTED_SERIAL, MAIN } from '../support/running-program.js';
import { scratchFolder } from '../support/scratch.js';

const skip = anyOf(
  without('systemd-socket-activate', 'systemd'),
  without('nbdinfo', 'libnbd-bin'),
  without('curl', 'curl'),
);

interface Prepared {
  readonly folder: string;
  readonly config: string;
  readonly ports: { readonly nbd: number; readonly http: number; readonly tftp: number };
}

async function prepared(context: TestContext): Promise<Prepared> {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const [nbd, http, tftp, dhcp] = await freePorts();
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: lo, state: ./state }
dhcp: { port: ${dhcp}, reply_port: 68 }
tftp: { port: ${tftp} }
nbd: { port: ${nbd} }
http: { address: 127.0.0.1, port: ${http} }
images: { demo: { file: demo.img } }
boards: { node1: { serial: ${LISTED_SERIAL}, image: demo } }
`,
  );
  return { folder, config, ports: { nbd, http, tftp } };
}

function activate(context: TestContext, { config }: Prepared, words: readonly string[]): ChildProcess {
  return background(context, 'systemd-socket-activate', [
    ...words,
    process.execPath,
    MAIN,
    'serve',
    '--config',
    config,
  ]);
}

describe('sockets from systemd', { skip }, () => {
  test('for NBD and HTTP: who connects starts it and is answered, over IPv4, IPv6 and Unix', async (context) => {
    const place = await prepared(context);
    const { nbd, http } = place.ports;
    const path = join(place.folder, 'nbd.sock');
    const child = activate(context, place, [
      ...[`--listen=[::]:${nbd}`, `--listen=127.0.0.1:${http}`, `--listen=${path}`],
      '--fdname=nbd:http:nbd',
    ]);
    const isWaiting = outputOf(child, `Listening on ${path}`);
    const isReady = outputOf(child, 'server.ready');
    const log = collected(child);
    await until(isWaiting, 'systemd-socket-activate');
    // All of them at once, before there is a server.
    const [overIpv4, overIpv6, overUnix, status] = await Promise.all([
      runForeign('nbdinfo', '--size', `nbd://127.0.0.1:${nbd}/node1`),
      runForeign('nbdinfo', '--list', `nbd://[::1]:${nbd}/`),
      runForeign('nbdinfo', '--list', `nbd+unix:///?socket=${path}`),
      runForeign('curl', '--silent', '--max-time', '30', `http://127.0.0.1:${http}/api/boards`),
    ]);
    assert.match(overIpv4.stdout, /^\d+\n$/, overIpv4.stderr);
    for (const { stdout, stderr } of [overIpv6, overUnix]) assert.match(stdout, /export="node1"/, stderr);
    const names = JSON.parse(status.stdout).listeners.map(({ name }: { readonly name: string }) => name);
    for (const name of [
      `nbd from systemd :: port ${nbd}`,
      `nbd from systemd ${path}`,
      `http from systemd 127.0.0.1 port ${http}`,
    ]) {
      assert.ok(names.includes(name), `${name} among ${names.join(', ')}`);
    }
    assert.equal(names.filter((name: string) => /^(nbd|http) /.test(name)).length, 3, 'and none of its own');
    await until(isReady, 'server.ready');
    assert.match(log(), /"peer":"127\.0\.0\.1".*"nbd\.disk\.attached"/, 'a v4-mapped address is written plainly');
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    assert.equal(await ended, 0);
  });

  test('for TFTP: the first request starts it, and gets its file from the address it asked', async (context) => {
    const place = await prepared(context);
    const { tftp } = place.ports;
    const child = activate(context, place, ['--datagram', `--listen=127.0.0.1:${tftp}`, '--fdname=tftp']);
    const isWaiting = outputOf(child, `Listening on 127.0.0.1:${tftp}`);
    await until(isWaiting, 'systemd-socket-activate');
    const { verdict } = await fetchFile({
      path: `${LISTED_SERIAL}/config.txt`,
      server: { address: '127.0.0.1', port: tftp },
      local: { address: '127.0.0.1', port: 0 },
      clock: systemClock,
    });
    assert.equal(verdict.outcome, 'complete');
  });

  test('outlive the server: who connects while it is down is answered by the next one', async (context) => {
    const { config, folder } = await prepared(context);
    const path = join(folder, 'kept.sock');
    const descriptor = keptSocket(context, path);
    const uri = `nbd+unix:///node1?socket=${path}`;
    for (let start = 0; start < 2; start += 1) {
      const answer = runForeign('nbdinfo', '--size', uri);
      // As a service manager does it: descriptor 3, and the PID of what is executed.
      const child = spawn(
        'sh',
        ['-c', 'LISTEN_PID=$$ exec "$@"', 'sh', process.execPath, MAIN, 'serve', '--config', config],
        {
          env: { ...process.env, LISTEN_FDS: '1', LISTEN_FDNAMES: 'nbd' },
          stdio: ['ignore', 'pipe', 'pipe', descriptor],
        },
      );
      const ended = new Promise((resolve) => child.once('exit', resolve));
      whenOver(context, () => void child.kill('SIGKILL'));
      const { stdout, stderr } = await answer;
      assert.match(stdout, /^\d+\n$/, stderr);
      child.kill('SIGTERM');
      assert.equal(await ended, 0);
      assert.ok(existsSync(path), "its path is the manager's to remove");
    }
  });

  test('come with a manager that is told READY, STATUS, WATCHDOG and STOPPING', async (context) => {
    const place = await prepared(context);
    const notify = join(place.folder, 'notify');
    const manager = notifySocket(context, notify);
    const child = activate(context, place, [
      ...[`--listen=127.0.0.1:${place.ports.nbd}`, '--fdname=nbd'],
      ...[`--setenv=NOTIFY_SOCKET=${notify}`, '--setenv=WATCHDOG_USEC=200000'],
    ]);
    const isWaiting = outputOf(child, 'Listening on');
    await until(isWaiting, 'systemd-socket-activate');
    const hasSaid = (pattern: RegExp) => manager.said().some((text) => pattern.test(text));
    const disk = await (await connectNbd({ host: '127.0.0.1', port: place.ports.nbd }, systemClock)).go('node1');
    whenOver(context, () => disk.destroy());
    await until(() => hasSaid(/^READY=1\nSTATUS=\d of 1 boards attached/), 'READY');
    await until(() => hasSaid(/^(READY=1\n)?STATUS=1 of 1 boards attached: node1/), 'the board');
    const signs = manager.said().filter((text) => text === 'WATCHDOG=1\n').length;
    await until(() => manager.said().filter((text) => text === 'WATCHDOG=1\n').length > signs + 2, 'signs of life');
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    assert.equal(await ended, 0);
    assert.ok(hasSaid(/^STOPPING=1\nSTATUS=stopping; the disks of node1 go away\n$/));
  });

  test('that do not fit end it at once, each with what to change in its unit', async (context) => {
    const place = await prepared(context);
    const { nbd, http } = place.ports;
    const child = activate(context, place, [
      ...[`--listen=127.0.0.1:${nbd}`, `--listen=127.0.0.1:${http}`],
      '--fdname=tftp:brambleboot.socket',
    ]);
    const log = collected(child);
    await until(() => log().includes(`Listening on 127.0.0.1:${http}`), 'systemd-socket-activate');
    const ended = new Promise((resolve) => child.once('close', resolve));
    await runForeign('curl', '--silent', '--max-time', '30', `http://127.0.0.1:${http}/`);
    assert.equal(await ended, 2);
    assert.match(log(), /descriptor 3, "tftp" at 127\.0\.0\.1 port \d+: TFTP takes datagrams/);
    assert.match(log(), /descriptor 4, "brambleboot\.socket" at .* write FileDescriptorName=nbd, http or tftp/);
  });

  test('meant for another process end it with what to change', async (context) => {
    const { config } = await prepared(context);
    const child = spawn(process.execPath, [MAIN, 'serve', '--config', config], {
      env: { ...process.env, LISTEN_FDS: '1', LISTEN_PID: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = collected(child);
    assert.equal(await new Promise((resolve) => child.once('close', resolve)), 2);
    assert.match(log(), /LISTEN_PID is 1, and this is process \d+/);
  });
});

/** Bound and listening, and nobody here accepts. */
function keptSocket(context: TestContext, path: string): number {
  const descriptor = socket.now(AF_UNIX, SOCK_STREAM, 0);
  whenOver(context, () => closeSync(descriptor));
  const address = unixAddress(path);
  bind.now(descriptor, address, address.length);
  libcFunction('listen', 'int listen(int fd, int backlog)').now(descriptor, 16);
  return descriptor;
}

function collected(child: ChildProcess): () => string {
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (said += chunk));
  return () => said;
}

/** Free a moment ago: systemd-socket-activate takes no port 0. */
async function freePorts(): Promise<[number, number, number, number]> {
  const servers = [0, 0, 0, 0].map(() => createServer().listen(0, '127.0.0.1'));
  const ports = await Promise.all(
    servers.map(async (server) => {
      if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
      const bound = server.address();
      await new Promise((resolve) => server.close(resolve));
      return typeof bound === 'object' && bound !== null ? bound.port : 0;
    }),
  );
  const [nbd = 0, http = 0, tftp = 0, dhcp = 0] = ports;
  return [nbd, http, tftp, dhcp];
}
