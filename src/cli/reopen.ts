import { printable } from '../base/printable.js';
import { unreachable } from '../base/unreachable.js';
import { askToReopen } from './ask-server.js';
import { instant } from './board-history.js';
import { ExitStatus } from './exit-status.js';
import { controlSocketOf, fail, noServer } from './running-server.js';

export interface ReopenOptions {
  readonly config?: string;
}

/** Has the running server take up the disk of a board again whose flush had failed, and says what that means. */
export async function reopen(board: string, options: ReopenOptions): Promise<ExitStatus> {
  const socketPath = await controlSocketOf(options.config);
  if (socketPath === undefined) return ExitStatus.InventoryFaults;
  const verdict = await askToReopen({ socketPath }, board);
  switch (verdict.answer) {
    case 'reopened':
      return say(`${board}: its disk is flushed again. ${whatIsLost(board, instant(verdict.failure.since))}`);
    case 'sound':
      return say(`${board}: its disk has not failed; nothing was done.`);
    case 'failed':
      return fail(`${board}: its disk could not be taken up again: ${verdict.because}. It is as it was; see dmesg`);
    case 'unknown':
      return fail(verdict.because);
    case 'none':
      return fail(noServer(socketPath, verdict.because));
    default:
      return unreachable(verdict);
  }
}

function whatIsLost(board: string, since: string): string {
  return `What ${board} wrote before its flush failed at ${since}, and had not flushed, may be lost: restart ${board}, so that it checks its filesystems (fsck).`;
}

function say(sentence: string): ExitStatus {
  process.stdout.write(`${printable(sentence)}\n`);
  return ExitStatus.Done;
}
