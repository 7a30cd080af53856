import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { describe, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import type { Log } from '../../src/base/log.js';
import { silentLog } from '../../src/base/log.js';
import { Discovery } from '../../src/boards/identity/discovery.js';
import type { BoardEvent } from '../../src/boards/journal/events.js';
import { type BootloaderKind, discoverOf, requestOf } from '../../src/dhcp/discover.js';
import { Option, optionAddress } from '../../src/dhcp/options.js';
import { readOffer } from '../../src/dhcp/read-offer.js';
import { type DhcpServer, type DhcpServerOptions, startDhcpServer } from '../../src/dhcp/server.js';
import type { DhcpWay } from '../../src/dhcp/server-line.js';
import { type DhcpMessage, decodeDhcp, encodeDhcp } from '../../src/dhcp/wire.js';
import { DescriptorWatch } from '../../src/os/descriptor-watch.js';
import { openUdpSocket } from '../../src/os/udp-socket.js';
import { boardOf, lookupOf } from '../support/boards.js';
import { outputOf, until } from '../support/commands.js';
import { Datagrams } from '../support/datagrams.js';
import { FakeClock } from '../support/fake-clock.js';
import {
  connectNamespaces,
  type NetworkNamespace,
  networkNamespace,
  withoutNamespaces,
} from '../support/network-namespace.js';

const identity = { mac: 'dc:a6:32:01:02:03', serial: 'bf9fed6f', revisionCode: 0x00d03114 };
const stranger = { mac: 'e4:5f:01:09:02:f7', serial: '91cdf03d', revisionCode: 0x00d03114 };
const pi3 = { mac: 'b8:27:eb:ef:56:44', serial: 'a2ef5644', revisionCode: 0xa02082 };
const BROADCAST = '255.255.255.255';

describe('on loopback, with ports that anybody may have', () => {
  test('a board is offered its boot from here', async (context) => {
    const { ask, offers, told, server } = await onLoopback(context);
    const discover = ask('pi4', identity);
    const { bytes, address, port } = await offers.next();
    assert.deepEqual(server.bound(), [{ answer: 'bound', name: 'lo', address: '127.0.0.1', port }]);
    const offer = readOffer('pi4', discover, decodeDhcp(bytes), address);
    assert.deepEqual(offer, { address: undefined, tftpServer: '127.0.0.1' });
    assert.deepEqual(told, [
      {
        ...{ kind: 'discover', board: 'node1', mac: identity.mac, serial: 'bf9fed6f' },
        ...{ model: 'Pi 4 Model B, 8 GB', interfaceName: 'lo', answer: 'offered' },
      },
    ]);
  });

  test('an unlisted board gets no answer, but one line in the log and its place in the table', async (context) => {
    const { ask, offers, told, log, discovery } = await onLoopback(context);
    ask('pi4', stranger);
    ask('pi4', stranger);
    ask('pi4', identity);
    const { bytes } = await offers.next();
    assert.equal(Buffer.from(decodeDhcp(bytes).chaddr).toString('hex'), 'dca632010203');
    assert.deepEqual(
      told.map((event) => event.kind === 'discover' && [event.board, event.answer]),
      [
        [undefined, 'notListed'],
        [undefined, 'notListed'],
        ['node1', 'offered'],
      ],
    );
    const lines = log.filter(({ event }) => event === 'dhcp.board.unknown');
    assert.equal(lines.length, 1);
    assert.deepEqual(lines[0]?.facts, {
      ...{ model: 'Pi 4 Model B, 8 GB', memory: '8 GB', serial: '91cdf03d', mac: stranger.mac, interface: 'lo' },
      add: [
        '  pi-91cdf03d: # Pi 4 Model B, 8 GB',
        '    serial: 91cdf03d',
        '    mac: e4:5f:01:09:02:f7',
        '    image: noble',
        '    disk: direct',
      ].join('\n'),
    });
    assert.equal(discovery.boards().length, 1);
  });

  test('a flood of made-up boards becomes a few lines and a number', async (context) => {
    const { ask, offers, log, clock, discovery } = await onLoopback(context);
    for (let number = 0; number < 50; number += 1) {
      ask('pi4', { ...stranger, mac: `e4:5f:01:00:00:${number.toString(16).padStart(2, '0')}` });
    }
    ask('pi4', identity);
    await offers.next();
    clock.advance(60_000);
    assert.equal(log.filter(({ event }) => event === 'dhcp.board.unknown').length, 20);
    assert.deepEqual(log.at(-1), { event: 'dhcp.boards.unknown.withheld', facts: { count: 30 } });
    assert.equal(discovery.boards().length, 50);
  });

  test('a Pi 3’s ROM waits for its offer, and one DISCOVER replaces another meanwhile', async (context) => {
    const { ask, offers, clock, until } = await onLoopback(context);
    ask('rom3', pi3);
    ask('rom3', pi3);
    await until(2);
    clock.advance(1999);
    ask('pi4', identity);
    assert.equal(decodeDhcp((await offers.next()).bytes).chaddr[0], 0xdc);
    clock.advance(1);
    assert.equal(decodeDhcp((await offers.next()).bytes).chaddr[0], 0xb8);
    clock.advance(10_000);
    ask('pi4', identity);
    assert.equal(decodeDhcp((await offers.next()).bytes).chaddr[0], 0xdc);
  });

  test('stopping drops the answers that wait', async (context) => {
    const { ask, clock, until, server } = await onLoopback(context);
    ask('rom3', pi3);
    await until(1);
    await server.stop();
    clock.advance(10_000);
    await server.stop();
  });

  test('the REQUEST to the router tells whose address is whose', async (context) => {
    const { send, told, until } = await onLoopback(context);
    const lease = { address: '127.0.0.77', server: '127.0.0.254' };
    send(requestOf('pi4', identity, 5, lease));
    await until(1);
    assert.deepEqual(told, [{ kind: 'addressRequested', board: 'node1', mac: identity.mac, address: '127.0.0.77' }]);
  });

  test('rubbish costs nothing but itself', async (context) => {
    const { ask, sendBytes, offers, log } = await onLoopback(context);
    const golden = encodeDhcp(discoverOf('pi4', identity, 1));
    for (const rubbish of [new Uint8Array(), golden.subarray(0, 240), golden.with(2, 255)]) sendBytes(rubbish);
    ask('pi4', identity);
    await offers.next();
    assert.equal(log.filter(({ event }) => event === 'dhcp.malformed').length, 3);
  });

  test('a lookup that throws is a bug that is logged, and the next board is answered', async (context) => {
    let calls = 0;
    const lookup = lookupOf(boardOf('node1', identity.serial));
    const { ask, offers, log } = await onLoopback(context, {
      lookup: {
        ...lookup,
        bySerial(serial) {
          calls += 1;
          if (calls === 1) throw new Error('a bug');
          return lookup.bySerial(serial);
        },
      },
    });
    ask('pi4', identity);
    ask('pi4', identity);
    await offers.next();
    const faults = log.filter(({ event }) => event === 'dhcp.bug');
    assert.equal(faults.length, 1);
    assert.ok(faults.every(({ facts }) => 'err' in facts && facts.err instanceof Error));
  });

  test('an interface that cannot be had is said, and the others work', async (context) => {
    const interfaces = [
      { name: 'nosuch0', address: '192.0.2.1', broadcast: BROADCAST },
      { name: 'lo', address: '127.0.0.1', broadcast: '127.255.255.255' },
    ];
    const { ask, offers, server } = await onLoopback(context, { interfaces });
    const [missing, loopback] = server.bound();
    assert.equal(loopback?.answer, 'bound');
    assert.ok(missing?.answer === 'failed');
    assert.match(missing.because, /nosuch0: ENODEV: there is no such interface/);
    ask('pi4', identity);
    await offers.next();
  });
});

for (const way of ['packet', 'udp'] as const) {
  describe(`in a network of its own, by ${way}`, { skip: withoutNamespaces() }, () => inANetwork(way));
}

function inANetwork(way: DhcpWay): void {
  test('the answer leaves by the interface that the question came in on', async (context) => {
    const { host, boards } = lanOfTwoInterfaces(context);
    const server = host.inside(() =>
      startDhcpServer({
        ...optionsFor(context),
        interfaces: [
          { name: 'host0', address: '192.0.2.1', broadcast: BROADCAST },
          { name: 'host1', address: '198.51.100.1', broadcast: BROADCAST },
        ],
        ...{ port: 67, replyPort: 68 },
        ...watchFor(way),
      }),
    );
    context.after(() => server.stop());
    const [first, second] = boards;
    for (const [board, xid, source] of [
      [first, 1, '192.0.2.1'],
      [second, 2, '198.51.100.1'],
      [second, 3, '198.51.100.1'],
      [first, 4, '192.0.2.1'],
    ] as const) {
      board.socket.send(encodeDhcp(discoverOf('pi4', identity, xid)), 67, BROADCAST);
      const { bytes, address, port } = await board.heard.next();
      // Each hears its own answers in order: one that had gone to both would come between.
      assert.deepEqual([decodeDhcp(bytes).xid, address, port], [xid, source, 67]);
    }
    assert.deepEqual([first.heard.waitingCount, second.heard.waitingCount], [0, 0]);
  });

  test('a Pi 3’s ROM is woken up by two datagrams to everybody', async (context) => {
    const { host, boards } = lanOfTwoInterfaces(context);
    const [board] = boards;
    const discard = board.inside(() => openUdpSocket({ address: BROADCAST, port: 9, interfaceName: 'board' }));
    context.after(() => discard.close());
    const wakeUps = new Datagrams(discard);
    const options = optionsFor(context);
    serveHost0(context, host, options, way);
    board.socket.send(encodeDhcp(discoverOf('rom3', pi3, 0)), 67, BROADCAST);
    await options.until(1);
    options.clock.advance(2000);
    await board.heard.next();
    assert.equal(wakeUps.waitingCount, 0);
    for (const afterMs of [600, 600]) {
      options.clock.advance(afterMs);
      assert.equal((await wakeUps.next()).address, '192.0.2.1');
    }
    options.clock.advance(60_000);
    assert.equal(wakeUps.waitingCount, 0);
  });

  test('a DHCP server on the same machine keeps its unicast renewals', async (context) => {
    const { host, boards } = lanOfTwoInterfaces(context);
    const [board] = boards;
    const router = host.inside(() => openUdpSocket({ address: '0.0.0.0', port: 67, interfaceName: '' }));
    context.after(() => router.close());
    const renewals = new Datagrams(router);
    const options = optionsFor(context);
    serveHost0(context, host, options, way);
    for (let xid = 1; xid <= 3; xid += 1) {
      const lease = { address: '192.0.2.2', server: '192.0.2.1' };
      board.socket.send(encodeDhcp(requestOf('pi4', identity, xid, lease)), 67, '192.0.2.1');
      assert.equal(decodeDhcp((await renewals.next()).bytes).xid, xid);
    }
    assert.deepEqual(options.told, []);

    // And of a broadcast both get their copy.
    board.socket.send(encodeDhcp(discoverOf('pi4', identity, 4)), 67, BROADCAST);
    assert.equal(decodeDhcp((await renewals.next()).bytes).xid, 4);
    assert.equal(decodeDhcp((await board.heard.next()).bytes).xid, 4);
  });
}

describe('below IP', { skip: withoutNamespaces() }, () => {
  test('the offer comes from the address that boards are told to ask, whichever that is', async (context) => {
    const { host, boards } = lanOfTwoInterfaces(context);
    const [board] = boards;
    host.ip('address', 'add', '192.0.2.77/24', 'dev', 'host0');
    serveHost0(context, host, optionsFor(context), 'packet', '192.0.2.77');
    board.socket.send(encodeDhcp(discoverOf('pi4', identity, 1)), 67, BROADCAST);
    const { bytes, address } = await board.heard.next();
    assert.equal(address, '192.0.2.77');
    assert.equal(optionAddress(decodeDhcp(bytes), Option.ServerIdentifier), '192.0.2.77');
  });

  test('a server that wants the port for itself alone has it, before us and after us', async (context) => {
    const { host, boards } = lanOfTwoInterfaces(context);
    const [board] = boards;
    const options = optionsFor(context);
    const first = await selfishServer(host);
    const server = serveHost0(context, host, options, 'packet');
    board.socket.send(encodeDhcp(discoverOf('pi4', identity, 1)), 67, BROADCAST);
    assert.equal(decodeDhcp((await board.heard.next()).bytes).xid, 1);
    const said = options.lines.find(({ event }) => event === 'dhcp.listening');
    assert.deepEqual(said?.facts, {
      ...{ interface: 'host0', address: '192.0.2.1', port: 67 },
      ...{ way: 'packet', besideSocketsAt: ['0.0.0.0'] },
    });

    await first.end();
    const second = await selfishServer(host);
    board.socket.send(encodeDhcp(discoverOf('pi4', identity, 2)), 67, BROADCAST);
    assert.equal(decodeDhcp((await board.heard.next()).bytes).xid, 2);
    await until(second.heard, 'the DISCOVER there');
    assert.deepEqual(server.bound(), [{ answer: 'bound', name: 'host0', address: '192.0.2.1', port: 67 }]);
  });

  test('goes by UDP without CAP_NET_RAW', (context) => {
    const options = optionsFor(context);
    const interfaces = [{ name: 'lo', address: '192.0.2.1', broadcast: BROADCAST }];
    process.seteuid?.(65534);
    try {
      const server = startDhcpServer({ ...options, interfaces, port: 0, replyPort: 68, watch: new DescriptorWatch() });
      context.after(() => server.stop());
    } finally {
      process.seteuid?.(0);
    }
    const [said] = options.lines;
    assert.ok(said?.event === 'dhcp.listening' && 'way' in said.facts && said.facts.way === 'udp', inspect(said));
  });

  test('says when its interface is gone', (context) => {
    const { host } = lanOfTwoInterfaces(context);
    const server = serveHost0(context, host, optionsFor(context), 'packet');
    host.ip('link', 'delete', 'host0');
    assert.deepEqual(server.bound(), [{ answer: 'failed', name: 'host0', because: 'its interface is gone' }]);
  });
});

/** Has port 67 of all addresses, and shares it with nobody. */
async function selfishServer(host: NetworkNamespace) {
  const script = `require('node:dgram').createSocket('udp4').on('message', () => console.log('heard'))
    .bind(67, '0.0.0.0', () => console.log('bound'))`;
  const child = host.spawn('node', '-e', script);
  const heard = outputOf(child, 'heard');
  await until(outputOf(child, 'bound'), 'the other server');
  const end = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  };
  return { heard, end };
}

