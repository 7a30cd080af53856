// Whatever strings a LAN sends, nobody who reads the log, the CLI, the API or the page is steered by them.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { discoverOf } from '../../src/dhcp/discover.js';
import { encodeDhcp } from '../../src/dhcp/wire.js';
import { Option as NbdOption } from '../../src/nbd/wire/constants.js';
import { encodeGreeting, encodeOption, encodeOptionReply } from '../../src/nbd/wire/handshake-wire.js';
import { fetchFile } from '../../src/tftp/client.js';
import { whenOver } from '../support/cleanup.js';
import { run, until } from '../support/commands.js';
import { fakeBoard } from '../support/fake-board.js';
import { HOSTILE_BYTES, HOSTILE_WORDS, STEERS_A_TERMINAL } from '../support/hostile-words.js';
import { without } from '../support/programs.js';
import { rawNbd } from '../support/raw-nbd.js';
import { brambleboot, LISTED_SERIAL, type RunningProgram, runProgram } from '../support/running-program.js';
import { ack, rawPeer, serve } from '../support/tftp.js';

const listed = { mac: 'dc:a6:32:01:02:03', serial: LISTED_SERIAL, revisionCode: 0x00d03114 };
const stranger = { mac: 'e4:5f:01:09:02:f7', serial: '91cdf03d', revisionCode: 0x00d03114 };

describe('what a LAN says', () => {
  test('is one line of JSON each time, and steers no terminal', async (context) => {
    const program = await provoked(context);
    const lines = program.output().trimEnd().split('\n');
    assert.doesNotMatch(lines.join(''), STEERS_A_TERMINAL);
    const events = lines.map((line) => JSON.parse(line));
    assert.ok(events.every((event) => typeof event.msg === 'string' && event.msg !== 'evil.line'));
    // It is there, as it should be: what was asked for is what an administrator wants to see.
    for (const event of ['tftp.transfer.not_found', 'tftp.transfer.failed', 'nbd.disk.refused', 'dhcp.board.unknown']) {
      assert.ok(
        events.some(({ msg }) => msg === event),
        `no ${event}`,
      );
    }
    assert.ok(lines.filter((line) => line.includes('document.title')).length >= 3);
  });

  test('is harmless in the CLI, in the API and in the metrics', async (context) => {
    const { config, ports } = await provoked(context);
    for (const words of [['boards'], ['boards', 'node1'], ['boards', '--json'], ['boards', HOSTILE_WORDS]]) {
      const { stdout, stderr } = await brambleboot(...words, '--config', config);
      assert.doesNotMatch(withoutOurOwn(stdout + stderr), STEERS_A_TERMINAL, words.join(' '));
    }
    const timeline = (await brambleboot('boards', 'node1', '--config', config)).stdout;
    assert.match(timeline, /kernel8\.img: �\]0;evil�/, 'the words of the peer are shown');
    assert.doesNotMatch(timeline, /^\{/m, 'and make no line of their own');
    for (const path of ['/api/boards', '/metrics', '/readyz', `/${encodeURIComponent(HOSTILE_WORDS)}`]) {
      const text = await (await fetch(`http://127.0.0.1:${ports.http}${path}`)).text();
      assert.doesNotMatch(withoutOurOwn(text), STEERS_A_TERMINAL, path);
      if (path === '/metrics') assert.doesNotMatch(text, /evil|91cdf03d|e4:5f/);
    }
  });

  test('is text on the page, in a real browser', { skip: without('chromium', 'chromium') }, async (context) => {
    const { folder, ports } = await provoked(context);
    const browser = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
    const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];
    const words = [...browser, ...quiet, '--virtual-time-budget=2000', `--user-data-dir=${join(folder, 'browser')}`];
    const dom = (await run('chromium', [...words, '--dump-dom', `http://127.0.0.1:${ports.http}/`])).toString('utf8');
    assert.match(dom, /&lt;script&gt;document\.title="evil"&lt;\/script&gt;&lt;img src=x/, 'the words are shown');
    assert.match(dom, /<title>Brambleboot: /);
    assert.doesNotMatch(dom, /<script|<img/);
    assert.doesNotMatch(withoutOurOwn(dom), STEERS_A_TERMINAL);
  });
});

