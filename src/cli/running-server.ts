import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { printable } from '../base/printable.js';
import { renderFaults } from '../inventory/fault.js';
import { controlSocketPath } from '../inventory/inventory.js';
import type { InventoryVerdict } from '../inventory/parse.js';
import { readInventory } from '../inventory/read.js';
import { configPath } from './config-path.js';
import { ExitStatus } from './exit-status.js';

/** Where the server that runs on this inventory is asked. Its faults are said, if it has any; undefined if not even that can be read out of it. */
export async function controlSocketOf(config: string | undefined): Promise<string | undefined> {
  const path = configPath(config);
  const read = await readInventory(path);
  const socketPath = socketPathOf(path, read);
  if (read.answer === 'inventory') return socketPath;
  process.stderr.write(socketPath === undefined ? renderFaults(read.faults) : faultyNote(path, read.faults.length));
  return socketPath;
}

/** Undefined where the file does not say, and there is no server where it would be if the file said nothing. */
export function socketPathOf(path: string, read: InventoryVerdict): string | undefined {
  if (read.answer === 'inventory') return controlSocketPath(read.inventory.server.state);
  if (read.state !== undefined) return controlSocketPath(read.state);
  const usual = controlSocketPath(resolve(dirname(path), 'state'));
  return existsSync(usual) ? usual : undefined;
}

/** The server may have started before somebody made them; which boards it has is what one wants to know just then. */
function faultyNote(path: string, count: number): string {
  const faults = count === 1 ? 'a fault' : `${count} faults`;
  return `brambleboot: ${printable(path)} has ${faults}, and a server would not start with it (\`brambleboot check\` lists them)\n`;
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
