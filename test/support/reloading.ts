import { createSocket, type RemoteInfo } from 'node:dgram';
import { on } from 'node:events';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { App } from '../../src/app/app.js';
import { systemClock } from '../../src/base/clock.js';
import type { ReloadVerdict } from '../../src/boards/journal/status.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { decodePacket, encodeAck, encodeRequest } from '../../src/tftp/wire.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from './cleanup.js';
import { keptLog } from './log-lines.js';
import type { TestPorts } from './ports.js';
import { scratchFolder } from './scratch.js';
import { startTestServer, testSettings } from './server.js';

/** A server in this process whose inventory a test changes. */
export interface ReloadingServer {
  readonly app: App;
  readonly folder: string;
  readonly ports: TestPorts;
  readonly log: ReturnType<typeof keptLog>;
  /** Copies of the demo's image, under these names. */
  images(...names: readonly string[]): void;
  /** Writes another inventory, and has it read. `settings`: in place of its own, which has the ports. */
  reload(inventory: string, options?: { readonly force?: boolean; readonly settings?: string }): Promise<ReloadVerdict>;
  settings(): string;
  attach(board: string): ReturnType<typeof attachTo>;
  fetch(path: string, options?: Readonly<Record<string, string>>): ReturnType<typeof fetchFrom>;
  metrics(): Promise<string>;
}

export async function reloadingServer(
  context: TestContext,
  {
    inventory,
    images = ['a'],
    nbd = '',
  }: { readonly inventory: string; readonly images?: readonly string[]; readonly nbd?: string },
): Promise<ReloadingServer> {
  const folder = scratchFolder(context);
  const original = join(folder, 'original');
  await makeDemoImage(original);
  const copy = (...names: readonly string[]) => {
    for (const name of names) copyFileSync(original, join(folder, `${name}.img`));
  };
  copy(...images);
  const log = keptLog();
  const { app, ports } = await startTestServer(context, { inventory, folder, log: log.log, nbd });
  const settings = () => testSettings(ports, nbd);
  return {
    ...{ app, folder, ports, log, images: copy, settings },
    reload(text, { force = false, settings: others = settings() } = {}) {
      writeFileSync(join(folder, 'config.yaml'), `${others}${text}`);
      return app.reload({ by: 'command', force });
    },
    attach: (board) => attachTo(context, ports, board),
    fetch: (path, options) => fetchFrom(ports, path, options),
    async metrics() {
      const answer = await fetch(`http://127.0.0.1:${ports.http}/metrics`);
      return answer.text();
    },
  };
}

export async function attachTo(context: TestContext, { nbd }: TestPorts, board: string) {
  const haggling = await connectNbd({ host: '127.0.0.1', port: nbd }, systemClock);
  const disk = await haggling.go(board);
  whenOver(context, () => disk.destroy());
  return disk;
}

export async function fetchFrom({ tftp }: TestPorts, path: string, options: Readonly<Record<string, string>> = {}) {
  const server = { address: '127.0.0.1', port: tftp };
  const settings = { server, local: anyPort('127.0.0.1'), clock: systemClock, path };
  const asked = new Map(Object.entries(options));
  const { verdict, bytes, acknowledged } = await fetchFile({ ...settings, ...(asked.size > 0 && { options: asked }) });
  return { outcome: verdict.outcome, agreed: acknowledged, text: Buffer.from(bytes).toString('latin1'), bytes };
}

/** A board that reads a file as slowly as a test likes: it has the first block, and waits until it is asked for the rest. */
export async function slowTransfer(context: TestContext, { tftp }: TestPorts, path: string) {
  const socket = createSocket('udp4');
  whenOver(context, () => void socket.close());
  const packets = on(socket, 'message');
  const next = async () => {
    const { value } = await packets.next();
    const [bytes, from]: [Uint8Array, RemoteInfo] = value;
    return { packet: decodePacket(bytes), port: from.port };
  };
  socket.send(encodeRequest({ kind: 'rrq', path, mode: 'octet', options: new Map() }), tftp, '127.0.0.1');
  const begun = await next();
  const blocks: Uint8Array[] = [];
  /** Whether there is more to come. */
  const take = ({ packet }: typeof begun): boolean => {
    if (packet.kind === 'error') throw new Error(packet.message);
    // Others were sent again while we took our time.
    if (packet.kind === 'data' && packet.block === ((blocks.length + 1) & 0xffff)) blocks.push(packet.payload.slice());
    return blocks.at(-1)?.length === 512;
  };
  const hasMore = take(begun);
  return {
    async rest(): Promise<Uint8Array> {
      for (let goesOn = hasMore; goesOn; ) {
        socket.send(encodeAck(blocks.length & 0xffff), begun.port, '127.0.0.1');
        goesOn = take(await next());
      }
      socket.send(encodeAck(blocks.length & 0xffff), begun.port, '127.0.0.1');
      return Buffer.concat(blocks);
    },
  };
}
