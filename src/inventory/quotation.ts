import { FAULT_QUOTE_CHARACTERS_MAX } from '../base/limits.js';
import { printable } from '../base/printable.js';

/** A text of the file inside a sentence: in quotes, on one line, of bounded length. */
export function quote(text: string): string {
  return `"${shown(text)}"`;
}

/** The same where the sentence has marks of its own around it. */
export function shown(text: string): string {
  const cut = text.slice(0, FAULT_QUOTE_CHARACTERS_MAX);
  return `${printable(cut)}${cut.length < text.length ? '…' : ''}`;
}
