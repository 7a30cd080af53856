import { z } from 'zod';
import { INVENTORY_FAULTS_MAX } from '../base/limits.js';
import type { Complaint } from './fault.js';
import { quote, shown } from './quotation.js';
import type { Refusal } from './schema.js';
import { homesOf, keysUnder, NOT_YET, patternOf, referenceOf } from './schema-reference.js';
import type { Finding, KeyPath, Part, PositionTable } from './source.js';
import { nearest } from './suggestion.js';
import { at, type Tree } from './tree.js';

type Issue = z.core.$ZodIssue;

/** Says in our words, and at its place in the file, what zod found wrong with the tree. */
export function shapeFindings(issues: readonly Issue[], tree: Tree, positions: PositionTable): readonly Finding[] {
  return issues.slice(0, INVENTORY_FAULTS_MAX).flatMap((issue) => explain(issue, [], tree, positions));
}

function explain(issue: Issue, above: KeyPath, tree: Tree, positions: PositionTable): readonly Finding[] {
  const path = [...above, ...issue.path.map(String)];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.slice(0, INVENTORY_FAULTS_MAX).map((key) => unknownKey([...path, key], tree, positions));
    case 'invalid_union': {
      // Every union of the schema is a scalar or, second, a mapping: the file shows which of the two was meant.
      const meant = issue.errors[at(tree, path) instanceof Map ? 1 : 0] ?? [];
      return meant.flatMap((inner) => explain(inner, path, tree, positions));
    }
    case 'custom':
      return [refused(issue, path, positions)];
    default:
      return wrongType(path, tree, positions);
  }
}

/** A reader said no: in its own words, or in those of the table. */
function refused(issue: Issue & { readonly code: 'custom' }, path: KeyPath, positions: PositionTable): Finding {
  const { text, part, ...said } = REFUSAL.parse(issue.params);
  const general = takes(path, quote(text));
  // `interface: eth0` is checked as a list of one, whose item has no place of its own.
  const place = positions.has(path) ? path : path.slice(0, -1);
  const complaint = { problem: said.problem ?? general.problem, remedy: said.remedy ?? general.remedy };
  return found(place, part, complaint, positions);
}

const WORDS = z.union([z.string(), z.undefined()]);
const REFUSAL: z.ZodType<Refusal> = z.object({
  text: z.string(),
  part: z.enum(['key', 'value']),
  problem: WORDS,
  remedy: WORDS,
});

function wrongType(path: KeyPath, tree: Tree, positions: PositionTable): readonly Finding[] {
  if (!positions.has(path)) return missing(path, tree, positions);
  const value = at(tree, path);
  if (value === undefined) return []; // could not be read at all, and that has been said
  if (path.length === 0) return [found(path, 'value', NOT_AN_INVENTORY, positions)];
  if (value === null) return [{ ...found(path, 'key', empty(path), positions), dependsOn: 'rest' }];
  return [found(path, 'value', glued(value) ?? takes(path, kindOf(value)), positions)];
}

function kindOf(value: Tree): string {
  return value instanceof Map ? 'keys and values' : Array.isArray(value) ? 'a list' : quote(String(value));
}

/** `serial:bf9fed6f` alone beneath a name is a text to YAML. */
function glued(value: Tree): Complaint | undefined {
  const [, key, rest] = (typeof value === 'string' && /^([a-z_]+):(\S.*)$/.exec(value)) || [];
  if (key === undefined || homesOf(key).length === 0) return undefined;
  return { problem: 'there is no space after the colon', remedy: `write \`${shown(`${key}: ${rest}`)}\`` };
}

const NOT_AN_INVENTORY: Complaint = {
  problem: 'this is not an inventory: it has no sections such as `images:` and `boards:`',
  remedy: 'begin with a copy of config.example.yaml',
};

