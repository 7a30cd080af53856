import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import { parseSerial } from '../base/serial.js';
import { unreachable } from '../base/unreachable.js';
import type { Board } from '../boards/board.js';
import type { AddressBook } from '../boards/identity/address-book.js';
import { type Discovery, type FreeDisk, inventoryLinesFor } from '../boards/identity/discovery.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { BootNews } from '../boards/journal/boot-record.js';
import type { BoardEvent, TellBoardEvent, TransferEnded } from '../boards/journal/events.js';
import type { Journal } from '../boards/journal/journal.js';
import type { Metrics } from '../web/metrics.js';

export interface Listening {
  readonly discovery: Discovery;
  /** For the lines that would add a board. */
  readonly freeDisk: () => FreeDisk;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly addresses: AddressBook;
  readonly lookup: BoardLookup;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Where the events of all servers go: to the journal, the address book, the writer locks, the metrics, and as news to the log. */
export function narration(listening: Listening): TellBoardEvent {
  return (event) => {
    overhear(event, listening);
    discover(event, listening);
    listening.metrics.event(event);
    for (const news of listening.journal.record(event)) report(news, listening);
  };
}

/** A piece of news, counted and logged: one line for each stage of each boot. */
export function report(news: BootNews, { metrics, log }: Pick<Listening, 'metrics' | 'log'>): void {
  metrics.news(news);
  const { kind, ...facts } = news;
  switch (kind) {
    case 'started':
    case 'stage':
    case 'resumed':
    case 'booted':
      log.info(facts, `boot.${kind}`);
      return;
    case 'failed':
      log.warn(facts, 'boot.failed');
      return;
    default:
      unreachable(kind);
  }
}

/** A serial that is in no inventory, asked for: a board with a fixed address shows itself in no other way. */
function discover(event: BoardEvent, { discovery, lookup, freeDisk, clock, log }: Listening): void {
  if (event.kind !== 'transferEnded' || event.board !== undefined) return;
  const [, digits] = /^\/*([0-9a-f]{8})\//i.exec(event.path) ?? [];
  const serial = digits === undefined ? undefined : parseSerial(digits);
  if (serial === undefined || lookup.bySerial(serial) !== undefined) return;
  const board = { serial, peer: event.peer, lastSeenAt: clock.today() };
  if (!discovery.noteAsked(serial, event.peer, board.lastSeenAt)) return;
  log.info({ serial, peer: event.peer, add: inventoryLinesFor(board, freeDisk()) }, 'tftp.board.unknown');
}

/** What others should know of it: who has which address, and that a board which begins to boot may have let go of its disk. */
function overhear(event: BoardEvent, { addresses, lookup }: Listening): void {
  if (event.board === undefined) return;
  if (event.kind === 'addressRequested') addresses.noteAddress(event.address, event.mac);
  if (event.kind === 'discover' && event.serial !== undefined) addresses.noteSerial(event.mac, event.serial);
  if (event.kind === 'transferEnded') hasReadKernel(event, lookup.byName(event.board));
  if (event.kind === 'discover' || event.kind === 'bootFileRequested') lookup.byName(event.board)?.writerLock.suspect();
}

/** A board that has read its kernel whole is about to start: one forged packet says no such thing. */
function hasReadKernel({ role, outcome }: TransferEnded, board: Board | undefined): void {
  const mayBeKernel = role === 'kernel' || role === 'unknown';
  if (board !== undefined && mayBeKernel && outcome === 'complete') board.own?.spend(board.writerLock.isAbandoned());
}
