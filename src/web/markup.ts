import { printableLines } from '../base/printable.js';

/** HTML that was made here: whatever is put into it was escaped. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Insert = string | number | Markup | readonly Markup[];

/** A template whose inserts are escaped, unless they are Markup themselves. Nothing a LAN says gets around it. */
export function markup(literals: TemplateStringsArray, ...inserts: readonly Insert[]): Markup {
  const parts = literals.map((literal, index) => literal + (index < inserts.length ? rendered(inserts[index]) : ''));
  return new Markup(parts.join(''));
}

function rendered(insert: Insert | undefined): string {
  if (insert === undefined) return '';
  if (insert instanceof Markup) return insert.text;
  if (typeof insert === 'string' || typeof insert === 'number') return escapeHtml(String(insert));
  return insert.map(({ text }) => text).join('');
}

/** Markup's five characters become entities; of control characters only the line feed of our own texts stays. */
export function escapeHtml(text: string): string {
  return printableLines(text).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
