import { RELOAD_CHANGES_SHOWN_MAX } from '../base/limits.js';
import {
  type BoardState,
  type BoardStatus,
  type FilesystemStatus,
  type HandoverStatus,
  type ImageCondition,
  type InventoryStatus,
  imageText,
  type ListenerStatus,
  type ServerStatus,
  spaceText,
  type UnknownBoard,
} from '../boards/journal/status.js';
import {
  boardHeading,
  bootSummary,
  failureParagraph,
  instant,
  spaceParagraph,
  timeline,
  unusableParagraph,
} from './boot-markup.js';
import { type Markup, markup } from './markup.js';

/** The status page: what every board does now, and how its last boot went. Plain HTML that loads itself again; no script. */
export function statusPage(status: ServerStatus): string {
  const missing = status.listeners.filter((listener) => listener.missing !== undefined);
  const low = status.filesystems.filter((filesystem) => filesystem.low);
  const gone = status.filesystems.flatMap((filesystem) => filesystem.missing);
  const images = status.images.filter((image) => imageText(image) !== undefined);
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
${inventorySection(status.inventory)}
${handoverSection(status.handover)}
${gone.length === 0 ? markup`` : goneSection(gone)}
${low.length === 0 ? markup`` : storageSection(low)}
${images.length === 0 ? markup`` : imagesSection(images)}
${missing.length === 0 ? markup`` : listenersSection(missing)}
${byUrgency(status.boards).map(boardSection)}
${status.unknownBoards.length === 0 ? markup`` : unknownSection(status.unknownBoards)}
</main>
${changesFooter(status.inventory)}
</body>
</html>
`.text;
}

export const STYLE_SHEET = `
:root { color-scheme: light dark; --line: #8884; --good: #2a7d3f; --busy: #b26a00; --bad: #b3261e; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
header p { color: #777; margin-top: -.8rem; }
footer p { color: #777; overflow-wrap: anywhere; }
section { border: 1px solid var(--line); border-radius: .5rem; margin: 1rem 0; padding: .2rem 1rem .8rem; }
h1 { display: flex; gap: .6rem; align-items: baseline; flex-wrap: wrap; }
h2 { font-size: 1.1rem; display: flex; flex-wrap: wrap; gap: .2rem .6rem; align-items: baseline; }
h1 small { font-size: 1rem; } h1 small, h2 small { color: #777; font-weight: normal; }
.state { align-self: center; border-radius: 1rem; color: #fff; font-size: .8rem; padding: 0 .6rem; background: #777; }
.running { background: var(--good); } .booting { background: var(--busy); } .failed { background: var(--bad); }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--line); padding: .1rem .5rem .1rem 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: #777; white-space: nowrap; width: 1%; padding-right: 1rem; }
.steps td:first-child { text-align: right; width: 5rem; padding-right: .5rem; }
pre { background: #8882; overflow-x: auto; padding: .5rem; }
.why { color: var(--bad); }
a { color: inherit; }
`;

/** A boot is worth watching; otherwise who reads should not have the page pulled away. */
function refreshSeconds(boards: readonly BoardStatus[]): number {
  return boards.some(({ state }) => state === 'booting') ? 3 : 30;
}

/** What needs somebody comes first; otherwise as in the inventory. */
function byUrgency(boards: readonly BoardStatus[]): readonly BoardStatus[] {
  const order: readonly BoardState[] = ['failed', 'booting', 'away', 'running'];
  const isUrgent = (board: BoardStatus) =>
    board.diskFailure !== undefined || board.waitingForSpace !== undefined || board.own?.unusable !== undefined;
  const others = boards.filter((board) => !isUrgent(board));
  return [...boards.filter(isUrgent), ...order.flatMap((state) => others.filter((board) => board.state === state))];
}

/** The steps of a boot that needs to be looked at; of the others they are a click away. Nothing here can be unfolded: the page loads itself again. */
function boardSection(board: BoardStatus): Markup {
  const { lastBoot } = board;
  const steps = board.state === 'running' ? 'notShown' : 'shown';
  return markup`<section>
<h2>${boardHeading(board, markup`<a href="/boards/${board.name}">${board.name}</a>`)}</h2>
${failureParagraph(board.name, board.diskFailure)}
${unusableParagraph(board.own)}
${spaceParagraph(board.waitingForSpace)}
${lastBoot === undefined ? markup`<p>Not seen yet.</p>` : markup`<p>${bootSummary(lastBoot, steps)} <a href="/boards/${board.name}">All its boots</a></p>`}
${lastBoot === undefined || steps === 'notShown' ? markup`` : timeline(lastBoot)}
</section>`;
}

/** What is not as the file says, and why. */
function inventorySection({ file, loadedAt, faults, waiting, needsRestart }: InventoryStatus): Markup {
  const goesOn =
    loadedAt === undefined
      ? markup`The server runs on its copy of the last sound one.`
      : markup`The server goes on with what it read at ${instant(loadedAt)}.`;
  const faulty =
    faults === undefined
      ? markup``
      : markup`<section><h2><span class="state failed">inventory faulty</span></h2>
<p class="why">${file} could not be loaded since ${instant(faults.since)}. ${goesOn}</p><pre>${faults.text}</pre>
</section>`;
  if (waiting.length === 0 && needsRestart.length === 0) return faulty;
  const restart = needsRestart.map((key) => markup`<tr><td>${key}</td><td>needs a restart of the server</td></tr>`);
  return markup`${faulty}
<section><h2><span class="state booting">changes that wait</span></h2>
<table>${waiting.map(({ board, what, because }) => markup`<tr><td>${board}</td><td>${what}: ${because}</td></tr>`)}${restart}</table>
</section>`;
}

/** What the last reload has changed. */
function changesFooter({ changed }: InventoryStatus): Markup {
  if (changed === undefined) return markup``;
  const { at, what } = changed;
  const more = what.length - RELOAD_CHANGES_SHOWN_MAX;
  const shown = `${what.slice(0, RELOAD_CHANGES_SHOWN_MAX).join('; ')}${more > 0 ? ` and ${more} more` : ''}`;
  return markup`<footer><p>Inventory last changed at ${instant(at)}: ${shown}</p></footer>`;
}

/** Said before the restart, while something can be done. */
function handoverSection({ lacks, remedy, atRisk }: HandoverStatus): Markup {
  if (atRisk.length === 0 && lacks === undefined) return markup``;
  const who = atRisk.length === 0 ? 'boards that run' : atRisk.join(', ');
  const why =
    lacks === undefined
      ? markup`attached by TLS, which no other process can go on with.`
      : markup`${lacks}. To keep them: ${remedy ?? ''}.`;
  return markup`<section><h2><span class="state booting">a restart ends disks</span></h2>
<p class="why">Restarted, this server loses the root disk of ${who}: ${why}</p>
</section>`;
}

function storageSection(filesystems: readonly FilesystemStatus[]): Markup {
  return markup`<section><h2><span class="state failed">little space left</span></h2>
<table>${filesystems.map((filesystem) => markup`<tr><td>${filesystem.mountPoint}</td><td class="why">${spaceText(filesystem)}; it holds ${filesystem.holds.join(', ')}</td></tr>`)}</table>
</section>`;
}

function goneSection(images: readonly string[]): Markup {
  return markup`<section><h2><span class="state failed">file deleted, moved or replaced</span></h2>
<p class="why">${images.join(', ')}: its board goes on; if the file was deleted, it is lost when the server stops. Shut the board down and copy its disk by NBD first.</p>
</section>`;
}

function imagesSection(images: readonly ImageCondition[]): Markup {
  return markup`<section><h2><span class="state booting">images</span></h2>
<table>${images.map((image) => markup`<tr><td>${image.name}</td><td class="why">${image.file}: ${imageText(image) ?? ''}</td></tr>`)}</table>
</section>`;
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
