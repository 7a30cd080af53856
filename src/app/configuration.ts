import { dirname, resolve } from 'node:path';
import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { whoWeAre } from '../base/own-user.js';
import { type OpenBoards, openBoards } from '../boards/opening/open-boards.js';
import { byPosition, type Fault } from '../inventory/fault.js';
import { checkImageFiles } from '../inventory/files.js';
import type { Inventory } from '../inventory/inventory.js';
import type { InventoryVerdict } from '../inventory/parse.js';
import { readInventory } from '../inventory/read.js';
import type { InventorySource } from '../inventory/source.js';
import { readTlsFiles, type TlsReading } from '../inventory/tls-files.js';
import { fileSight } from '../os/file-identity.js';
import { addressForBoot } from './addresses.js';
import { frozenBoards } from './handover/handover-folder.js';
import { LastInventory } from './last-inventory.js';
import { type StateFolder, StateFolderInUse, takeStateFolder } from './state-folder.js';

/** An inventory, and what is in the files that it names: as far as that can be looked at without opening an image. */
export interface Configuration {
  readonly inventory: Inventory;
  readonly source: InventorySource;
  readonly tls: TlsReading;
}

export interface OpenConfiguration extends Configuration {
  /** How the file looked before it was read (`fileSight`). */
  readonly sight: string;
  readonly boards: OpenBoards;
  readonly state: StateFolder;
  /** Of the file: then this is the copy of the last sound one, and there is something to be kept alive by it. */
  readonly faults: readonly Fault[];
}

export type ConfigurationVerdict =
  | ({ readonly answer: 'open' } & OpenConfiguration)
  /** Of the inventory, or of what it names. `waiting`: boards that wait for a server, and lose their disks if none starts. */
  | (ConfigurationFaults & { readonly waiting: readonly string[] })
  | { readonly answer: 'failed'; readonly because: string };

export interface ConfigurationFaults {
  readonly answer: 'faults';
  readonly faults: readonly Fault[];
  /** Of the server that ran on it before, as far as that can be read. */
  readonly state: string | undefined;
}

/**
 * Reads the inventory, takes the state folder, reads certificates and keys, and opens every image: all that must be sound before anything
 * is started. A file that is not sound is no reason to let boards lose their disks: what was frozen goes on with the last one that was.
 * `stateFolders`: where the state folder may be, if the file does not say.
 */
export async function openConfiguration(
  path: string,
  clock: Clock,
  stateFolders: readonly string[] = [],
): Promise<ConfigurationVerdict> {
  const sight = await fileSight(path);
  const opened = await open(await readConfiguration(path, clock), { sight, clock });
  if (opened.answer !== 'faults') return opened;
  const named = opened.state === undefined ? [] : [opened.state];
  const folders = [...named, ...stateFolders, resolve(dirname(path), 'state')];
  const waiting: string[] = [];
  for (const folder of new Set(folders)) {
    const boards = frozenBoards(folder);
    if (boards.length === 0) continue;
    waiting.push(...boards);
    const last = await new LastInventory(folder).read();
    const again = last && (await open(await lookedAt(last, clock), { sight, clock }));
    if (again?.answer === 'open') return { ...again, faults: opened.faults };
  }
  return { ...opened, waiting };
}

/** Every fault that `check` finds, but for what is wrong inside an image. */
export async function readConfiguration(
  path: string,
  clock: Clock,
): Promise<({ readonly answer: 'sound' } & Configuration) | ConfigurationFaults> {
  return lookedAt(await readInventory(path), clock);
}

async function lookedAt(
  read: InventoryVerdict,
  clock: Clock,
): Promise<({ readonly answer: 'sound' } & Configuration) | ConfigurationFaults> {
  if (read.answer === 'faults') return read;
  const { inventory, source } = read;
  const missing = await checkImageFiles(inventory, source);
  const tls = await readTlsFiles(inventory, source, clock.today());
  const faults = [...missing, ...(tls.answer === 'faults' ? tls.faults : [])];
  if (tls.answer === 'read' && faults.length === 0) return { answer: 'sound', inventory, source, tls: tls.reading };
  return { answer: 'faults', faults: faults.sort(byPosition), state: inventory.server.state };
}

async function open(
  read: Awaited<ReturnType<typeof readConfiguration>>,
  { sight, clock }: { readonly sight: string; readonly clock: Clock },
): Promise<Exclude<ConfigurationVerdict, { readonly answer: 'faults' }> | ConfigurationFaults> {
  if (read.answer === 'faults') return read;
  const { inventory, source, tls } = read;
  const state = stateFolder(inventory.server.state);
  if (typeof state === 'string') return { answer: 'failed', because: state };
  const serverAddress = addressForBoot(inventory.server.address);
  const opened = await openBoards(inventory, source, { serverAddress, clock });
  if (opened.answer === 'open') {
    return { answer: 'open', inventory, source, tls, boards: opened.boards, state, sight, faults: [] };
  }
  state.release();
  return { ...opened, state: inventory.server.state };
}

function stateFolder(path: string): StateFolder | string {
  try {
    return takeStateFolder(path);
  } catch (error) {
    if (error instanceof StateFolderInUse) return error.message;
    const why = messageOf(error);
    const owned = `\`chown -R ${process.getuid?.() ?? 'USER'} ${path}\``;
    return `the state folder ${path} can't be used by ${whoWeAre()}: ${why}. It and what is in it must be that user's: ${owned}`;
  }
}
