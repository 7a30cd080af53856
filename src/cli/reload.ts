import { printable, printableLines } from '../base/printable.js';
import { unreachable } from '../base/unreachable.js';
import type { ReloadVerdict } from '../boards/journal/status.js';
import { renderFaults } from '../inventory/fault.js';
import { readInventory } from '../inventory/read.js';
import { askToReload, type Wire } from './ask-server.js';
import { configPath } from './config-path.js';
import { ExitStatus } from './exit-status.js';
import { needsRestartText, waitingLine } from './inventory-lines.js';
import { fail, noServer, socketPathOf } from './running-server.js';

export interface ReloadOptions {
  readonly config?: string;
  readonly force?: boolean;
}

/** Has the running server read its inventory again, and says what that changed, or why it changed nothing. */
export async function reload({ config, force = false }: ReloadOptions): Promise<ExitStatus> {
  const path = configPath(config);
  const read = await readInventory(path);
  const socketPath = socketPathOf(path, read);
  if (socketPath === undefined) {
    process.stderr.write(renderFaults(read.answer === 'faults' ? read.faults : []));
    return ExitStatus.InventoryFaults;
  }
  const verdict = await askToReload({ socketPath }, force);
  switch (verdict.answer) {
    case 'reloaded':
      process.stdout.write(outcomeText(verdict));
      return ExitStatus.Done;
    case 'faults':
      process.stderr.write(
        `${printableLines(verdict.text)}\nNothing was changed: the server goes on with what it has.\n`,
      );
      return ExitStatus.InventoryFaults;
    case 'refused':
      return fail(`nothing was changed: ${verdict.because}`);
    case 'none':
      return fail(noServer(socketPath, verdict.because));
    default:
      return unreachable(verdict);
  }
}

function outcomeText({
  file,
  changed,
  waiting,
  needsRestart,
  doubt,
}: Wire<Extract<ReloadVerdict, { answer: 'reloaded' }>>): string {
  const nothing = changed.length + waiting.length + needsRestart.length === 0;
  return [
    nothing ? `${printable(file)}: nothing has changed\n` : `${printable(file)}: reloaded\n`,
    ...changed.map((what) => `  ${printable(what)}\n`),
    ...waiting.map(waitingLine),
    needsRestartText(needsRestart),
    doubt === undefined ? '' : `${printable(`${file}: ${doubt}`)}\n`,
  ].join('');
}
