import { FAULT_QUOTE_CHARACTERS_MAX } from '../base/limits.js';

/** A text of the file inside a sentence: in quotes, on one line, of bounded length. */
export function quote(text: string): string {
  return `"${shown(text)}"`;
}

/** The same where the sentence has marks of its own around it. */
export function shown(text: string): string {
  const cut = text.slice(0, FAULT_QUOTE_CHARACTERS_MAX);
  return `${printable(cut)}${cut.length < text.length ? '…' : ''}`;
}

/**
 * A text that a terminal shows as it is, one column for each character that would otherwise steer it (escape sequences,
 * line ends, marks that turn the writing direction). A tab is drawn: nobody sees it otherwise, and YAML forbids it.
 */
export function printable(text: string): string {
  return text.replaceAll('\t', '→').replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, '\ufffd');
}
