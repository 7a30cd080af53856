import { INVENTORY_FAULTS_MAX } from '../base/limits.js';
import type { Complaint, Fault, FaultPlace } from './fault.js';

/** Names from the top of the file down: `['boards', 'node1', 'serial']`; an item of a list by its number from '0'. */
export type KeyPath = readonly string[];

/** What of a `key: value` is at fault. */
export type Part = 'key' | 'value';

/** From the first character to behind the last, in UTF-16 units from the start of the text. */
export interface TextRange {
  readonly start: number;
  readonly end: number;
}

/** A fault on its way: what is wrong, and where in the text. */
export interface Finding extends Complaint {
  readonly range: TextRange;
  /**
   * `rest`: it may be untrue because something else in the file could not be understood. A board "has no serial" when
   * the line with its serial is the one that lacks a quote.
   */
  readonly dependsOn: 'itself' | 'rest';
}

/** Remembers where each value of an inventory stands, so that a later stage (opening the images) can point at it too. */
export interface InventorySource {
  /** As the user named it. */
  readonly file: string;
  /** All of it. */
  readonly text: string;
  /** A path that is not in the file (a default) is shown at the nearest thing above it that is. */
  faultAt(path: KeyPath, complaint: Complaint, part?: Part): Fault;
}

interface Spot {
  key?: TextRange;
  value?: TextRange;
  readonly below: Map<string, Spot>;
}

/** Where every key and value of a text stands. */
export class PositionTable {
  readonly #top: Spot = { below: new Map() };

  set(path: KeyPath, part: Part, range: TextRange): void {
    let spot = this.#top;
    for (const name of path) {
      const next = spot.below.get(name) ?? { below: new Map() };
      spot.below.set(name, next);
      spot = next;
    }
    spot[part] = range;
  }

  has(path: KeyPath): boolean {
    return this.#spot(path)?.value !== undefined;
  }

  /** Of a path that is not there: the key of the nearest one above it that is; at last the start of the file. */
  find(path: KeyPath, part: Part): TextRange {
    const spot = this.#spot(path);
    const range = spot?.[part] ?? spot?.value;
    if (range !== undefined && path.length > 0) return range;
    return path.length <= 1 ? { start: 0, end: 0 } : this.find(path.slice(0, -1), 'key');
  }

  #spot(path: KeyPath): Spot | undefined {
    let spot: Spot | undefined = this.#top;
    for (const name of path) spot = spot?.below.get(name);
    return spot;
  }
}

/** A text cut into lines, to turn offsets into what people count in. */
export class SourceText {
  readonly file: string;
  readonly text: string;
  readonly #lineStarts: readonly number[];

  constructor(file: string, text: string) {
    this.file = file;
    this.text = text;
    this.#lineStarts = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
  }

  /** Nothing but white space, comments and `---`. */
  isBlank(): boolean {
    return this.text.split('\n').every((line) => /^\s*(#.*|---\s*)?$/.test(line));
  }

  /** From 1. */
  lineOf(offset: number): number {
    let low = 0;
    let high = this.#lineStarts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  get lineCount(): number {
    return this.#lineStarts.length;
  }

  /** Without its line end; `line` from 1. */
  line(line: number): string {
    const start = this.#lineStarts[line - 1] ?? this.text.length;
    const end = this.#lineStarts[line] ?? this.text.length;
    const written = this.text.slice(start, end);
    return written.endsWith('\r\n') ? written.slice(0, -2) : written.endsWith('\n') ? written.slice(0, -1) : written;
  }

  /** Offset of a line's first character; `line` from 1. */
  startOf(line: number): number {
    return this.#lineStarts[line - 1] ?? this.text.length;
  }

  fault({ range, problem, remedy }: Omit<Finding, 'dependsOn'>): Fault {
    return { file: this.file, at: this.#place(range), problem, remedy };
  }

  /** As they stand in the file; of very many only the first. */
  faults(findings: readonly Finding[]): readonly Fault[] {
    const sorted = [...findings].sort((one, other) => one.range.start - other.range.start);
    return sorted.slice(0, INVENTORY_FAULTS_MAX).map((finding) => this.fault(finding));
  }

  #place(range: TextRange): FaultPlace {
    // What is missing at the end of the file is shown behind its last line, not on the empty one after it.
    const start = Math.min(range.start, this.text.trimEnd().length);
    const line = this.lineOf(start);
    const sourceLine = this.line(line);
    const index = start - this.startOf(line);
    const text = sourceLine.slice(index, index + Math.max(0, range.end - start)).trimEnd();
    return { line, column: index + 1, text, sourceLine };
  }
}
