/**
 * Text of a stranger, made fit to be shown: control characters (which may steer a terminal), those that turn the direction of
 * writing, and line ends become U+FFFD, one for one: what a peer says never makes a line of its own. A tab is drawn as →.
 */
export function printable(text: string): string {
  return text.replaceAll('\t', '→').replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, '\ufffd');
}

/** The same for a board's console and other terminals that know ASCII at best: whatever else there is becomes a question mark. */
export function printableAscii(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, '?');
}