function missing(path: KeyPath, tree: Tree, positions: PositionTable): readonly Finding[] {
  const above = path.slice(0, -1);
  if (at(tree, above) === undefined) return [];
  const key = keyOf(path);
  const problem = `${quote(path.at(-2) ?? '')} has no \`${key}\``;
  const remedy = `add a line such as \`${key}: ${referenceOf(path)?.example ?? '…'}\` beneath it`;
  return [{ ...found(above, 'key', { problem, remedy }, positions), dependsOn: 'rest' }];
}

function empty(path: KeyPath): Complaint {
  const key = keyOf(path);
  const reference = referenceOf(path);
  const problem = `\`${key}\` has no value; it takes ${reference?.expects ?? 'one'}`;
  const example = `write for example \`${key}: ${reference?.example ?? '…'}\``;
  return { problem, remedy: reference?.default === undefined ? example : `${example}, or remove it` };
}

function takes(path: KeyPath, instead: string): Complaint {
  const key = keyOf(path);
  const reference = referenceOf(path);
  const problem = `\`${key}\` takes ${reference?.expects ?? 'something else'}, not ${instead}`;
  return { problem, remedy: `write for example \`${key}: ${reference?.example ?? '…'}\`` };
}

/** Of an item of a list (whose last part is its number) the list's. */
function keyOf(path: KeyPath): string {
  const listed = path.length > 2 && /^\d+$/.test(path.at(-1) ?? '');
  return shown((listed ? path.at(-2) : path.at(-1)) ?? '');
}

function unknownKey(path: KeyPath, tree: Tree, positions: PositionTable): Finding {
  return found(path, 'key', unknown(path, tree), positions);
}

function unknown(path: KeyPath, tree: Tree): Complaint {
  const key = path.at(-1) ?? '';
  const section = path.slice(0, -1);
  const promised = Object.hasOwn(NOT_YET, patternOf(path)) ? NOT_YET[patternOf(path)] : undefined;
  if (promised !== undefined) {
    return {
      problem: `\`${key}\` is not yet available (${promised})`,
      remedy: "remove it: this version can't do that",
    };
  }
  const known = keysUnder(section);
  const kind = section.length === 0 ? 'section' : 'key';
  const problem = `${quote(key)} is not a ${kind} of ${section.length === 0 ? 'an inventory' : nameOf(section)}`;
  const meant = nearest(key, known);
  if (meant !== undefined) return { problem, remedy: `did you mean \`${meant}\`?` };
  const hint = strayEntry(path, at(tree, path)) ?? strayKey(key, section) ?? strayArgument(path, at(tree, path));
  return { problem, remedy: hint ?? `the ${kind}s here are: ${known.join(', ')}` };
}

/** A board that is not indented under `boards:` stands among the sections. */
function strayEntry(path: KeyPath, value: Tree): string | undefined {
  if (path.length !== 1 || !(value instanceof Map)) return undefined;
  const home = value.has('serial') || value.has('image') ? 'boards' : value.has('file') ? 'images' : undefined;
  if (home === undefined) return undefined;
  return `if it is one of your ${home}, indent it and what is beneath it under \`${home}:\``;
}

function strayKey(key: string, section: KeyPath): string | undefined {
  const homes = homesOf(key);
  if (homes.length === 0) return undefined;
  const owners = homes.map((pattern) => nameOf(pattern.split('.').slice(0, -1)));
  return `${section.length === 0 ? 'it' : `\`${key}\``} is a key of ${owners.join(', ')}`;
}

/** `{ append: console=ttyS0,115200 }`: the comma ends the value, and a key without one begins. */
function strayArgument(path: KeyPath, value: Tree): string | undefined {
  if (value !== null || path.length < 2) return undefined;
  return 'if it belongs to the value in front of it, put quotes around that value: inside { } a comma ends it';
}

function nameOf(section: KeyPath): string {
  if (section.length === 2 && section[0] === 'boards') return 'a board';
  if (section.length === 2 && section[0] === 'images') return 'an image';
  return `\`${section.at(-1) ?? ''}\``;
}

function found(path: KeyPath, part: Part, complaint: Complaint, positions: PositionTable): Finding {
  return { range: positions.find(path, part), ...complaint, dependsOn: 'itself' };
}
