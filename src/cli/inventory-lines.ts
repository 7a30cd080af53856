import { printable, printableLines } from '../base/printable.js';
import type { InventoryStatus, WaitingChange } from '../boards/journal/status.js';
import type { Wire } from './ask-server.js';
import { instant } from './board-history.js';

/** How what is served stands to the file, as far as there is something to be said of it. */
export function inventoryText(inventory: Wire<InventoryStatus> | undefined): readonly string[] {
  if (inventory === undefined) return []; // a server that runs on from before an upgrade does not tell
  const { file, faults, loadedAt, waiting, needsRestart } = inventory;
  const meanwhile =
    loadedAt === undefined
      ? 'the server runs on its copy of the last sound one'
      : `the server goes on with what it read at ${instant(loadedAt)}`;
  const faulty =
    faults === undefined
      ? []
      : [
          `\nInventory faulty: ${printable(file)} could not be loaded since ${instant(faults.since)}; ${meanwhile}:\n`,
          `${printableLines(faults.text)}\n`,
        ];
  const restart = needsRestartText(needsRestart);
  return [...faulty, ...waiting.map((one) => `\n${waitingLine(one)}`), ...(restart === '' ? [] : [`\n${restart}`])];
}

export function waitingLine({ board, what, because }: WaitingChange): string {
  return `Waiting: ${printable(`board ${board} (${what}): ${because}`)}. It is done when that is over; \`brambleboot reload --force\` disconnects the board.\n`;
}

export function needsRestartText(keys: readonly string[]): string {
  return keys.length === 0 ? '' : `Restart needed: ${printable(keys.join(', '))} can't change while the server runs.\n`;
}
