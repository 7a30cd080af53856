import { bytesText, durationText, sinceText } from '../base/amounts.js';
import { unreachable } from '../base/unreachable.js';
import type { BootRecord } from '../boards/journal/boot-record.js';
import {
  type BoardFacts,
  bootedOverRestart,
  type DiskFailure,
  diskText,
  filesText,
  type OwnDiskFacts,
  type SpaceWaitStatus,
} from '../boards/journal/status.js';
import { type Markup, markup } from './markup.js';

/** Name, state, and what is so of a board whether it boots or not: the inside of a heading. */
export function boardHeading(board: BoardFacts, name: Markup): Markup {
  const use = board.attachedFrom === undefined ? '' : ` · disk in use by ${board.attachedFrom}`;
  return markup`${name} <span class="state ${board.state}">${board.state}</span>
${board.diskFailure === undefined ? markup`` : markup`<span class="state failed">disk failed</span>`}
${board.waitingForSpace === undefined ? markup`` : markup`<span class="state failed">waiting for space</span>`}
${board.own?.unusable === undefined ? markup`` : markup`<span class="state failed">disk can't be used</span>`}
<small>serial ${board.serial} · image ${board.image} (${diskText(board)})${use}</small>`;
}

/** What a full disk holds up, and what to do; nothing where it holds up nothing. */
export function spaceParagraph(wait: SpaceWaitStatus | undefined): Markup {
  if (wait === undefined) return markup``;
  const writes = `${wait.requests} ${wait.requests === 1 ? 'write' : 'writes'} (${bytesText(wait.bytes)})`;
  return markup`<p class="why">The filesystem under its disk is full: ${writes} waiting since ${instant(wait.since)}. Make room on the server, and the board goes on.</p>`;
}

/** Why nothing of a disk is safe any more, and what to do; nothing where all is well. */
export function failureParagraph(board: string, failure: DiskFailure | undefined): Markup {
  if (failure === undefined) return markup``;
  return markup`<p class="why">Its disk failed at ${instant(failure.since)}: ${failure.because}. What it wrote before may be lost. Mend the disk, run <code>brambleboot reopen ${board}</code> on the server, and restart the board.</p>`;
}

/** Why a board can't have its disk, and what to do; nothing where it can. */
export function unusableParagraph(own: OwnDiskFacts | undefined): Markup {
  if (own?.unusable === undefined) return markup``;
  return markup`<p class="why">It can't have its disk: ${own.unusable}.</p>`;
}

/** How a boot went, in a sentence. Why it failed is the last of its steps: said here too where those are not shown. */
export function bootSummary(boot: BootRecord, steps: 'shown' | 'notShown'): Markup {
  const files = filesText(boot);
  const since = instant(boot.startedAt);
  switch (boot.state.at) {
    case 'booted':
      return markup`Booted in ${durationText(boot.state.durationMs)}${bootedOverRestart(boot) ? ', over a restart of the server,' : ''} at ${since}: ${files}.`;
    case 'failed': {
      const { stage, because } = boot.state;
      const isSaid = steps === 'shown' && boot.steps.at(-1)?.text === because;
      return markup`<span class="why">Failed at ${stage}${isSaid ? '' : `: ${because}`}.</span> Began ${since}; ${files}.`;
    }
    case 'underWay':
      return markup`Booting since ${since}, now at ${boot.state.stage}: ${files}.`;
    case 'dismissed':
      return markup`Asked for files at ${since} and went on running: ${files}.`;
    default:
      return unreachable(boot.state);
  }
}

export function timeline(boot: BootRecord): Markup {
  const rows = boot.steps.map(({ kind, afterMs, text }) => {
    const words = kind === 'failed' ? markup`<td class="why">${text}</td>` : markup`<td>${text}</td>`;
    return markup`<tr><td>${sinceText(afterMs)}</td>${words}</tr>`;
  });
  return markup`<table class="steps">${rows}</table>`;
}

export function instant(date: Date): string {
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
