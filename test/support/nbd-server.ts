import type { TestContext } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { silentLog } from '../../src/base/log.js';
import type { Board } from '../../src/boards/board.js';
import type { BoardEvent } from '../../src/boards/journal/events.js';
import { silentMeter } from '../../src/nbd/meter.js';
import { type NbdServer, type NbdServerOptions, startNbdServer } from '../../src/nbd/server.js';
import { lookupOf } from './boards.js';

export interface ServedBoards {
  readonly server: NbdServer;
  readonly port: number;
  readonly events: readonly BoardEvent[];
}

/** Serves boards on a loopback port that the system chose, until the test is over. */
export async function serveBoards(
  context: TestContext,
  boards: readonly Board[],
  options: Partial<NbdServerOptions> = {},
): Promise<ServedBoards> {
  const events: BoardEvent[] = [];
  const server = await startNbdServer({
    addresses: ['127.0.0.1'],
    port: 0,
    lookup: lookupOf(...boards),
    tell: (event) => void events.push(event),
    meter: silentMeter,
    answers: () => true,
    clock: systemClock,
    log: silentLog,
    ...options,
  });
  context.after(() => server.stop());
  return { server, port: server.addresses()[0]?.port ?? 0, events };
}

/** Resolves when `condition` holds: for what happens within a few turns of the event loop. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
