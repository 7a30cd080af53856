import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { openFileDevice } from '../../src/block/file-device.js';
import type { WatchedRange } from '../../src/block/shared-file.js';
import { type WatchedChange, type WatchedDevice, watched } from '../../src/block/watched-device.js';
import type { Board } from '../../src/boards/board.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import type { NbdDisk } from '../../src/nbd/client/client-disk.js';
import { type NbdMeter, silentMeter } from '../../src/nbd/meter.js';
import type { NbdServerOptions } from '../../src/nbd/server.js';
import { diskBoard } from './boards.js';
import { type Ending, whenOver } from './cleanup.js';
import { type ServedBoards, serveBoards } from './nbd-server.js';
import { RawNbd } from './raw-nbd.js';
import { scratchFolder } from './scratch.js';

/** A board whose disk is a real file: what speaks to it in simple replies is carried by lanes. */
export interface FileBoard {
  readonly board: Board;
  readonly device: WatchedDevice;
  readonly path: string;
  /** What the file holds now. */
  content(): Buffer;
}

export interface FileBoardOptions {
  /** Changes here are for the main thread, as those of a boot partition are; nothing otherwise. */
  readonly watched?: readonly WatchedRange[];
  /** Told of changes as a boot partition is, and may make them wait. */
  readonly changing?: (offset: number, lengthBytes: number) => WatchedChange | undefined;
}

/** `content`: a number is that of a file without any. */
export async function fileBoard(
  context: Ending,
  name: string,
  content: Uint8Array | number,
  options: FileBoardOptions = {},
): Promise<FileBoard> {
  const path = join(scratchFolder(context), `${name}.img`);
  writeFileSync(path, typeof content === 'number' ? '' : content);
  if (typeof content === 'number') truncateSync(path, content);
  const device = watched(await openFileDevice(path, { access: 'readWrite', lock: 'exclusive' }));
  whenOver(context, () => device.close());
  const watch = device.watch({ changing: options.changing ?? (() => undefined) });
  await watch.only(options.watched ?? []);
  return { board: diskBoard(name, device), device, path, content: () => readFileSync(path) };
}

/** How many requests were done by lanes and how many by the main thread, by command. */
export class DoneBy implements Pick<NbdMeter, 'requestFinished' | 'requestsFinished'> {
  readonly lanes = new Map<string, number>();
  readonly main = new Map<string, number>();

  requestFinished(_board: string, command: string): void {
    this.main.set(command, (this.main.get(command) ?? 0) + 1);
  }

  requestsFinished({ command, count }: { readonly command: string; readonly count: number }): void {
    this.lanes.set(command, (this.lanes.get(command) ?? 0) + count);
  }
}

export interface LaneServer extends ServedBoards {
  /** Up to now. */
  doneBy(): DoneBy;
  /** Through the handshake; gone when the test is over. */
  attach(exportName?: string, replies?: 'simple' | 'structured'): Promise<NbdDisk>;
  raw(exportName?: string, replies?: 'simple' | 'structured'): Promise<RawNbd>;
  /** Nobody uses any disk, and no lock is held. */
  isIdle(): boolean;
}

export async function serveFiles(
  context: TestContext,
  boards: readonly FileBoard[],
  options: Partial<NbdServerOptions> = {},
): Promise<LaneServer> {
  const done = new DoneBy();
  const meter: NbdMeter = {
    ...silentMeter,
    requestFinished: (board, command) => done.requestFinished(board, command),
    requestsFinished: (tally) => done.requestsFinished(tally),
  };
  const clients: { destroy(): void }[] = [];
  // Made before the server, so that it comes last: what its boards lie on is closed behind it.
  const served = await serveBoards(
    context,
    boards.map(({ board }) => board),
    { meter, ...options },
  );
  context.after(() => {
    for (const client of clients) client.destroy();
  });
  return {
    ...served,
    doneBy() {
      served.server.tellMeter();
      return done;
    },
    async attach(exportName = 'node1', replies = 'simple') {
      const haggling = await connectNbd({ host: '127.0.0.1', port: served.port }, systemClock);
      if (replies === 'structured') await haggling.structuredReplies();
      const disk = await haggling.go(exportName);
      clients.push(disk);
      return disk;
    },
    async raw(exportName = 'node1', replies = 'simple') {
      const raw = new RawNbd(served.port);
      clients.push(raw);
      return replies === 'simple' ? raw.transmitting(exportName) : raw.transmittingInChunks(exportName);
    },
    isIdle: () =>
      served.server.connections().length === 0 && boards.every(({ board }) => board.writerLock.holder() === undefined),
  };
}
