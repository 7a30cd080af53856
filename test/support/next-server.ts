import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Board } from '../../src/boards/board.js';
import type { Frozen } from '../../src/nbd/handover/freezing.js';
import type { FrozenConnection } from '../../src/nbd/handover/frozen-connection.js';
import { decodeFrozenBoard, encodeFrozenBoard } from '../../src/nbd/handover/frozen-wire.js';
import type { NbdServer } from '../../src/nbd/server.js';
import { serveBoards } from './nbd-server.js';
import { OwnKeeper } from './own-keeper.js';

/** By way of the file that lies between two processes. */
export function told(frozen: readonly FrozenConnection[]): readonly FrozenConnection[] {
  const at = { hostBoot: 'boot', uptimeMs: 1 };
  return decodeFrozenBoard(
    'node1',
    encodeFrozenBoard({ board: 'node1', disk: 'disk', modified: undefined, hold: undefined, at, connections: frozen }),
  ).connections;
}

/** A server that goes on where that one stops, with all of its connections. */
export async function nextServer(
  context: TestContext,
  before: NbdServer,
  board: Board,
  look: (verdict: Frozen) => void = () => {},
): Promise<NbdServer> {
  const keeper = new OwnKeeper();
  const verdict = await before.freeze(keeper);
  look(verdict);
  const { frozen, lost } = verdict;
  assert.deepEqual(lost, []);
  assert.equal(keeper.holds, 1);
  const { server } = await serveBoards(context, [board]);
  for (const connection of told(frozen)) await server.thaw(connection, board, keeper.fetch(connection.socket));
  return server;
}
