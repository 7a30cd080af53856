import { printable, printableJson, printableLines } from '../base/printable.js';
import { unreachable } from '../base/unreachable.js';
import { type ServerStatus, spaceText } from '../boards/journal/status.js';
import { renderFaults } from '../inventory/fault.js';
import { controlSocketPath } from '../inventory/inventory.js';
import { readInventory } from '../inventory/read.js';
import { askForBoard, askServer, type Wire } from './ask-server.js';
import { bootLine, historyText, waitLine } from './board-history.js';
import { configPath } from './config-path.js';
import { ExitStatus } from './exit-status.js';
import { table } from './table.js';

export interface BoardsOptions {
  readonly config?: string;
  readonly json?: boolean;
}

/** Shows the boards of the running server: one line each, or as JSON; of one board every boot with its steps. */
export async function boards(name: string | undefined, options: BoardsOptions): Promise<ExitStatus> {
  const path = configPath(options.config);
  const read = await readInventory(path);
  const state = read.answer === 'faults' ? read.state : read.inventory.server.state;
  if (read.answer === 'faults') {
    process.stderr.write(state === undefined ? renderFaults(read.faults) : faultyNote(path, read.faults.length));
  }
  if (state === undefined) return ExitStatus.InventoryFaults;
  const socketPath = controlSocketPath(state);
  return name === undefined ? showAll(socketPath, options) : showOne(name, socketPath, options);
}

/** The server may have started before somebody made them; which boards it has is what one wants to know just then. */
function faultyNote(path: string, count: number): string {
  const faults = count === 1 ? 'a fault' : `${count} faults`;
  return `brambleboot: ${printable(path)} has ${faults}, and a server would not start with it (\`brambleboot check\` lists them)\n`;
}

async function showAll(socketPath: string, { json }: BoardsOptions): Promise<ExitStatus> {
  const status = await askServer({ socketPath });
  if (typeof status === 'string') return fail(noServer(socketPath, status));
  return show(json ? status : undefined, overview(status));
}

async function showOne(name: string, socketPath: string, { json }: BoardsOptions): Promise<ExitStatus> {
  const verdict = await askForBoard({ socketPath }, name);
  switch (verdict.answer) {
    case 'board':
      return show(json ? verdict.board : undefined, historyText(verdict.board));
    case 'unknown':
      return fail(verdict.because);
    case 'none':
      return fail(noServer(socketPath, verdict.because));
    default:
      return unreachable(verdict);
  }
}

function noServer(socketPath: string, because: string): string {
  const advice = because.includes('EACCES')
    ? 'the server belongs to another user: try it with sudo'
    : 'is it running with this inventory?';
  return `no server answers at ${socketPath} (${because}): ${advice}`;
}

function fail(sentence: string): ExitStatus {
  process.stderr.write(`brambleboot: ${printable(sentence)}\n`);
  return ExitStatus.Failed;
}

function show(json: unknown, text: string): ExitStatus {
  process.stdout.write(json === undefined ? text : `${printableJson(JSON.stringify(json, null, 2))}\n`);
  return ExitStatus.Done;
}

function overview(status: Wire<ServerStatus>): string {
  const rows = status.boards.map((board) => [
    board.name,
    board.waitingForSpace === undefined ? board.state : `${board.state}, disk full`,
    board.serial,
    `${board.image} (${board.disk})`,
    board.attachedFrom ?? '-',
    board.lastBoot === undefined ? 'not seen yet' : bootLine(board.lastBoot),
  ]);
  const unknown = status.unknownBoards.map((board) => {
    const who = printable(`${board.model ?? 'a board'}, ${board.mac ?? `serial ${board.serial}`}`);
    return `\nNot in the inventory: ${who}. To add it:\n${printableLines(board.suggestion)}\n`;
  });
  const missing = status.listeners
    .filter((listener) => listener.missing !== undefined)
    .map((listener) => `\n${printable(`Not ready: ${listener.name}: ${listener.missing}`)}\n`);
  const heads = ['BOARD', 'STATE', 'SERIAL', 'IMAGE', 'DISK USED BY', 'LAST BOOT'];
  return [table(heads, rows), ...status.boards.map(waitLine), ...lowText(status), ...unknown, ...missing].join('');
}

function lowText({ filesystems }: Wire<ServerStatus>): readonly string[] {
  return filesystems
    .filter(({ low }) => low)
    .map((filesystem) => {
      const facts = `${filesystem.mountPoint}: ${spaceText(filesystem)}; it holds ${filesystem.holds.join(', ')}`;
      return `\nLittle space left: ${printable(facts)}\n`;
    });
}
