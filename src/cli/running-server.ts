import { printable } from '../base/printable.js';
import { renderFaults } from '../inventory/fault.js';
import { controlSocketPath } from '../inventory/inventory.js';
import { readInventory } from '../inventory/read.js';
import { configPath } from './config-path.js';
import { ExitStatus } from './exit-status.js';

/** Where the server that runs on this inventory is asked; undefined, and the faults said, if the inventory has any. */
export async function controlSocketOf(config: string | undefined): Promise<string | undefined> {
  const read = await readInventory(configPath(config));
  if (read.answer === 'inventory') return controlSocketPath(read.inventory.server.state);
  process.stderr.write(renderFaults(read.faults));
  return undefined;
}

export function noServer(socketPath: string, because: string): string {
  const advice = because.includes('EACCES')
    ? 'the server belongs to another user: try it with sudo'
    : 'is it running with this inventory?';
  return `no server answers at ${socketPath} (${because}): ${advice}`;
}

export function fail(sentence: string): ExitStatus {
  process.stderr.write(`brambleboot: ${printable(sentence)}\n`);
  return ExitStatus.Failed;
}
