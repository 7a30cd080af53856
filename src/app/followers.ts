import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../base/log.js';
import type { Discovery } from '../boards/identity/discovery.js';
import type { BootNews } from '../boards/journal/boot-record.js';
import type { OpenBoards } from '../boards/opening/open-boards.js';
import type { ImageWarning, OpenBoard } from '../boards/opening/opening.js';
import type { NbdServer } from '../nbd/server.js';
import type { Metrics } from '../web/metrics.js';
import { addressForBoot } from './addresses.js';
import type { Audience } from './audience.js';
import type { BoardWatch } from './board-watch.js';
import type { BootHistories } from './boot-histories.js';
import type { Followers } from './changeover.js';
import type { Network } from './network.js';
import type { RunningInventory } from './running-inventory.js';
import { type Storage, storedThings } from './storage.js';

export interface FollowingParts {
  readonly running: RunningInventory;
  readonly boards: OpenBoards;
  readonly histories: BootHistories;
  readonly metrics: Metrics;
  readonly nbdServer: Pick<NbdServer, 'tellMeter'>;
  readonly watch: BoardWatch;
  readonly discovery: Discovery;
  readonly storage: Storage;
  readonly audience: Audience;
  readonly network: Network;
  readonly report: (news: readonly BootNews[]) => void;
  readonly log: Log;
}

/** Everything in the server that keeps something for each board, or goes by a setting that a reload may change. */
export function followersOf(parts: FollowingParts): Followers {
  const { running, boards, histories, metrics, watch, discovery, storage, audience } = parts;
  const known = new Set(running.served.boards.keys());
  let warnings = boards.warnings;
  return {
    known: () => known,
    async arriving(names) {
      const fresh = [...names].filter((name) => !known.has(name));
      for (const name of fresh) known.add(name);
      parts.report(await histories.begin(fresh));
      for (const name of fresh) metrics.begin(name);
    },
    opened(board) {
      watch.begin(board, statePlace(running));
      discovery.forgetBoard(board.entry);
    },
    closed: (name) => watch.end(name),
    async gone(name) {
      known.delete(name);
      await histories.end(name);
      parts.nbdServer.tellMeter(); // what threads have counted for it, and not told yet
      await metrics.end(name);
    },
    async settled(openedAnew) {
      const { server } = running.inventory;
      const { stateLimitBytes, allow, address } = server;
      boards.follow({ stateLimitBytes, serverAddress: addressForBoot(address) });
      audience.allow(allow);
      const isKnown = (warning: ImageWarning) => warnings.some((other) => isDeepStrictEqual(warning, other));
      for (const warning of boards.warnings) if (!isKnown(warning)) parts.log.warn(warning, 'image.warning');
      warnings = boards.warnings;
      await storage.replace(storedThings(running.served), openedAnew);
      await parts.network.look();
    },
  };
}

function statePlace({ inventory: { server } }: RunningInventory): Parameters<BoardWatch['begin']>[1] {
  return { state: server.state, hasLimit: server.stateLimitBytes !== undefined };
}

export function watchAll(watch: BoardWatch, boards: OpenBoards, running: RunningInventory): void {
  const all: readonly OpenBoard[] = boards.all.flatMap(({ name }) => boards.find(name) ?? []);
  for (const board of all) watch.begin(board, statePlace(running));
}
