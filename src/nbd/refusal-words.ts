import { NBD_MESSAGE_CHARACTERS_MAX } from '../base/limits.js';
import { printableAscii } from '../base/printable.js';
import { unreachable } from '../base/unreachable.js';
import type { Refused } from './admission.js';

/** What a refused client is told. It is read on a board's console by somebody who now has to change a file on another machine. */

export function unknownSentence(asked: string, names: readonly string[]): string {
  const name = asked.startsWith('/') ? asked.slice(1) : asked;
  const known = names.length === 0 ? 'It lists no board yet.' : `It lists ${names.join(', ')}`;
  const advice = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)
    ? `Add under "boards:" in config.yaml: ${name}: { serial: <serial>, image: <image>, disk: direct } and restart the server.`
    : 'A board has a name of a-z, 0-9 and "-", which is also the name of its export.';
  return shortened(
    `No board "${shortened(name, 63)}" in the inventory. ${advice} ${known}`,
    NBD_MESSAGE_CHARACTERS_MAX,
  );
}

export function refusedSentence(board: string, because: Refused): string {
  switch (because.kind) {
    case 'address':
      return `The disk of ${board} is not for ${because.peer}. Add that address or its network to "allow" of ${board} in config.yaml and restart the server.`;
    default:
      return unreachable(because.kind);
  }
}

/** For journal and log. */
export function refusedReason(because: Refused): string {
  switch (because.kind) {
    case 'address':
      return 'its address is not in `allow` of the board';
    default:
      return unreachable(because.kind);
  }
}

/** What a peer sent may hold anything and be of any length: made fit for a console, and cut with a mark. */
export function shortened(text: string, charactersMax: number): string {
  return printableAscii(text.length > charactersMax ? `${text.slice(0, charactersMax - 3)}...` : text);
}
