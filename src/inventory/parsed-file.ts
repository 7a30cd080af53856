import { dirname, resolve } from 'node:path';
import type { Complaint } from './fault.js';
import type { Finding, KeyPath, Part, PositionTable, SourceText } from './source.js';
import { at, type Tree } from './tree.js';

/** An inventory as it was written, for those who compare one value with another. */
export interface ParsedFile {
  readonly tree: Tree;
  readonly positions: PositionTable;
  readonly source: SourceText;
}

/** As the program would open it. */
export function absolute(file: ParsedFile, path: string): string {
  return resolve(dirname(file.source.file), path);
}

/** Of images or boards, in the order of the file. */
export function namesUnder(file: ParsedFile, section: string): readonly string[] {
  const entries = at(file.tree, [section]);
  return entries instanceof Map ? [...entries.keys()] : [];
}

export function textAt(file: ParsedFile, path: KeyPath): string | undefined {
  const value = at(file.tree, path);
  return typeof value === 'string' ? value : undefined;
}

/** From 1. */
export function lineOf(file: ParsedFile, path: KeyPath): number {
  return file.source.lineOf(file.positions.find(path, 'value').start);
}

export function finding(file: ParsedFile, path: KeyPath, complaint: Complaint, part: Part = 'value'): Finding {
  return { range: file.positions.find(path, part), ...complaint, dependsOn: 'itself' };
}