describe('what a server says to pretend', () => {
  test('over TFTP, in an ERROR', async (context) => {
    const port = await refusingTftp(context);
    for (const json of [[], ['--json']]) {
      const { status, stdout, stderr } = await pretend('--tftp-port', String(port), ...json);
      assert.equal(status, 1);
      assert.match(stderr, /stuck at tftp: .*evil/);
      assert.doesNotMatch(withoutOurOwn(stdout + stderr), STEERS_A_TERMINAL);
    }
  });

  test('in its cmdline.txt and over NBD', async (context) => {
    const nbdPort = await refusingNbd(context);
    const cmdline = `\u001b]0;evil\u0007\u009b31m nbdroot=127.0.0.1:${nbdPort}/x root=/dev/nbd0p2`;
    const files = { 'start4.elf': 'x', 'config.txt': 'kernel=kernel8.img\n', 'kernel8.img': 'x' };
    const bytes = Object.entries(files).map(([path, text]) => [path, Buffer.from(text, 'latin1')] as const);
    const board = fakeBoard('00000001', {
      ...Object.fromEntries(bytes),
      'cmdline.txt': Buffer.from(cmdline, 'latin1'),
    });
    const tftp = await serve(context, [board.board]);
    for (const json of [[], ['--json']]) {
      const { status, stdout, stderr } = await pretend('--tftp-port', String(tftp.port), ...json);
      assert.equal(status, 1);
      assert.match(stderr, /stuck at nbd: ErrUnknown: .*evil/);
      assert.doesNotMatch(withoutOurOwn(stdout + stderr), STEERS_A_TERMINAL);
    }
  });

  test('over HTTP, asked whether the board is attached', async (context) => {
    const answers = [
      '{"boards":[null],"listeners":[]}',
      '{"boards":[{"serial":"00000001","attachedFrom":{"toString":1}}],"listeners":[]}',
      JSON.stringify({ boards: [{ serial: '00000001', attachedFrom: HOSTILE_WORDS }], listeners: [] }),
    ];
    const tftpPort = await refusingTftp(context);
    for (const answer of answers) {
      const httpPort = await httpAnswering(context, answer);
      const { status, stderr } = await pretend('--tftp-port', String(tftpPort), '--http-port', String(httpPort));
      assert.equal(status, 1);
      assert.match(stderr, /^(stuck at tftp|not played): .*evil/);
      assert.doesNotMatch(withoutOurOwn(stderr), STEERS_A_TERMINAL);
    }
  });
});

/** A server that has heard the hostile words in every place where a peer can put words. */
async function provoked(context: TestContext): Promise<RunningProgram> {
  const program = await runProgram(context, { logLevel: 'debug' });
  const { ports } = program;
  await sayByDhcp(context, ports.dhcp);
  const peer = await rawPeer(context);
  const words = Buffer.from(HOSTILE_BYTES);
  const rrq = (...strings: readonly (string | Uint8Array)[]) =>
    Buffer.concat([Uint8Array.of(0, 1), ...strings.flatMap((text) => [Buffer.from(text), Uint8Array.of(0)])]);
  const under = Buffer.concat([Buffer.from(`${LISTED_SERIAL}/`), words]);
  const visible = Buffer.from(`${LISTED_SERIAL}/<script>document.title="evil"</script>\u009b\u202e`);
  const unknown = Buffer.from('91cdf03d/<script>document.title="evil"</script>\u009b\u202e');
  for (const packet of [
    ...[rrq(words, 'octet'), rrq(under, 'octet'), rrq(visible, 'octet'), rrq(unknown, 'octet'), rrq('x', words)],
    rrq(`${LISTED_SERIAL}/x`, 'octet', words, words, 'blksize', words),
    Buffer.concat([Uint8Array.of(0, 5, 0, 0), words]),
  ]) {
    peer.send(packet, ports.tftp);
  }
  await breakOff(context, ports.tftp, words);
  await sayByNbd(context, ports.nbd, words);
  // What comes after all of it was answered after all of it.
  const path = `${LISTED_SERIAL}/config.txt`;
  const server = { address: '127.0.0.1', port: ports.tftp };
  await fetchFile({ path, server, local: { address: '127.0.0.1', port: 0 }, clock: systemClock });
  await until(() => program.output().includes('config.txt'), 'the last line of the log');
  return program;
}

