import { bytesText, durationText, sinceText } from '../base/amounts.js';
import { printable } from '../base/printable.js';
import type { BootRecord } from '../boards/journal/boot-record.js';
import {
  type BoardFacts,
  type BoardHistory,
  bootedOverRestart,
  diskText,
  filesText,
} from '../boards/journal/status.js';
import type { Wire } from './ask-server.js';

/** All boots of a board with their steps, for a terminal: the newest last, where the eye is when it has scrolled by, and then how the board is now. */
export function historyText(board: Wire<BoardHistory>): string {
  const boots = [...board.boots].reverse().map((boot) => `${bootText(boot)}\n`);
  const use = board.attachedFrom === undefined ? '' : `, disk in use by ${board.attachedFrom}`;
  const now = `${board.name}: ${stateText(board)}, serial ${board.serial}, image ${board.image} (${diskText(board)})${use}`;
  return `${boots.join('')}${printable(now)}${boots.length === 0 ? '; not seen yet' : ''}\n${waitLine(board)}${failureLine(board)}${unusableLine(board)}`;
}

/** `running, disk full`. */
export function stateText({ state, waitingForSpace, diskFailure, own }: Wire<BoardFacts>): string {
  const unusable = own?.unusable === undefined ? '' : ', no disk';
  const full = waitingForSpace === undefined ? '' : ', disk full';
  return `${state}${unusable}${full}${diskFailure === undefined ? '' : ', disk failed'}`;
}

/** What a full disk holds up, and what to do; nothing where it holds up nothing. */
export function waitLine({ name, waitingForSpace }: Wire<BoardFacts>): string {
  if (waitingForSpace === undefined) return '';
  const { since, requests, bytes } = waitingForSpace;
  const facts = `${name}: ${requests} ${requests === 1 ? 'write' : 'writes'} (${bytesText(bytes)}), since ${instant(since)}`;
  return `\nWaiting for space: ${printable(facts)}. Make room on the server, and it goes on.\n`;
}

/** That its disk failed, and what to do; nothing where all is well. */
export function failureLine({ name, diskFailure }: Wire<BoardFacts>): string {
  if (diskFailure === undefined) return '';
  const facts = `${name}: since ${instant(diskFailure.since)}, ${diskFailure.because}`;
  return `\nDisk failed: ${printable(facts)}. What the board wrote before may be lost. Mend the disk, then \`brambleboot reopen ${name}\` and restart the board.\n`;
}

/** Why it can't have its disk; nothing where it can. */
export function unusableLine({ name, own }: Wire<BoardFacts>): string {
  return own?.unusable === undefined ? '' : `\nNo disk: ${printable(`${name}: ${own.unusable}`)}.\n`;
}

/** When it began and how it went, in half a line. */
export function bootLine(boot: Wire<BootRecord>): string {
  const at = instant(boot.startedAt);
  switch (boot.state.at) {
    case 'booted':
      return `${at}, booted in ${durationText(boot.state.durationMs)}${bootedOverRestart(boot) ? ', over a restart of the server' : ''}`;
    case 'failed':
      return `${at}, failed at ${boot.state.stage}`;
    case 'underWay':
      return `${at}, now at ${boot.state.stage}`;
    default:
      return `${at}, asked for files and ran on`;
  }
}

function bootText(boot: Wire<BootRecord>): string {
  const steps = boot.steps.map((step) => `${sinceText(step.afterMs).padStart(12)}  ${printable(step.text)}\n`);
  // A boot with too many steps to remember has no step that says it.
  const { state } = boot;
  const unsaid = state.at === 'failed' && boot.steps.at(-1)?.text !== state.because;
  return `${bootLine(boot)} (${filesText(boot)})\n${steps.join('')}${unsaid ? `${printable(state.because)}\n` : ''}`;
}

export function instant(date: string): string {
  return `${date.slice(0, 19).replace('T', ' ')} UTC`;
}
