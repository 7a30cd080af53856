import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { silentLog } from '../../src/base/log.js';
import type { Board } from '../../src/boards/board.js';
import type { BoardEvent, TransferEnded } from '../../src/boards/journal/events.js';
import { type FetchResult, type FetchSettings, fetchFile } from '../../src/tftp/client.js';
import { startCourier } from '../../src/tftp/courier/courier.js';
import { startTftpServer, type TftpServer, type TftpServerSettings } from '../../src/tftp/server.js';
import { lookupOf } from './boards.js';
import { whenOver } from './cleanup.js';
import { type Datagram, Datagrams } from './datagrams.js';

export interface ServerUnderTest {
  readonly server: TftpServer;
  /** Main port on 127.0.0.1, or on the first address of the settings. */
  readonly port: number;
  readonly events: readonly BoardEvent[];
  /** Resolves with the next `count` transfers that end (those that ended before count too). */
  ended(count: number): Promise<readonly TransferEnded[]>;
  fetch(path: string, settings?: Partial<FetchSettings>): Promise<FetchResult>;
}

/** A server on free loopback ports, stopped when the test is over. */
export async function serve(
  context: TestContext,
  boards: readonly Board[],
  { singlePort = false, ...settings }: Partial<TftpServerSettings> & { readonly singlePort?: boolean } = {},
): Promise<ServerUnderTest> {
  const events: BoardEvent[] = [];
  let told = (): void => {};
  const courier = singlePort ? undefined : startCourier({ clock: systemClock, log: silentLog });
  whenOver(context, async () => courier?.stop());
  const server = await startTftpServer({
    addresses: ['127.0.0.1'],
    port: 0,
    blockSizeMax: 1468,
    windowSizeMax: 64,
    answers: () => true,
    courier,
    lookup: lookupOf(...boards),
    tell: (event) => {
      events.push(event);
      told();
    },
    clock: systemClock,
    log: silentLog,
    ...settings,
  });
  whenOver(context, () => server.stop(0));
  const [local = { address: '127.0.0.1', port: 0 }] = server.addresses();
  return {
    server,
    port: local.port,
    events,
    async ended(count) {
      for (;;) {
        const found = events.filter((event) => event.kind === 'transferEnded');
        if (found.length >= count) return found;
        await new Promise<void>((resolve) => {
          told = resolve;
        });
      }
    },
    fetch: (path, more) =>
      fetchFile({ path, server: local, local: { address: '127.0.0.1', port: 0 }, clock: systemClock, ...more }),
  };
}

/** A socket that says what a test tells it to, and keeps what it hears. */
export interface RawPeer {
  readonly port: number;
  send(bytes: Uint8Array | string, port: number, address?: string): void;
  /** The next datagram not yet taken. */
  next(): Promise<Datagram>;
  /** How many came that nobody has taken. */
  waiting(): number;
}

export async function rawPeer(context: TestContext, address = '127.0.0.1'): Promise<RawPeer> {
  const socket: Socket = createSocket('udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  context.after(() => socket.close());
  const heard = new Datagrams(socket);
  return {
    port: socket.address().port,
    send: (bytes, port, to = '127.0.0.1') =>
      socket.send(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, port, to),
    next: () => heard.next(),
    waiting: () => heard.waitingCount,
  };
}

/** RRQ bytes: `rrq('00000001/f', 'tsize', '0')`. */
export function rrq(path: string, ...options: readonly string[]): string {
  return `\0\x01${[path, 'octet', ...options].map((text) => `${text}\0`).join('')}`;
}

/** ACK bytes. */
export function ack(block: number): Uint8Array {
  return Uint8Array.of(0, 4, block >> 8, block & 0xff);
}

/** Code and text of an ERROR packet. */
export function errorOf(bytes: Buffer): readonly [code: number, text: string] {
  assert.equal(bytes.readUInt16BE(0), 5, `an ERROR, not ${bytes.toString('latin1')}`);
  return [bytes.readUInt16BE(2), bytes.subarray(4, -1).toString('latin1')];
}
