import type { YAMLError } from 'yaml';
import { INVENTORY_FAULTS_MAX } from '../base/limits.js';
import { printable } from '../base/printable.js';
import type { Complaint } from './fault.js';
import { quote, shown } from './quotation.js';
import type { Finding, SourceText, TextRange } from './source.js';

/**
 * What the YAML parser complains about, in the words of somebody who has made a typo: the parser knows the rule that was
 * broken ("Implicit map keys need to be followed by map values"), the line itself shows what was meant.
 */
export function syntaxFindings(errors: readonly YAMLError[], source: SourceText): readonly Finding[] {
  const found = [...errors]
    .sort((one, other) => one.pos[0] - other.pos[0])
    .slice(0, INVENTORY_FAULTS_MAX)
    .map((error) => explain(error, source))
    .map((finding): Finding => ({ ...finding, dependsOn: 'itself' }))
    .sort((one, other) => one.range.start - other.range.start);
  return withoutEchoes(found, source);
}

type Explained = Complaint & { readonly range: TextRange };

/** Of one slip the parser often says several things, in this line or the next one: the first is kept. Each line with a tab is a slip of its own. */
function withoutEchoes(findings: readonly Finding[], source: SourceText): readonly Finding[] {
  const kept: Finding[] = [];
  let lastLine = -1;
  for (const finding of findings) {
    const line = source.lineOf(finding.range.start);
    if (line === lastLine || (line === lastLine + 1 && finding.problem !== TAB.problem)) continue;
    kept.push(finding);
    lastLine = line;
  }
  return kept;
}

const TAB: Complaint = {
  problem: 'a tab (shown as →) stands where YAML wants spaces',
  remedy: 'replace it with spaces, two for each level',
};

function explain(error: YAMLError, source: SourceText): Explained {
  const { text } = source;
  const range = { start: error.pos[0], end: error.pos[1] };
  const tab = tabInIndent(range, source);
  if (tab !== undefined) return { range: tab, ...TAB };
  switch (error.code) {
    case 'TAB_AS_INDENT':
      return { range, ...TAB };
    case 'MULTILINE_IMPLICIT_KEY':
    case 'BLOCK_AS_IMPLICIT_KEY':
    case 'BLOCK_IN_FLOW':
      return explainKey(range, source);
    case 'MISSING_CHAR':
      return explainMissing(error, range, source);
    case 'BAD_INDENT':
      return explainIndent(error, range, source);
    case 'UNEXPECTED_TOKEN':
      return explainUnexpected(range, source);
    case 'BAD_SCALAR_START':
      return {
        range,
        problem: `a value can't begin with ${quote(text.slice(range.start, range.start + 1))}`,
        remedy: 'put quotes around the value',
      };
    case 'BAD_DQ_ESCAPE':
      return {
        range,
        problem: `${quote(text.slice(range.start, range.start + 2))} means nothing inside double quotes`,
        remedy: 'use single quotes, in which a backslash is a backslash',
      };
    case 'MULTIPLE_DOCS':
      return {
        range,
        problem: 'a second document begins here',
        remedy: 'remove the `---`: an inventory is one document',
      };
    default:
      return { range, problem: `YAML can't read this: ${lowerFirst(printable(error.message))}`, remedy: COMPARE };
  }
}

/** Whatever the parser makes of a tab in front of a line (four different errors): it is the tab. */
function tabInIndent(range: TextRange, source: SourceText): TextRange | undefined {
  const line = source.lineOf(range.start);
  const written = source.line(line);
  if (!/^ *\t/.test(written)) return undefined;
  const index = written.indexOf('\t');
  const start = source.startOf(line) + index;
  return { start, end: start + 1 };
}

const COMPARE = 'compare with config.example.yaml; put quotes around a value with unusual characters';

