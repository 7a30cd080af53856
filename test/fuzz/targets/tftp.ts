import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { systemClock } from '../../../src/base/clock.js';
import { TFTP_PEER_TRANSFERS_MAX, TFTP_REQUEST_BYTES_MAX } from '../../../src/base/limits.js';
import { silentLog } from '../../../src/base/log.js';
import { unlessMalformed } from '../../../src/base/malformed.js';
import { printableAscii } from '../../../src/base/printable.js';
import { unreachable } from '../../../src/base/unreachable.js';
import { fetchFile } from '../../../src/tftp/client.js';
import { startCourier } from '../../../src/tftp/courier/courier.js';
import { Download, type DownloadCommand } from '../../../src/tftp/download.js';
import { startTftpServer } from '../../../src/tftp/server.js';
import {
  decodePacket,
  encodeAck,
  encodeData,
  encodeError,
  encodeOptionAck,
  encodeRequest,
  type TftpPacket,
} from '../../../src/tftp/wire.js';
import { lookupOf } from '../../support/boards.js';
import { fakeBoard } from '../../support/fake-board.js';
import { STEERS_A_TERMINAL } from '../../support/hostile-words.js';
import { noise } from '../../support/random.js';
import { asRecords, type FuzzTarget, records } from '../target.js';

const WORDS = ['octet\0', 'netascii\0', 'blksize\0', 'tsize\0', 'timeout\0', 'windowsize\0', 'utimeout\0']
  .concat(['0\0', '1\0', '8\0', '65464\0', '255\0', '-1\0', '../', '00000001/', '\0\x01', '\0\x04', '\0\x05'])
  .map((text) => Buffer.from(text, 'latin1'));

const rrq = (path: string, ...options: readonly (readonly [string, string])[]) =>
  encodeRequest({ kind: 'rrq', path, mode: 'octet', options: new Map(options) });

const GOOD_PACKETS = [
  rrq('00000001/small', ['tsize', '0'], ['blksize', '1468']),
  rrq('00000001/large', ['windowsize', '16'], ['timeout', '1']),
  encodeRequest({ kind: 'wrq', path: 'x', mode: 'netascii', options: new Map() }),
  encodeAck(0),
  encodeData(1, Uint8Array.of(1, 2, 3)),
  encodeError(1, 'file not found'),
  encodeOptionAck(
    new Map([
      ['blksize', '512'],
      ['tsize', '1000'],
      ['windowsize', '4'],
    ]),
  ),
];

/** Any bytes are a packet or malformed, and a packet comes back from its own bytes. */
export const tftpWire: FuzzTarget = {
  name: 'tftp-wire',
  good: async () => GOOD_PACKETS,
  words: WORDS,
  inputBytesMax: 2000,
  caseCpuMsMax: 1000,
  start: async () => ({
    check(input) {
      const packet = unlessMalformed(() => decodePacket(input));
      if (packet === undefined) return;
      const again = encoded(packet);
      if (again !== undefined) assert.deepEqual(decodePacket(again), expected(packet));
    },
  }),
};

function encoded(packet: TftpPacket): Uint8Array | undefined {
  switch (packet.kind) {
    case 'rrq':
    case 'wrq':
      return fitting(encodeRequest(packet));
    case 'data':
      return encodeData(packet.block, packet.payload);
    case 'ack':
      return encodeAck(packet.block);
    case 'error':
      assert.doesNotMatch(packet.message, STEERS_A_TERMINAL);
      return encodeError(packet.code, packet.message);
    case 'oack':
      return fitting(encodeOptionAck(packet.options));
    case 'unknown':
      return undefined;
    default:
      return unreachable(packet);
  }
}

/** What is no UTF-8 takes more bytes when it has become U+FFFD: no request may be as long. */
function fitting(bytes: Uint8Array): Uint8Array | undefined {
  return bytes.length <= TFTP_REQUEST_BYTES_MAX ? bytes : undefined;
}

function expected(packet: TftpPacket): TftpPacket {
  return packet.kind === 'error' ? { ...packet, message: printableAscii(packet.message) } : packet;
}

