import { resolve } from 'node:path';
import { bytesText, durationText } from '../base/amounts.js';
import { SNAPSHOT_HOLD_MS_GOAL } from '../base/limits.js';
import { printable } from '../base/printable.js';
import { unreachable } from '../base/unreachable.js';
import type { Held } from '../boards/disks/board-disk.js';
import type { CommandVerdict, PutAside } from '../boards/disks/disk-commands.js';
import type { Promoted } from '../boards/disks/promotion.js';
import { askForCommand, askForCopy, type NoAnswer, type ServerPlace } from './ask-server.js';
import { ExitStatus } from './exit-status.js';
import { controlSocketOf, fail, noServer } from './running-server.js';

export interface DiskOptions {
  readonly config?: string;
}

export interface ForcedOptions extends DiskOptions {
  readonly force?: boolean;
}

/** Keeps the disk of a board as it is at this moment, under a name, while the board goes on. */
export function snapshot(board: string, name: string, options: DiskOptions): Promise<ExitStatus> {
  return command<Held>(
    options,
    (place) => askForCommand(place, board, 'snapshot', { snapshot: name }),
    ({ heldMs }) => {
      const held = `${board}: snapshot ${name} taken; its writes were held for ${durationText(heldMs)}`;
      const isLong = heldMs > SNAPSHOT_HOLD_MS_GOAL;
      return isLong
        ? `${held}: so long the disk under the server's state folder took to sync what was written last`
        : held;
    },
  );
}

/** Has the disk of a board be again as it was when a snapshot was taken. */
export function rollback(
  board: string,
  name: string,
  { force = false, ...options }: ForcedOptions,
): Promise<ExitStatus> {
  return command<object>(
    options,
    (place) => askForCommand(place, board, 'rollback', { snapshot: name, force }),
    () => `${board}: its disk is as it was in the snapshot ${name}; what was written since is gone. Start ${board}`,
  );
}

/** Has the disk of a board be again as its image is. */
export function reset(board: string, { force = false, ...options }: ForcedOptions): Promise<ExitStatus> {
  return command<PutAside>(
    options,
    (place) => askForCommand(place, board, 'reset', { force }),
    ({ aside }) => {
      const done = `${board}: its disk is as its image`;
      return aside === undefined
        ? `${done}; its snapshots are kept. Start ${board}`
        : `${done}. The one before, which could not be used, was put aside with its snapshots: it lies in ${aside}. When nobody needs it, rm -r that folder`;
    },
  );
}

/** Forgets a snapshot. */
export function drop(board: string, name: string, { force = false, ...options }: ForcedOptions): Promise<ExitStatus> {
  return command<object>(
    options,
    (place) => askForCommand(place, board, 'drop', { snapshot: name, force }),
    () => `${board}: snapshot ${name} dropped`,
  );
}

/** Makes an image file of a board's disk as it is at this moment, while the board goes on. Ctrl-C ends it, and nothing of the file is left. */
export async function promote(board: string, file: string, options: DiskOptions): Promise<ExitStatus> {
  const path = resolve(file);
  const ended = new AbortController();
  process.once('SIGINT', () => ended.abort());
  const progress = new ProgressLine();
  return command<Promoted>(
    options,
    async (place) => {
      const told = (doneBytes: number, ofBytes: number) => progress.show(doneBytes, ofBytes);
      const verdict = await askForCopy(place, { board, file: path }, told, ended.signal);
      progress.end();
      if (!ended.signal.aborted) return verdict;
      return { answer: 'refused', because: `${board}: ended; the server removes what there was of ${path}` };
    },
    ({ bytes, heldMs }) => {
      const done = `${board}: its disk, as it was when this began, is now in ${path} (${bytesText(bytes)})`;
      return heldMs === 0 ? done : `${done}; its writes were held for ${durationText(heldMs)} at most`;
    },
  );
}

async function command<Done>(
  { config }: DiskOptions,
  ask: (place: ServerPlace) => Promise<CommandVerdict<Done> | NoAnswer>,
  done: (outcome: Done) => string,
): Promise<ExitStatus> {
  const socketPath = await controlSocketOf(config);
  if (socketPath === undefined) return ExitStatus.InventoryFaults;
  const verdict = await ask({ socketPath });
  switch (verdict.answer) {
    case 'done':
      process.stdout.write(`${printable(done(verdict))}\n`);
      return ExitStatus.Done;
    case 'refused':
    case 'unknown':
      return fail(verdict.because);
    case 'none':
      return fail(noServer(socketPath, verdict.because));
    default:
      return unreachable(verdict);
  }
}

/** A line that changes, for who looks at it; none in a file. */
class ProgressLine {
  #isShown = false;

  show(doneBytes: number, ofBytes: number): void {
    if (!process.stderr.isTTY) return;
    this.#isShown = true;
    const percent = ofBytes === 0 ? 100 : Math.floor((100 * doneBytes) / ofBytes);
    process.stderr.write(`\r${percent} % of ${bytesText(ofBytes)}`);
  }

  end(): void {
    if (this.#isShown) process.stderr.write('\n');
  }
}
