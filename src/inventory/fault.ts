import { FAULT_LINE_CHARACTERS_MAX, INVENTORY_FAULTS_PRINTED_MAX } from '../base/limits.js';
import { printable } from '../base/printable.js';

/** What is wrong and what to do about it, each the part of a sentence: no capital in front, no full stop. */
export interface Complaint {
  readonly problem: string;
  readonly remedy: string;
}

/** Something in the inventory that keeps us from running, for the person who has to mend it. */
export interface Fault extends Complaint {
  /** As the user named it. */
  readonly file: string;
  /** Undefined where it is about the file as a whole: it is missing, or can't be read. */
  readonly at: FaultPlace | undefined;
}

export interface FaultPlace {
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units, as editors count. */
  readonly column: number;
  /** What is at fault, as it stands in the file, as far as it stands on this line. May be empty: something is missing here. */
  readonly text: string;
  /** The whole line. */
  readonly sourceLine: string;
}

export function byPosition(one: Fault, other: Fault): number {
  const line = (one.at?.line ?? 0) - (other.at?.line ?? 0);
  return line !== 0 ? line : (one.at?.column ?? 0) - (other.at?.column ?? 0);
}

/**
 * Several faults for the terminal, a blank line between them, in the order given; ends in a line feed.
 * Of very many only the first are shown: one typo can have a hundred consequences.
 */
export function renderFaults(faults: readonly Fault[]): string {
  const shown = faults.slice(0, INVENTORY_FAULTS_PRINTED_MAX).map(renderFault);
  const more = faults.length - shown.length;
  const rest = more === 0 ? [] : [`… and ${more} more ${more === 1 ? 'fault' : 'faults'}\n`];
  return [...shown, ...rest].join('\n');
}

/**
 * One fault as compilers write it:
 *
 *     config.yaml:12:13: "0x12" is not a serial: the digits come without 0x
 *        12 |     serial: 0x12
 *           |             ^^^^
 *           = write `serial: 00000012`
 */
export function renderFault(fault: Fault): string {
  const { at, problem, remedy } = fault;
  if (at === undefined) return `${printable(fault.file)}: ${problem}\n      = ${remedy}\n`;
  const number = String(at.line).padStart(5);
  const gutter = ' '.repeat(number.length);
  const { line, caretsAt, carets } = excerpt(at);
  return [
    `${printable(fault.file)}:${at.line}:${at.column}: ${problem}`,
    `${number} | ${line}`,
    `${gutter} | ${' '.repeat(caretsAt)}${'^'.repeat(carets)}`,
    `${gutter} = ${remedy}`,
    '',
  ].join('\n');
}

/** The part of the line that shows the fault: all of it, or a window with the fault near its left. */
function excerpt(at: FaultPlace): { readonly line: string; readonly caretsAt: number; readonly carets: number } {
  const index = at.column - 1;
  const start = at.sourceLine.length <= FAULT_LINE_CHARACTERS_MAX ? 0 : Math.max(0, index - 40);
  const window = at.sourceLine.slice(start, start + FAULT_LINE_CHARACTERS_MAX);
  const before = printable(at.sourceLine.slice(start, index));
  const carets = [...printable(at.text.slice(0, start + window.length - index))].length;
  return {
    line: `${start > 0 ? '…' : ''}${printable(window)}${start + window.length < at.sourceLine.length ? '…' : ''}`,
    caretsAt: [...before].length + (start > 0 ? 1 : 0),
    carets: Math.max(1, carets),
  };
}