interface LogLine {
  readonly event: string;
  readonly facts: object;
}

/** A server's surroundings: node1 is `identity`, node3 the Pi 3; what it tells and logs is kept. */
function optionsFor(context: TestContext) {
  const told: BoardEvent[] = [];
  const log: LogLine[] = [];
  const note = (facts: object, event: string) => void log.push({ event, facts });
  let arrived: (() => void) | undefined;
  const recording: Log = { ...silentLog, debug: note, info: note, warn: note, error: note };
  context.after(() => {
    arrived = undefined;
  });
  return {
    ...{
      answer: 'known' as const,
      freeDisk: { image: 'noble', disk: 'direct' as const },
      discovery: new Discovery(),
      clock: new FakeClock(),
    },
    lookup: lookupOf(boardOf('node1', identity.serial, identity.mac), boardOf('node3', pi3.serial)),
    log: recording,
    lines: log,
    told,
    tell(event: BoardEvent) {
      told.push(event);
      arrived?.();
    },
    /** Waits until so many events have been told. */
    async until(count: number) {
      while (told.length < count) {
        await new Promise<void>((resolve) => {
          arrived = resolve;
        });
      }
    },
  };
}

async function onLoopback(context: TestContext, changed: Partial<DhcpServerOptions> = {}) {
  const board = await loopbackSocket(context);
  const options = optionsFor(context);
  const server: DhcpServer = startDhcpServer({
    interfaces: [{ name: 'lo', address: '127.0.0.1', broadcast: '127.255.255.255' }],
    ...{ port: 0, replyPort: board.address().port },
    ...options,
    ...changed,
  });
  context.after(() => server.stop());
  const port = server.bound().flatMap((binding) => (binding.answer === 'bound' ? [binding.port] : []))[0];
  const sendBytes = (bytes: Uint8Array) => board.send(bytes, port, '127.255.255.255');
  const send = (message: DhcpMessage) => sendBytes(encodeDhcp(message));
  const ask = (kind: BootloaderKind, who: typeof identity) => {
    const discover = discoverOf(kind, who, 0x0a485863);
    send(discover);
    return discover;
  };
  const { told, lines, until, clock, discovery } = options;
  return { server, send, sendBytes, ask, offers: new Datagrams(board), told, log: lines, until, clock, discovery };
}

