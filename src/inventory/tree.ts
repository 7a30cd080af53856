import { type Alias, isAlias, isMap, isScalar, isSeq, type Pair, type Scalar } from 'yaml';
import { INVENTORY_DEPTH_MAX, INVENTORY_VALUES_MAX } from '../base/limits.js';
import type { Complaint } from './fault.js';
import { quote, shown } from './quotation.js';
import { type Finding, type KeyPath, PositionTable, type SourceText, type TextRange } from './source.js';
import { nearest } from './suggestion.js';
import { syntaxFindings } from './syntax.js';
import { readYaml } from './yaml-text.js';

/**
 * The YAML as plain values: aliases written out, every scalar the text that stands in the file. Types come later and from
 * our side: YAML would make 1e7 and 10000000 numbers, both of which are serials here. Maps, not objects, so that no key of
 * the file (`__proto__`) means anything to JavaScript. Null: no value after the colon (or `~`, or `null`). Undefined: a
 * value that could not be had, which a finding has said already.
 */
export type Tree = string | null | undefined | readonly Tree[] | ReadonlyMap<string, Tree>;

export interface GrownTree {
  readonly tree: Tree;
  readonly positions: PositionTable;
  /** Where this is no YAML at all, or more of it than is read: what the tree has of the rest is not to be trusted. */
  readonly syntax: readonly Finding[];
  /** Where it is YAML, but of a kind that an inventory does not need (tags, merge keys). */
  readonly structure: readonly Finding[];
}

/** Any text at all is answered. What could not be understood is undefined in the tree and stands in the findings. */
export function growTree(source: SourceText): GrownTree {
  const yaml = readYaml(source.text);
  const grower = new Grower(source);
  if (yaml.answer === 'tooDeep') {
    grower.endHere({ start: yaml.offset, end: yaml.offset + 1 }, TOO_DEEP);
    return { tree: undefined, positions: grower.positions, syntax: grower.tooMuch, structure: [] };
  }
  const tree = grower.grow(yaml.document.contents, [], undefined);
  return {
    tree,
    positions: grower.positions,
    syntax: [...syntaxFindings(yaml.errors, source), ...grower.tooMuch],
    structure: grower.findings,
  };
}

const TOO_DEEP: Complaint = {
  problem: 'the nesting here is deeper than any inventory needs',
  remedy: 'compare with config.example.yaml',
};

const TOO_MANY: Complaint = {
  problem: `this makes more than ${INVENTORY_VALUES_MAX} values, each alias written out`,
  remedy: 'remove what no board needs, or use fewer aliases (*name)',
};

/** Walks the nodes once, in the order of the file, and builds values, positions and findings. */
class Grower {
  readonly positions = new PositionTable();
  readonly findings: Finding[] = [];
  readonly tooMuch: Finding[] = [];
  readonly #source: SourceText;
  readonly #anchors = new Map<string, unknown>();
  /** Nodes whose anchor and tag have been seen: an alias comes by them again. */
  readonly #noted = new Set<unknown>();
  /** Nodes that are being built: an alias to one of them would have no end. */
  readonly #open = new Set<unknown>();
  #valuesLeft = INVENTORY_VALUES_MAX;
  /** The alias of the file that is being written out just now, the outermost one. */
  #alias: TextRange | undefined;

  constructor(source: SourceText) {
    this.#source = source;
  }

  /** `place`: where the value counts as standing, if that is not where it is written (an alias, an empty value). */
  grow(node: unknown, path: KeyPath, place: TextRange | undefined): Tree {
    const range = place ?? rangeOf(node);
    this.positions.set(path, 'value', range);
    if (this.#isTooMuch(path, range)) return undefined;
    if (isAlias(node)) return this.#growAlias(node, path, range);
    this.#noteProperties(node, range);
    if (isScalar(node)) return textOf(node);
    this.#open.add(node);
    const tree = isMap(node) ? this.#growMap(node.items, path) : isSeq(node) ? this.#growList(node.items, path) : null;
    this.#open.delete(node);
    return tree;
  }

  #growMap(pairs: readonly Pair<unknown, unknown>[], path: KeyPath): Tree {
    const map = new Map<string, Tree>();
    for (const { key, value } of pairs) {
      const keyRange = rangeOf(key);
      const name = this.#keyOf(key, keyRange);
      if (name === undefined) continue;
      const childPath = [...path, name];
      const earlier = map.get(name);
      if (map.has(name)) this.#refuse(keyRange, this.#twice(name, childPath));
      else this.positions.set(childPath, 'key', keyRange);
      // `{ append: console=ttyS0,115200 }`: YAML sees a key "115200" without a value.
      const place = value === null || isEmpty(value) ? keyRange : undefined;
      map.set(name, joined(earlier, this.grow(value, childPath, place)));
      if (this.tooMuch.length > 0) break;
    }
    return map;
  }

