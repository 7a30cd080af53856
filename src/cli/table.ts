import { printable } from '../base/printable.js';

/** Columns as wide as their widest cell, two spaces apart; the last one is as long as it likes. Made fit for a terminal. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [heads, ...rows].map((line) => line.map(printable));
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const text = lines.map((line) =>
    line.map((cell, column) => (column === heads.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  '),
  );
  return `${text.join('\n')}\n`;
}