/** Something stands where a key should: what does the line look like? */
function explainKey(range: TextRange, source: SourceText): Explained {
  const line = source.lineOf(range.start);
  const before = source.text.slice(source.startOf(line), range.start);
  const written = source.line(line).slice(before.length).trimEnd();
  const onLine = { start: range.start, end: range.start + written.length };

  if (/:\s+\S*$/.test(nearEnd(before)) || before.trimEnd().endsWith(':')) {
    return explainSecondValue(line, before, onLine, source);
  }
  const glued = /^([a-z0-9_-]+):(\S.*)$/i.exec(written);
  if (glued !== null) {
    return {
      range: onLine,
      problem: 'there is no space after the colon',
      remedy: `write \`${shown(`${glued[1]}: ${glued[2]}`)}\``,
    };
  }
  const assigned = /^([a-z0-9_-]+)\s*=\s*(.*)$/i.exec(written);
  if (assigned !== null) {
    return {
      range: onLine,
      problem: 'YAML has a colon where this has =',
      remedy: `write \`${shown(`${assigned[1]}: ${assigned[2]}`)}\``,
    };
  }
  if (/^-[^\s-]/.test(written)) {
    return {
      range: onLine,
      problem: 'there is no space after the dash',
      remedy: `write \`- ${shown(written.slice(1))}\``,
    };
  }
  const [word = '', ...rest] = written.split(/\s+/);
  return {
    range: onLine,
    problem: `there is no colon after ${quote(word)}`,
    remedy: `write \`${shown([`${word}:`, ...rest].join(' '))}\``,
  };
}