/** Plays the board's port 68: receives what is sent to everybody on loopback. */
async function loopbackSocket(context: TestContext): Promise<Socket> {
  const socket = createSocket('udp4');
  context.after(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '0.0.0.0', resolve));
  socket.setBroadcast(true);
  return socket;
}

/** A host with two interfaces, each with a board at the other end of its cable. */
function lanOfTwoInterfaces(context: TestContext) {
  const host = networkNamespace(context);
  const boardAt = (number: number, network: string) => {
    const board = networkNamespace(context);
    connectNamespaces(
      { namespace: host, interfaceName: `host${number}`, address: `${network}.1/24` },
      { namespace: board, interfaceName: 'board', address: `${network}.2/24` },
    );
    const socket = board.inside(() => openUdpSocket({ address: '0.0.0.0', port: 68, interfaceName: 'board' }));
    context.after(() => socket.close());
    return { socket, heard: new Datagrams(socket), inside: board.inside };
  };
  const boards = [boardAt(0, '192.0.2'), boardAt(1, '198.51.100')] as const;
  return { host, boards };
}

/** Our server on the first of the two interfaces, at the ports that boards know. */
function serveHost0(
  context: TestContext,
  host: NetworkNamespace,
  options: ReturnType<typeof optionsFor>,
  way: DhcpWay,
  address = '192.0.2.1',
): DhcpServer {
  const server = host.inside(() =>
    startDhcpServer({
      ...options,
      interfaces: [{ name: 'host0', address, broadcast: BROADCAST }],
      ...{ port: 67, replyPort: 68 },
      ...watchFor(way),
    }),
  );
  context.after(() => server.stop());
  return server;
}

function watchFor(way: DhcpWay) {
  return way === 'packet' ? { watch: new DescriptorWatch() } : {};
}