/** Options 12, 60, 66, 77 and the fields sname and file, by a listed board and by one that is not. */
async function sayByDhcp(context: TestContext, port: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.bind(0, '0.0.0.0');
  await once(socket, 'listening');
  whenOver(context, () => void socket.close());
  socket.setBroadcast(true);
  for (const identity of [listed, stranger]) {
    const discover = discoverOf('pi4', identity, 7);
    const options = discover.options.filter(({ code }) => code !== 60);
    const said = [
      ...[12, 66, 77].map((code) => ({ code, data: HOSTILE_BYTES })),
      { code: 60, data: Buffer.concat([Buffer.from('PXEClient'), HOSTILE_BYTES]) },
    ];
    const field = Buffer.from(HOSTILE_BYTES.subarray(0, 60)).toString('latin1');
    socket.send(
      encodeDhcp({ ...discover, sname: field, file: field, options: [...options, ...said] }),
      port,
      '127.255.255.255',
    );
  }
}

/** A transfer that the peer ends half-way with an ERROR of its own words: the journal keeps them. */
async function breakOff(context: TestContext, mainPort: number, words: Uint8Array): Promise<void> {
  const peer = await rawPeer(context);
  peer.send(`\0\x01${LISTED_SERIAL}/kernel8.img\0octet\0`, mainPort);
  const { port } = await peer.next();
  for (const block of [1, 2]) {
    peer.send(ack(block), port);
    await peer.next();
  }
  peer.send(Buffer.concat([Uint8Array.of(0, 5, 0, 0), words, Uint8Array.of(0)]), port);
}

async function sayByNbd(context: TestContext, port: number, words: Uint8Array): Promise<void> {
  const name = Buffer.alloc(4);
  name.writeUInt32BE(words.length);
  const request = Buffer.concat([name, words, Uint8Array.of(0, 0)]);
  const raw = await rawNbd(context, port).greeted();
  for (const option of [NbdOption.Info, NbdOption.Go, NbdOption.SetMetaContext, 4711]) {
    await raw.send(encodeOption(option, request));
    const answer = await raw.optionReply();
    assert.ok(answer !== undefined);
    assert.match(Buffer.from(answer.body).toString('latin1'), /^[\x20-\x7e]*$/, 'a sentence for a console');
  }
  await raw.send(encodeOption(NbdOption.ExportName, words));
  await raw.ended();
}

function pretend(...words: readonly string[]) {
  return brambleboot('pretend', '--serial', '1', '--server', '127.0.0.1', '--http-port', '1', ...words);
}

/** Answers everything with one ERROR. */
async function refusingTftp(context: TestContext): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  whenOver(context, () => void socket.close());
  const refusal = Buffer.concat([Uint8Array.of(0, 5, 0, 0), HOSTILE_BYTES, Uint8Array.of(0)]);
  socket.on('message', (_bytes, from) => socket.send(refusal, from.port, from.address));
  return socket.address().port;
}

/** Greets, and answers GO with a sentence. */
async function refusingNbd(context: TestContext): Promise<number> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.write(encodeGreeting(3));
    socket.on('data', (chunk) => {
      if (chunk.length > 4) socket.write(encodeOptionReply(NbdOption.Go, 0x8000_0006, HOSTILE_BYTES));
    });
  });
  return listening(context, server);
}

function httpAnswering(context: TestContext, answer: string): Promise<number> {
  return listening(
    context,
    createServer((_request, response) => response.end(answer)),
  );
}

async function listening(context: TestContext, server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  whenOver(context, () => void server.close());
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('not bound');
  return address.port;
}

/** Line feeds are our own; tabs are in our markup. */
function withoutOurOwn(text: string): string {
  return text.replaceAll(/[\n\t]/g, '');
}
