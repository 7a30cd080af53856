import { durationText } from '../base/amounts.js';
import { printable } from '../base/printable.js';
import type { BootRecord } from '../boards/journal/boot-record.js';
import type { BoardStatus, ServerStatus } from '../boards/journal/status.js';
import { renderFaults } from '../inventory/fault.js';
import { controlSocketPath } from '../inventory/inventory.js';
import { readInventory } from '../inventory/read.js';
import { askServer, type Wire } from './ask-server.js';
import { configPath } from './config-path.js';
import { ExitStatus } from './exit-status.js';
import { table } from './table.js';

export interface BoardsOptions {
  readonly config?: string;
  readonly json?: boolean;
}

/** Shows the boards of the running server: one line each, or as JSON; of one board the steps of its last boot. */
export async function boards(name: string | undefined, options: BoardsOptions): Promise<ExitStatus> {
  const read = await readInventory(configPath(options.config));
  if (read.answer === 'faults') {
    process.stderr.write(renderFaults(read.faults));
    return ExitStatus.InventoryFaults;
  }
  const socketPath = controlSocketPath(read.inventory.server.state);
  const status = await askServer({ socketPath });
  if (typeof status === 'string') {
    const advice = status.includes('EACCES')
      ? 'the server belongs to another user: try it with sudo'
      : 'is it running with this inventory?';
    process.stderr.write(`brambleboot: no server answers at ${socketPath} (${status}): ${advice}\n`);
    return ExitStatus.Failed;
  }
  if (name === undefined) return show(options.json ? status : undefined, overview(status));
  const board = status.boards.find((candidate) => candidate.name === name);
  if (board === undefined) {
    process.stderr.write(
      `brambleboot: there is no board "${printable(name)}"; there are ${status.boards.map((one) => one.name).join(', ')}\n`,
    );
    return ExitStatus.Failed;
  }
  return show(options.json ? board : undefined, timeline(board));
}

function show(json: unknown, text: string): ExitStatus {
  process.stdout.write(json === undefined ? text : `${JSON.stringify(json, null, 2)}\n`);
  return ExitStatus.Done;
}

function overview(status: Wire<ServerStatus>): string {
  const rows = status.boards.map((board) => [
    board.name,
    board.state,
    board.serial,
    `${board.image} (${board.disk})`,
    board.attachedFrom ?? '-',
    board.lastBoot === undefined ? 'not seen yet' : bootLine(board.lastBoot),
  ]);
  const unknown = status.unknownBoards.map(
    (board) =>
      `\nNot in the inventory: ${printable(board.model ?? 'a board')}, ${board.mac ?? `serial ${board.serial}`}. To add it:\n${board.suggestion}\n`,
  );
  const missing = status.listeners
    .filter((listener) => listener.missing !== undefined)
    .map((listener) => `\nNot ready: ${listener.name}: ${listener.missing}\n`);
  return [table(['BOARD', 'STATE', 'SERIAL', 'IMAGE', 'DISK USED BY', 'LAST BOOT'], rows), ...unknown, ...missing].join(
    '',
  );
}

function timeline(board: Wire<BoardStatus>): string {
  const newest = board.lastBoot;
  const head = `${board.name}: ${board.state}, serial ${board.serial}, image ${board.image} (${board.disk})\n`;
  if (newest === undefined) return `${head}not seen yet\n`;
  const steps = newest.steps.map(
    (step) => `${(step.afterMs / 1000).toFixed(3).padStart(9)} s  ${printable(step.text)}\n`,
  );
  const why = newest.state.at === 'failed' ? `${printable(newest.state.because)}\n` : '';
  return [head, `${bootLine(newest)}\n`, why, ...steps].join('');
}

function bootLine(boot: Wire<BootRecord>): string {
  const at = `${boot.startedAt.slice(0, 19).replace('T', ' ')} UTC`;
  switch (boot.state.at) {
    case 'booted':
      return `${at}, booted in ${durationText(boot.state.durationMs)}`;
    case 'failed':
      return `${at}, failed at ${boot.state.stage}`;
    case 'underWay':
      return `${at}, now at ${boot.state.stage}`;
    default:
      return `${at}, asked for files and ran on`;
  }
}
