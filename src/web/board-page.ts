import type { BootRecord } from '../boards/journal/boot-record.js';
import type { BoardHistory } from '../boards/journal/status.js';
import {
  boardHeading,
  bootSummary,
  failureParagraph,
  spaceParagraph,
  timeline,
  unusableParagraph,
} from './boot-markup.js';
import { type Markup, markup } from './markup.js';

const RELOAD_SECONDS = 3;

/** One board with all its boots, newest first. It loads itself again only while the board boots: that is worth watching. */
export function boardPage(board: BoardHistory): string {
  const reload =
    board.state === 'booting' ? markup`<meta http-equiv="refresh" content="${RELOAD_SECONDS}">\n` : markup``;
  return page(
    board.name,
    reload,
    markup`<header><h1>${boardHeading(board, markup`${board.name}`)}</h1></header>
<main>
${failureParagraph(board.name, board.diskFailure)}
${unusableParagraph(board.own)}
${spaceParagraph(board.waitingForSpace)}
${board.boots.length === 0 ? markup`<p>Not seen yet.</p>` : markup``}
${board.boots.map(bootSection)}
</main>`,
  );
}

export function unknownBoardPage(because: string): string {
  return page('no such board', markup``, markup`<header><h1>No such board</h1></header><main><p>${because}</p></main>`);
}

function page(title: string, head: Markup, body: Markup): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${head}<title>Brambleboot: ${title}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<nav><a href="/">All boards</a></nav>
${body}
</body>
</html>
`.text;
}

function bootSection(boot: BootRecord): Markup {
  return markup`<section>
<p>${bootSummary(boot, 'shown')}</p>
${timeline(boot)}
</section>`;
}
