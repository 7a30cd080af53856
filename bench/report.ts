import { readFileSync, writeFileSync } from 'node:fs';
import { projectFile } from '../test/support/project.js';

/**
 * Writes what a bench has measured into docs/benchmarks.md: replaces what stands between `<!-- bench:NAME -->` and
 * `<!-- /bench:NAME -->`, or adds both and the text at the end. Everything else in the file is written by hand and stays.
 */
export function writeSection(name: string, markdown: string): void {
  const file = projectFile('docs', 'benchmarks.md');
  writeFileSync(file, withSection(readFileSync(file, 'utf8'), name, markdown));
}

/** `document` with that section in it. Throws if its marks are there only half, or twice. */
export function withSection(document: string, name: string, markdown: string): string {
  const opening = `<!-- bench:${name} -->`;
  const closing = `<!-- /bench:${name} -->`;
  const section = `${opening}\n${markdown.trim()}\n${closing}`;
  const [before = '', inside, ...moreOpenings] = document.split(opening);
  if (inside === undefined && !document.includes(closing)) return `${document.trimEnd()}\n\n${section}\n`;
  const [, after, ...moreClosings] = (inside ?? '').split(closing);
  if (after === undefined || moreOpenings.length > 0 || moreClosings.length > 0 || before.includes(closing)) {
    throw new Error(
      `docs/benchmarks.md: ${opening} and ${closing} must be there once each, in this order, or not at all`,
    );
  }
  return `${before}${section}${after}`;
}

/** A table of Markdown, its cells given row by row; the first column is words, the others figures. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = `|${head.map((_, column) => (column === 0 ? '---' : '---:')).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
