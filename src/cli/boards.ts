import { printable, printableJson, printableLines } from '../base/printable.js';
import { unreachable } from '../base/unreachable.js';
import {
  diskText,
  type HandoverStatus,
  type ImageCondition,
  imageText,
  type ServerStatus,
  spaceText,
} from '../boards/journal/status.js';
import { askForBoard, askServer, type Wire } from './ask-server.js';
import { bootLine, failureLine, historyText, stateText, unusableLine, waitLine } from './board-history.js';
import { ExitStatus } from './exit-status.js';
import { inventoryText } from './inventory-lines.js';
import { controlSocketOf, fail, noServer } from './running-server.js';
import { table } from './table.js';

export interface BoardsOptions {
  readonly config?: string;
  readonly json?: boolean;
}

/** Shows the boards of the running server: one line each, or as JSON; of one board every boot with its steps. */
export async function boards(name: string | undefined, options: BoardsOptions): Promise<ExitStatus> {
  const socketPath = await controlSocketOf(options.config);
  if (socketPath === undefined) return ExitStatus.InventoryFaults;
  return name === undefined ? showAll(socketPath, options) : showOne(name, socketPath, options);
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

function show(json: unknown, text: string): ExitStatus {
  process.stdout.write(json === undefined ? text : `${printableJson(JSON.stringify(json, null, 2))}\n`);
  return ExitStatus.Done;
}

function overview(status: Wire<ServerStatus>): string {
  const rows = status.boards.map((board) => [
    board.name,
    stateText(board),
    board.serial,
    board.image,
    diskText(board),
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
  const heads = ['BOARD', 'STATE', 'SERIAL', 'IMAGE', 'DISK', 'USED BY', 'LAST BOOT'];
  return [
    table(heads, rows),
    ...inventoryText(status.inventory),
    ...status.boards.map(waitLine),
    ...status.boards.map(failureLine),
    ...status.boards.map(unusableLine),
    ...status.images.map(imageLine),
    ...lowText(status),
    ...goneText(status),
    ...handoverText(status.handover),
    ...unknown,
    ...missing,
  ].join('');
}

function imageLine(image: Wire<ImageCondition>): string {
  const text = imageText(image);
  return text === undefined ? '' : `\nImage ${printable(`${image.name}: ${image.file}: ${text}`)}\n`;
}

function lowText({ filesystems }: Wire<ServerStatus>): readonly string[] {
  return filesystems
    .filter(({ low }) => low)
    .map((filesystem) => {
      const facts = `${filesystem.mountPoint}: ${spaceText(filesystem)}; it holds ${filesystem.holds.join(', ')}`;
      return `\nLittle space left: ${printable(facts)}\n`;
    });
}

function handoverText(handover: Wire<HandoverStatus> | undefined): readonly string[] {
  if (handover === undefined) return []; // a server that runs on from before an upgrade does not tell
  const { lacks, remedy, atRisk } = handover;
  if (lacks === undefined && atRisk.length === 0) return [];
  const who = atRisk.length === 0 ? 'boards that run' : atRisk.join(', ');
  const why = lacks === undefined ? 'attached by TLS' : `${lacks}; ${remedy ?? ''}`;
  return [`\nA restart of the server ends the disk of ${printable(`${who}: ${why}`)}\n`];
}

function goneText({ filesystems }: Wire<ServerStatus>): readonly string[] {
  return filesystems
    .flatMap(({ missing = [] }) => missing) // a server that runs on from before an upgrade does not tell
    .map(
      (name) =>
        `\nFile deleted, moved or replaced: ${printable(name)}. Its board goes on; if the file was deleted, it is lost when the server stops: shut the board down and copy its disk by NBD first (nbdcopy).\n`,
    );
}
