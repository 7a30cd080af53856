import type { Clock } from '../base/clock.js';
import { whoWeAre } from '../base/own-user.js';
import { type OpenBoards, openBoards } from '../boards/opening/open-boards.js';
import { byPosition, type Fault } from '../inventory/fault.js';
import { checkImageFiles } from '../inventory/files.js';
import type { Inventory } from '../inventory/inventory.js';
import { readInventory } from '../inventory/read.js';
import { readTlsFiles, type TlsReading } from '../inventory/tls-files.js';
import { addressForBoot } from './addresses.js';
import { type StateFolder, StateFolderInUse, takeStateFolder } from './state-folder.js';

export type ConfigurationVerdict =
  | {
      readonly answer: 'open';
      readonly inventory: Inventory;
      readonly boards: OpenBoards;
      readonly state: StateFolder;
      readonly tls: TlsReading;
    }
  /** Of the inventory, or of what it names. */
  | { readonly answer: 'faults'; readonly faults: readonly Fault[] }
  | { readonly answer: 'failed'; readonly because: string };

/** Reads the inventory, takes the state folder reads certificates and keys, and opens every image: all that must be sound before anything is started. */
export async function openConfiguration(path: string, clock: Clock): Promise<ConfigurationVerdict> {
  const read = await readInventory(path);
  if (read.answer === 'faults') return read;
  const { inventory, source } = read;
  const missing = await checkImageFiles(inventory, source);
  const tls = await readTlsFiles(inventory, source, clock.today());
  const faults = [...missing, ...(tls.answer === 'faults' ? tls.faults : [])];
  if (tls.answer === 'faults' || faults.length > 0) return { answer: 'faults', faults: faults.sort(byPosition) };
  const state = stateFolder(inventory.server.state);
  if (typeof state === 'string') return { answer: 'failed', because: state };
  const serverAddress = addressForBoot(inventory.server.address);
  const opened = await openBoards(inventory, source, { serverAddress, clock });
  const { reading } = tls;
  if (opened.answer === 'open') return { answer: 'open', inventory, boards: opened.boards, state, tls: reading };
  state.release();
  return opened;
}

function stateFolder(path: string): StateFolder | string {
  try {
    return takeStateFolder(path);
  } catch (error) {
    if (error instanceof StateFolderInUse) return error.message;
    const why = error instanceof Error ? error.message : String(error);
    const owned = `\`chown -R ${process.getuid?.() ?? 'USER'} ${path}\``;
    return `the state folder ${path} can't be used by ${whoWeAre()}: ${why}. It and what is in it must be that user's: ${owned}`;
  }
}