  #growList(items: readonly unknown[], path: KeyPath): Tree {
    const list: Tree[] = [];
    for (const item of items) {
      list.push(this.grow(item, [...path, String(list.length)], undefined));
      if (this.tooMuch.length > 0) break;
    }
    return list;
  }

  #growAlias(alias: Alias, path: KeyPath, range: TextRange): Tree {
    const target = this.#anchors.get(alias.source);
    if (target === undefined) {
      const meant = nearest(alias.source, this.#anchors.keys());
      const remedy =
        meant === undefined ? 'put quotes around a value that begins with *' : `did you mean \`*${shown(meant)}\`?`;
      this.#refuse(range, { problem: `no anchor &${shown(alias.source)} stands above this line`, remedy });
      return undefined;
    }
    if (this.#open.has(target)) {
      this.#refuse(range, { problem: `*${shown(alias.source)} contains itself`, remedy: 'write the value out' });
      return undefined;
    }
    const outermost = this.#alias === undefined;
    if (outermost) this.#alias = range;
    const tree = this.grow(target, path, range);
    if (outermost) this.#alias = undefined;
    return tree;
  }

  #keyOf(key: unknown, range: TextRange): string | undefined {
    this.#noteProperties(key, range);
    const name = isScalar(key) ? String(key.value) : undefined;
    if (name === '<<') {
      this.#refuse(range, {
        problem: 'merge keys (<<) are not part of YAML 1.2',
        remedy: 'write the keys out; a whole value can be repeated with *name',
      });
      return undefined;
    }
    if (name !== undefined) return name;
    this.#refuse(range, {
      problem: 'a key must be a plain word',
      remedy: 'write `key: value`; a value that begins with { or [ or * needs quotes',
    });
    return undefined;
  }

  /** Tags are refused; anchors are remembered, the later of two with one name from its place on, as YAML has it. */
  #noteProperties(node: unknown, range: TextRange): void {
    if ((!isScalar(node) && !isMap(node) && !isSeq(node)) || this.#noted.has(node)) return;
    this.#noted.add(node);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (node.tag === undefined) return;
    this.#refuse(range, {
      problem: 'this value has a tag (!), and tags mean nothing here',
      remedy: 'remove the tag; a value that begins with ! needs quotes',
    });
  }

  #twice(name: string, path: KeyPath): Complaint {
    const line = this.#source.lineOf(this.positions.find(path, 'key').start);
    const named = path.length === 2 && (path[0] === 'boards' || path[0] === 'images');
    const remedy = named ? 'give one of them another name' : 'remove one of the two';
    return { problem: `${quote(name)} is here twice: first on line ${line}`, remedy };
  }

  #isTooMuch(path: KeyPath, range: TextRange): boolean {
    this.#valuesLeft -= 1;
    if (path.length > INVENTORY_DEPTH_MAX) this.endHere(range, TOO_DEEP);
    if (this.#valuesLeft < 0) this.endHere(range, TOO_MANY);
    return this.tooMuch.length > 0;
  }

  /** Nothing is grown any more; said once. */
  endHere(range: TextRange, complaint: Complaint): void {
    if (this.tooMuch.length > 0) return;
    this.tooMuch.push({ range: this.#alias ?? range, ...complaint, dependsOn: 'itself' });
  }

  #refuse(range: TextRange, complaint: Complaint): void {
    this.findings.push({ range, ...complaint, dependsOn: 'itself' });
  }
}

/** Of a section that is there twice both parts are checked, as if they stood together. */
function joined(earlier: Tree, later: Tree): Tree {
  return earlier instanceof Map && later instanceof Map ? new Map([...earlier, ...later]) : later;
}

/** What the file has at a path. */
export function at(tree: Tree, path: KeyPath): Tree {
  let here: Tree = tree;
  for (const part of path) {
    if (here instanceof Map) here = here.get(part);
    else if (Array.isArray(here)) here = here[Number(part)];
    else return undefined;
  }
  return here;
}

/** A plain scalar that YAML calls null is none; in quotes it is text. */
function textOf(scalar: Scalar): string | null {
  const text = String(scalar.value);
  const plain = scalar.type === 'PLAIN' || scalar.type === undefined;
  return plain && /^(|~|null|Null|NULL)$/.test(text) ? null : text;
}

function isEmpty(node: unknown): boolean {
  return isScalar(node) && node.type === 'PLAIN' && node.value === '' && node.tag === undefined;
}

function rangeOf(node: unknown): TextRange {
  const known = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range : undefined;
  return known ? { start: known[0], end: known[1] } : { start: 0, end: 0 };
}