/** After a colon stands a value, and then comes another colon. */
function explainSecondValue(line: number, before: string, range: TextRange, source: SourceText): Explained {
  if (/[{[]/.test(before)) return explainMissingComma(range);
  const next = nextWritten(line, source);
  const key = /([^\s:]+):\s*$/.exec(nearEnd(before))?.[1] ?? '';
  // Only a key without a value can have lines beneath it.
  if (next !== undefined && next.indent > indentOf(before) && /^\S+:(\s|$)/.test(next.written)) {
    return {
      range: { start: next.start, end: next.start + next.written.length },
      problem: `this line is indented deeper than ${quote(key)} above it, which has a value already`,
      remedy: indentLike(indentOf(before), quote(key)),
    };
  }
  return {
    range,
    problem: 'a second `key: value` begins inside this value',
    remedy: 'put it on a line of its own, or put quotes around a value that has ": " in it',
  };
}

/** The next line that has more than white space and comments. */
function nextWritten(line: number, source: SourceText) {
  for (let below = line + 1; below <= source.lineCount; below++) {
    const text = source.line(below);
    const written = text.trim();
    const indent = indentOf(text);
    if (written !== '' && !written.startsWith('#')) return { written, indent, start: source.startOf(below) + indent };
  }
  return undefined;
}

/** As much of a line as an expression that begins anywhere may look at: on a line of 256 KiB it would take minutes. */
function nearEnd(text: string): string {
  return text.slice(-200);
}

function explainMissingComma(range: TextRange): Explained {
  return {
    range,
    problem: 'a comma is missing between two entries',
    remedy: 'write `{ key: value, key: value }`',
  };
}

function explainMissing(error: YAMLError, range: TextRange, source: SourceText): Explained {
  const { text } = source;
  const quoteMark = /closing (["'])quote/.exec(error.message)?.[1];
  if (quoteMark !== undefined) {
    const start = Math.max(0, text.lastIndexOf(quoteMark, Math.max(0, range.start - 1)));
    const line = source.lineOf(start);
    const written = source
      .line(line)
      .slice(start - source.startOf(line))
      .trimEnd();
    return {
      range: { start, end: start + written.length },
      problem: 'this quote is never closed',
      remedy: `write \`${shown(written)}${quoteMark}\`, or leave the quotes out`,
    };
  }
  if (/map keys need/.test(error.message)) return explainKey(range, source);
  if (/[Mm]issing ,/.test(error.message)) return explainMissingComma(range);
  if (/must end|end with a/.test(error.message)) return explainUnclosed(range, source.text);
  return { range, problem: `YAML can't read this: ${lowerFirst(printable(error.message))}`, remedy: COMPARE };
}

function explainIndent(error: YAMLError, range: TextRange, source: SourceText): Explained {
  if (/^Flow/.test(error.message)) return explainUnclosed(range, source.text);
  const line = source.lineOf(range.start);
  const written = source.line(line);
  const indent = indentOf(written);
  const start = source.startOf(line) + indent;
  const onLine = { start, end: start + written.trim().length };
  if (/^\s*- /.test(source.line(line - 1)) && indentOf(source.line(line - 1)) === indent) {
    const remedy = 'either all of them are items of a list and begin with a dash, or none is';
    return { range: onLine, problem: 'this is no list item, and the line above is one', remedy };
  }
  const problem = `the indentation of this line (${spaces(indent)}) fits no line above it`;
  const sibling = nearestIndent(line, indent, source);
  if (sibling === undefined) return { range: onLine, problem, remedy: COMPARE };
  return {
    range: onLine,
    problem,
    remedy: indentLike(sibling.indent, `${quote(sibling.key)} on line ${sibling.line}`),
  };
}

/** Of the lines above that this one could stand under or beside, the one whose indentation is nearest; if in doubt the deeper. */
function nearestIndent(line: number, indent: number, source: SourceText) {
  let best: { readonly indent: number; readonly key: string; readonly line: number } | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (let above = line - 1; above >= 1 && least > 0; above--) {
    const written = source.line(above);
    const key = /^\s*([^\s:#]+):(\s|$)/.exec(written)?.[1];
    const here = indentOf(written);
    if (key === undefined || here >= least) continue;
    least = here;
    if (best === undefined || Math.abs(here - indent) < Math.abs(best.indent - indent))
      best = { indent: here, key, line: above };
  }
  return best;
}

/** Goes back from where the parser gave up to the bracket that is still open there. Brackets in quotes may fool it; then the place is near enough. */
function explainUnclosed(range: TextRange, text: string): Explained {
  let closed = 0;
  for (let index = Math.min(range.start, text.length) - 1; index >= 0; index--) {
    const character = text[index] ?? '';
    if (character === ']' || character === '}') closed += 1;
    if (character !== '[' && character !== '{') continue;
    if (closed === 0) {
      const mate = character === '[' ? ']' : '}';
      return {
        range: { start: index, end: index + 1 },
        problem: `this ${character} is never closed`,
        remedy: `write ${mate} after the last entry; lines up to it must be indented deeper than the key, by spaces`,
      };
    }
    closed -= 1;
  }
  return { range, problem: 'a bracket is never closed before here', remedy: COMPARE };
}

function explainUnexpected(range: TextRange, source: SourceText): Explained {
  const { text } = source;
  const token = text.slice(range.start, range.end).trimEnd();
  if (token === ']' || token === '}') {
    return {
      range,
      problem: `this ${token} closes nothing`,
      remedy: `remove it, or write the ${token === ']' ? '[' : '{'} that it belongs to`,
    };
  }
  if (token === '-') {
    return {
      range,
      problem: 'a list item (-) does not belong here',
      remedy: 'put each item on a line of its own beneath the key, or write the list as `[one, two]`',
    };
  }
  if (token === ',') return { range, problem: 'there is nothing in front of this comma', remedy: 'remove the comma' };
  const line = source.lineOf(range.start);
  const startsLine = text.slice(source.startOf(line), range.start).trim() === '';
  if (startsLine) {
    return {
      range,
      problem: 'this line is indented less than the first one of the file',
      remedy: 'begin all sections (server, images, boards …) in the first column',
    };
  }
  if (/[{[]/.test(text.slice(source.startOf(line), range.start))) return explainMissingComma(range);
  return {
    range,
    problem: `\`${shown(token)}\` comes after a value that is already complete`,
    remedy: 'put one pair of quotes around all of the value, or remove what is too much',
  };
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

function indentLike(count: number, model: string): string {
  return count === 0
    ? `begin it in the first column, as ${model} does`
    : `indent it by ${spaces(count)}, as ${model} is`;
}

function spaces(count: number): string {
  return count === 0 ? 'no spaces' : count === 1 ? '1 space' : `${count} spaces`;
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