/** Our client: whatever packets come, it comes to an end. Records: packets, each a tenth of a second after the other. */
export const tftpDownload: FuzzTarget = {
  name: 'tftp-download',
  good: async () => [
    asRecords(encodeOptionAck(new Map([['blksize', '8']])), encodeData(1, noise(8)), encodeData(2, noise(3))),
    asRecords(encodeData(1, noise(512)), encodeData(1, noise(512)), encodeData(3, noise(1))),
    asRecords(...GOOD_PACKETS),
  ],
  words: WORDS,
  inputBytesMax: 4000,
  caseCpuMsMax: 1000,
  start: async () => ({
    check(input) {
      const options = new Map([['blksize', '8']]);
      const download = new Download({ path: 'x', options, rollsOver: (input.length & 1) === 0 });
      let nowMs = 0;
      let isOver = false;
      const heed = (commands: readonly DownloadCommand[]): void => {
        assert.ok(commands.length <= 3);
        isOver ||= commands.some(({ kind }) => kind === 'finish');
      };
      heed(download.handle({ kind: 'begin' }, nowMs));
      for (const bytes of records(input)) {
        nowMs += 100;
        const packet = unlessMalformed(() => decodePacket(bytes));
        if (packet !== undefined) heed(download.handle({ kind: 'packet', packet }, nowMs));
      }
      for (let ticks = 0; !isOver && ticks < 100; ticks += 1) {
        nowMs = download.deadlineMs ?? nowMs;
        heed(download.handle({ kind: 'tick' }, nowMs));
      }
      assert.ok(isOver, 'it comes to an end');
    },
  }),
};

const SERVER_TARGET = {
  good: async () => [
    asRecords(said(0, GOOD_PACKETS[0]), said(2, encodeAck(0)), said(2, encodeAck(1))),
    asRecords(said(1, GOOD_PACKETS[1]), said(3, encodeAck(0)), said(3, encodeAck(16)), said(3, encodeError(0, 'x'))),
    asRecords(said(0, rrq('00000001/small')), said(2, encodeAck(1)), said(1, GOOD_PACKETS[0]), said(0, encodeAck(2))),
    asRecords(...GOOD_PACKETS.map((packet) => said(0, packet))),
  ],
  words: WORDS,
  inputBytesMax: 4000,
  caseCpuMsMax: 2000,
};

/**
 * A whole server on loopback. Records: the first byte says which of two peers speaks and whether to the main port or to the
 * one that it heard from last, the rest is the datagram. A real client is served after each input.
 */
export const tftpServer: FuzzTarget = serverTarget('tftp-server', { singlePort: false });

/** The same, on a single port. */
export const tftpSinglePort: FuzzTarget = serverTarget('tftp-single-port', { singlePort: true });

function serverTarget(name: string, how: { readonly singlePort: boolean }): FuzzTarget {
  return { ...SERVER_TARGET, name, start: () => startServer(how) };
}

function said(how: number, packet: Uint8Array | undefined): Uint8Array {
  return Buffer.concat([Uint8Array.of(how), packet ?? new Uint8Array()]);
}

async function startServer({ singlePort }: { readonly singlePort: boolean }) {
  const bugs: unknown[] = [];
  const board = fakeBoard('00000001', {
    small: noise(600),
    large: noise(100_000),
    cold: { bytes: noise(5000), inMemory: false },
    lost: { bytes: noise(5000), lostFrom: 1000 },
    changed: { bytes: noise(600), held: 'changed' },
  });
  const log = { ...silentLog, error: (facts: object) => void bugs.push(facts) };
  const courier = singlePort ? undefined : startCourier({ clock: systemClock, log });
  const server = await startTftpServer({
    ...{ addresses: ['127.0.0.1'], port: 0, blockSizeMax: 1468, windowSizeMax: 64, answers: () => true, courier },
    ...{ lookup: lookupOf(board.board), tell: () => {}, clock: systemClock, log },
  });
  const [main] = server.addresses();
  assert.ok(main !== undefined);
  const peers = [await openPeer(), await openPeer()];
  return {
    async check(input: Uint8Array) {
      for (const record of records(input).slice(0, 64)) {
        const [how = 0] = record;
        const peer = peers[how & 1];
        peer?.say(record.subarray(1), (how & 2) === 0 ? main.port : peer.lastPort());
        await new Promise((resolve) => setImmediate(resolve));
      }
      const local = { address: '127.0.0.1', port: 0 };
      const { verdict } = await fetchFile({ path: '00000001/small', server: main, local, clock: systemClock });
      assert.equal(verdict.outcome, 'complete', 'a real client is served');
      assert.ok(server.transferCount() <= TFTP_PEER_TRANSFERS_MAX);
      assert.deepEqual(bugs, []);
      for (const peer of peers) assert.ok(peer.longest() <= 4 + 1468, 'no answer is larger than a block may be');
    },
    async stop() {
      for (const peer of peers) peer.close();
      await server.stop(0);
      await courier?.stop();
    },
  };
}

async function openPeer() {
  const socket: Socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  let lastPort = 9;
  let longest = 0;
  socket.on('message', (bytes, from) => {
    lastPort = from.port;
    longest = Math.max(longest, bytes.length);
  });
  return {
    say: (bytes: Uint8Array, port: number) => socket.send(bytes, port, '127.0.0.1'),
    lastPort: () => lastPort,
    longest: () => longest,
    close: () => void socket.close(),
  };
}
