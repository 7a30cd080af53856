import { bytesText, durationText } from '../base/amounts.js';
import { unreachable } from '../base/unreachable.js';
import type { BootRecord } from '../boards/journal/boot-record.js';
import type { BoardState, BoardStatus, ListenerStatus, ServerStatus, UnknownBoard } from '../boards/journal/status.js';
import { type Markup, markup } from './markup.js';

/** The status page: what every board does now, and how its last boot went. Plain HTML that loads itself again; no script. */
export function statusPage(status: ServerStatus): string {
  const missing = status.listeners.filter((listener) => listener.missing !== undefined);
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="${refreshSeconds(status.boards)}">
<title>Brambleboot: ${summary(status.boards)}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header><h1>Brambleboot</h1><p>${summary(status.boards)} · version ${status.version} · up since ${instant(status.startedAt)}</p></header>
<main>
${missing.length === 0 ? markup`` : listenersSection(missing)}
${byUrgency(status.boards).map(boardSection)}
${status.unknownBoards.length === 0 ? markup`` : unknownSection(status.unknownBoards)}
</main>
</body>
</html>
`.text;
}

export const STYLE_SHEET = `
:root { color-scheme: light dark; --line: #8884; --good: #2a7d3f; --busy: #b26a00; --bad: #b3261e; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
header p { color: #777; margin-top: -.8rem; }
section { border: 1px solid var(--line); border-radius: .5rem; margin: 1rem 0; padding: .2rem 1rem .8rem; }
h2 { font-size: 1.1rem; display: flex; gap: .6rem; align-items: baseline; }
h2 small { color: #777; font-weight: normal; }
.state { border-radius: 1rem; color: #fff; font-size: .8rem; padding: 0 .6rem; background: #777; }
.running { background: var(--good); } .booting { background: var(--busy); } .failed { background: var(--bad); }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--line); padding: .1rem .5rem .1rem 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: #777; text-align: right; white-space: nowrap; width: 5rem; }
pre { background: #8882; overflow-x: auto; padding: .5rem; }
.why { color: var(--bad); }
`;

/** A boot is worth watching; otherwise who reads should not have the page pulled away. */
function refreshSeconds(boards: readonly BoardStatus[]): number {
  return boards.some(({ state }) => state === 'booting') ? 3 : 30;
}

/** What needs somebody comes first; otherwise as in the inventory. */
function byUrgency(boards: readonly BoardStatus[]): readonly BoardStatus[] {
  const order: readonly BoardState[] = ['failed', 'booting', 'away', 'running'];
  return order.flatMap((state) => boards.filter((board) => board.state === state));
}

function boardSection(board: BoardStatus): Markup {
  return markup`<section>
<h2>${board.name} <span class="state ${board.state}">${board.state}</span>
<small>serial ${board.serial} · image ${board.image} (${board.disk}, ${bytesText(board.sizeBytes)})${board.attachedFrom === undefined ? '' : ` · disk in use by ${board.attachedFrom}`}</small></h2>
${board.lastBoot === undefined ? markup`<p>Not seen yet.</p>` : bootTable(board, board.lastBoot)}
</section>`;
}

function bootTable(board: BoardStatus, boot: BootRecord): Markup {
  const open = board.state === 'running' ? markup`` : markup` open`;
  return markup`<details${open}><summary>${bootSummary(boot)}</summary>
<table>${boot.steps.map((step) => markup`<tr><td>${seconds(step.afterMs)}</td><td>${step.text}</td></tr>`)}</table></details>`;
}

function bootSummary(boot: BootRecord): Markup {
  const files = `${boot.filesRead} files, ${bytesText(boot.bytesRead)}, ${boot.probes} probes`;
  const since = instant(boot.startedAt);
  switch (boot.state.at) {
    case 'booted':
      return markup`Booted in ${durationText(boot.state.durationMs)} at ${since}: ${files}.`;
    case 'failed':
      return markup`<span class="why">Failed at ${boot.state.stage}: ${boot.state.because}.</span> Began ${since}; ${files}.`;
    case 'underWay':
      return markup`Booting since ${since}, now at ${boot.state.stage}: ${files}.`;
    case 'dismissed':
      return markup`Asked for files at ${since} and went on running: ${files}.`;
    default:
      return unreachable(boot.state);
  }
}

function listenersSection(missing: readonly ListenerStatus[]): Markup {
  return markup`<section><h2><span class="state failed">not ready</span></h2>
<table>${missing.map((listener) => markup`<tr><td>${listener.name}</td><td class="why">${listener.missing ?? ''}</td></tr>`)}</table>
</section>`;
}

function unknownSection(boards: readonly UnknownBoard[]): Markup {
  return markup`<section><h2>Boards that are not in the inventory</h2>
${boards.map((board) => markup`<p>${unknownName(board)}, last seen ${instant(board.seenAt)}. To add it:</p><pre>${board.suggestion}</pre>`)}
</section>`;
}

function unknownName({ model, mac, serial }: UnknownBoard): string {
  const identity = mac === undefined ? `serial ${serial ?? 'unknown'}` : `MAC ${mac}`;
  return `${model ?? 'A board'}, ${identity}`;
}

function summary(boards: readonly BoardStatus[]): string {
  const running = boards.filter((board) => board.state === 'running').length;
  return `${running} of ${boards.length} ${boards.length === 1 ? 'board' : 'boards'} running`;
}

function instant(date: Date): string {
  return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 3 : 1)} s`;
}
