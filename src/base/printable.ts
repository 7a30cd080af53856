/**
 * Text of a stranger, made fit to be shown: control characters (which may steer a terminal), those that turn the direction of
 * writing, and line ends become U+FFFD, one for one: what a peer says never makes a line of its own. A tab is drawn as →.
 */
export function printable(text: string): string {
  return text.replaceAll('\t', '→').replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, '\ufffd');
}

/** The same for text of several lines, whose line feeds are our own. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** The same for a board's console and other terminals that know ASCII at best: whatever else there is becomes a question mark. */
export function printableAscii(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, '?');
}

/**
 * The same for JSON, which means what it meant: what may steer a terminal is written as `\uXXXX`. JSON itself does so only with
 * what is below a space, and leaves the second set of control characters (U+009B begins an escape sequence) as it is.
 */
export function printableJson(json: string): string {
  return json.replace(/[\x7f-\x9f\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, index) => escapedUnit(character.charCodeAt(index))).join(''),
  );
}

function escapedUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

/** What a peer sent may hold anything and be of any length: made fit for a console, and cut with a mark. */
export function shortened(text: string, charactersMax: number): string {
  return printableAscii(text.length > charactersMax ? `${text.slice(0, charactersMax - 3)}...` : text);
}
